/** This library: a graph compiled once and replayed. */

import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { Graph, type Tensor } from "../../lib/graph/graph.ts";
import type { Input, Runner } from "../work.ts";

/** Traces the work from its inputs, which are weights of `graph`. */
export type OurTrace = (inputs: Readonly<Record<string, Tensor>>, graph: Graph) => readonly Tensor[];

/** What only this library's works need. */
export interface OurOptions {
  /** Inputs of whole numbers, one-dimensional. */
  readonly integers?: Readonly<Record<string, Uint32Array<ArrayBuffer>>>;
  /** Names of the inputs that may be differentiated. */
  readonly trainable?: readonly string[];
}

/** A runner of a traced work. */
export async function ourRunner(
  gpu: Gpu,
  inputs: Readonly<Record<string, Input>>,
  trace: OurTrace,
  { integers = {}, trainable = [] }: OurOptions = {},
): Promise<Runner> {
  const graph = new Graph();
  const outputs = trace(
    Object.fromEntries([
      ...Object.entries(inputs).map(([name, { shape }]) => [
        name,
        graph.weight(name, shape, trainable.includes(name)),
      ]),
      ...Object.entries(integers).map(([name, data]) => [name, graph.input(name, [data.length], "u32")]),
    ]),
    graph,
  );
  using owned = new DisposableStack();
  const views = new Map(
    Object.entries(inputs).map(([name, { data }]) => {
      const buffer = owned.adopt(gpu.createBuffer(name, data.byteLength), (own) => gpu.destroyBuffer(own));
      gpu.upload(buffer, data);
      return [name, { buffer, offset: 0, bytes: data.byteLength }];
    }),
  );
  const compiled = owned.use(
    await compile(gpu, outputs, { label: "bench", weights: (name) => views.get(name)! }),
  );
  for (const [name, { buffer }] of compiled.inputs) gpu.upload(buffer, integers[name]);
  const all = owned.move();
  const read = async (tensor: Tensor, most = Infinity) => {
    const { buffer, offset, bytes } = compiled.view(tensor);
    return new Float32Array(await gpu.read(buffer, Math.min(bytes, most), offset));
  };
  return {
    async results() {
      compiled.program.replay();
      const values = [];
      for (const output of outputs) values.push(await read(output));
      return values;
    },
    async lap(times) {
      for (let i = 0; i < times; i++) compiled.program.replay();
      await read(outputs[0], 4);
    },
    dispose: () => all.dispose(),
  };
}
