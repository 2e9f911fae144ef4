/**
 * Compares an op on the GPU with the float64 interpreter. Nothing here needs Deno, because `deno task
 * conformance` runs it in Chromium as well.
 */

import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { grad } from "../../lib/graph/grad.ts";
import { Graph, type Node, sizeOf, type Tensor } from "../../lib/graph/graph.ts";
import { interpret } from "../../lib/graph/interpret.ts";
import { toPanels } from "../../lib/graph/storages/f32_panels.ts";
import { multiply } from "../../lib/graph/ops/binary.ts";
import { meanSquaredError } from "../../lib/graph/ops/losses.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import type { OpCase } from "./op_cases.ts";

/**
 * Values of the sources by name, rounded to f32 so that the GPU and the interpreter start from the same
 * numbers.
 */
export type Values = Map<string, Float64Array>;

/** Uniform values in (−bound, bound), reproducible from `name`. */
export function randomValues(name: string, size: number, bound = 1): Float64Array {
  return Float64Array.from(uniform(7, streamOf(name), size, bound));
}

/** Fills in every source that has no values yet; f32 sources get random values that depend on their name. */
export function fillSources(graph: Graph, values: Values): void {
  for (const { source, name, outputs: [tensor] } of graph.nodes) {
    if (source && !values.has(name)) values.set(name, randomValues(name, sizeOf(tensor)));
  }
}

/** Computes `outputs` on the GPU. */
export async function runOnGpu(
  gpu: Gpu,
  outputs: readonly Tensor[],
  values: Values,
  noReuse = false,
): Promise<Float64Array[]> {
  const upload = ({ name, outputs: [{ dtype, shape }] }: Node, buffer: GPUBuffer) => {
    const data = values.get(name)!;
    if (dtype === "f32 in panels") {
      return toPanels(Float32Array.from(data), 0, shape, (run, at) => gpu.upload(buffer, run, 4 * at));
    }
    gpu.upload(buffer, dtype === "u32" ? Uint32Array.from(data) : Float32Array.from(data));
  };
  const sources = new Map(
    outputs[0].node.graph.nodes.filter(({ source }) => source).map((node) => [node.name, node]),
  );
  const weights = new Map<string, GPUBuffer>();
  const compiled = await compile(gpu, outputs, {
    label: "test",
    noReuse,
    weights: (name) => {
      const bytes = values.get(name)!.length * 4;
      const buffer = weights.get(name) ?? gpu.createBuffer(name, bytes);
      weights.set(name, buffer);
      const inPanels = sources.get(name)!.outputs[0].dtype === "f32 in panels";
      return { buffer, offset: 0, bytes, inPanels };
    },
  });
  for (const node of outputs[0].node.graph.nodes) {
    const buffer = weights.get(node.name) ?? compiled.inputs.get(node.name)?.buffer;
    if (node.source && buffer) upload(node, buffer);
  }
  compiled.run();
  const results = [];
  for (const tensor of outputs) results.push(Float64Array.from(await compiled.read(tensor)));
  return results;
}

/**
 * The largest |a − b| divided by the largest |b|, which is meaningful even where small entries cancel.
 * `floor` is the scale below which a tensor counts as zero: some gradients (a key's bias under softmax) are
 * exactly 0 and hold only rounding.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-30): number {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} values, expected ${expected.length}`);
  }
  let scale = floor;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(actual[i])) throw new Error(`value ${i} is ${actual[i]}, expected ${expected[i]}`);
    scale = Math.max(scale, Math.abs(expected[i]));
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  }
  return worst / scale;
}

/** A scalar that weights every entry of `output` differently, so that no gradient error can cancel. */
export function scalarOf(graph: Graph, output: Tensor): Tensor {
  const rows = sizeOf(output);
  const projected = multiply(output, graph.input("probe", output.shape));
  return meanSquaredError(
    projected,
    graph.input("probe target", [rows]),
    graph.input("probe weight", [rows]),
  );
}

/** A traced case with its gradients and the values of all sources. */
interface TracedCase {
  /** The output, or a scalar made of it, that is differentiated. */
  readonly loss: Tensor;
  readonly targets: readonly Tensor[];
  /** The output under test, and the gradient of each target. */
  readonly outputs: readonly Tensor[];
  readonly values: Values;
}

/** Traces `op`. */
export function traceCase(op: OpCase): TracedCase {
  const graph = new Graph();
  const output = op.trace(graph);
  const loss = output.shape.join() === "1" ? output : scalarOf(graph, output);
  const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  const gradients = targets.length > 0 ? grad([loss], targets) : [];
  const given = Object.entries(op.values ?? {}).map(([name, data]) =>
    [name, Float64Array.from(data)] as const
  );
  const values: Values = new Map([
    ["probe weight", new Float64Array(sizeOf(output)).fill(1)],
    ...given,
  ]);
  fillSources(graph, values);
  return { loss, targets, outputs: [output, ...gradients], values };
}

/** The error of one tensor of a case. */
export interface TensorError {
  /** `forward`, or `gradient of` a source. */
  readonly tensor: string;
  /** See `relativeError`. */
  readonly error: number;
}

/**
 * Errors of the output and every gradient on the GPU, relative to the interpreter.
 * @throws Error when a value is not finite, and what compiling throws.
 */
export async function opErrors(gpu: Gpu, { targets, outputs, values }: TracedCase): Promise<TensorError[]> {
  const expected = interpret(outputs, values);
  const actual = await runOnGpu(gpu, outputs, values);
  return outputs.map((tensor, i) => ({
    tensor: `${i === 0 ? "forward" : `gradient of ${targets[i - 1].node.name}`} [${tensor.shape}]`,
    error: relativeError(actual[i], expected[i]),
  }));
}
