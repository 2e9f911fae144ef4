/**
 * TensorFlow.js in eager mode, as its users run it, with its WebGPU backend and with its WASM backend on the
 * CPU. tfjs has one engine per process: a runner's tensors belong to the backend that was active when they
 * were created, and computation happens in the backend that is active then. So every runner activates its
 * backend before it computes.
 */

// The whole package registers the gradients; tfjs-core alone does not.
import "npm:@tensorflow/tfjs@4.22.0";
import "npm:@tensorflow/tfjs-backend-wasm@4.22.0";
import "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import * as tf from "npm:@tensorflow/tfjs-core@4.22.0";
import type { Input, Runner, Ways } from "../work.ts";

export { tf };

export type TfjsBackend = "webgpu" | "wasm";

/** Does the work on tensors of the inputs; tfjs's `tidy` frees the intermediate tensors. */
export type TfjsWork = (inputs: Readonly<Record<string, tf.Tensor>>) => tf.Tensor[];

/** Activates `backend`. Throws an Error if it is not available. */
export async function useTfjs(backend: TfjsBackend): Promise<void> {
  if (tf.getBackend() === backend) return;
  if (!await tf.setBackend(backend)) throw new Error(`tfjs found no ${backend} backend`);
  await tf.ready();
}

/** One runner per backend. */
export function tfjsWays(runner: (backend: TfjsBackend) => Promise<Runner>): Ways {
  return { "tfjs-webgpu": () => runner("webgpu"), "tfjs-wasm": () => runner("wasm") };
}

/** A runner of a work in tfjs. */
export async function tfjsRunner(
  backend: TfjsBackend,
  inputs: Readonly<Record<string, Input>>,
  work: TfjsWork,
): Promise<Runner> {
  await useTfjs(backend);
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]),
  );
  const once = () => tf.tidy(() => work(tensors));
  return {
    async results() {
      await useTfjs(backend);
      const outputs = once();
      const values = await Promise.all(outputs.map((output) => output.data<"float32">()));
      tf.dispose(outputs);
      return values.map((value) => Float32Array.from(value));
    },
    async lap(times) {
      await useTfjs(backend);
      for (let i = 1; i < times; i++) tf.dispose(once());
      const outputs = once();
      const first = tf.tidy(() => tf.slice(tf.reshape(outputs[0], [-1]), [0], [1]));
      await first.data();
      tf.dispose([first, ...outputs]);
    },
    dispose: () => tf.dispose(tensors),
  };
}
