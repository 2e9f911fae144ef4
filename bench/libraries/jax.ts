/**
 * jax-js with its WebGPU device, jitted. Passing an array to a function consumes it, unless it is passed as
 * `.ref`.
 */

import * as jax from "npm:@jax-js/jax@0.1.25";
import type { Input, Runner } from "../work.ts";

export { jax };
export type JaxArray = jax.numpy.Array;

/** Does the work on arrays of the inputs, and consumes each once. */
export type JaxWork = (inputs: Record<string, JaxArray>) => JaxArray[];

/** Opens the WebGPU device. Throws an Error if there is none. */
export async function openJax(): Promise<void> {
  if (!(await jax.init("webgpu")).includes("webgpu")) throw new Error("jax-js found no WebGPU device");
  jax.defaultDevice("webgpu");
}

/** The input as an array. */
export function jaxArray({ shape, data }: Input): JaxArray {
  return jax.numpy.array(data, { shape: [...shape] });
}

/** A runner of a work in jax-js. */
export async function jaxRunner(inputs: Readonly<Record<string, Input>>, work: JaxWork): Promise<Runner> {
  await openJax();
  const arrays = Object.fromEntries(
    Object.entries(inputs).map(([name, input]) => [name, jaxArray(input)]),
  );
  const compiled = jax.jit(work);
  const refs = () => Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.ref]));
  return {
    async results() {
      const values = [];
      for (const output of compiled(refs())) values.push(Float32Array.from(await output.data()));
      return values;
    },
    async lap(times) {
      // jax-js is lazy: it never does work whose result is released before someone waits for it.
      const runs = Array.from({ length: times }, () => compiled(refs()));
      await jax.blockUntilReady(runs);
      for (const output of runs.flat()) output.dispose();
    },
    dispose: () => Object.values(arrays).forEach((array) => array.dispose()),
  };
}
