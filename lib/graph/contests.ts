/**
 * The choices that the autotuner makes for a program: one contest per bucket of nodes, run on random data.
 */

import type { Contest, Field } from "../gpu/autotuner.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { callsOf } from "./calls.ts";
import { bytesOf, type DType, type Node, type Tensor, type Variants } from "./graph.ts";
import { randomBits, uniform } from "./random.ts";

/** The contests of the nodes whose op has several kernels; a bucket is measured on its largest node. */
export function contestsOf(gpu: Gpu, nodes: readonly Node[]): Contest[] {
  const buckets = new Map<string, { node: Node; variants: Variants; work: number }>();
  for (const node of nodes) {
    const variants = node.op!.variants?.(node, gpu.traits);
    if (!variants || variants.candidates.length < 2) continue;
    const known = buckets.get(variants.bucket);
    const work = (known?.work ?? 0) + variants.multiplyAdds;
    const larger = known && known.variants.multiplyAdds >= variants.multiplyAdds ? known : { node, variants };
    buckets.set(variants.bucket, { ...larger, work });
  }
  return [...buckets].map(([bucket, { node, variants: { candidates }, work }]) => ({
    bucket,
    work,
    kernels: candidates.map(({ name, kernel }) => ({ name, code: kernel.code })),
    field: () => fieldOf(gpu, node, bucket, candidates.map(({ name }) => name)),
  }));
}

/** The node's launches with each kernel, on buffers that are freed when the field is disposed; an Error where they have no memory. */
async function fieldOf(
  gpu: Gpu,
  node: Node,
  bucket: string,
  names: readonly string[],
): Promise<Field | Error> {
  using owned = new DisposableStack();
  const views = new Map<Tensor, BufferView>();
  for (const tensor of new Set([...node.inputs, ...node.outputs])) {
    const bytes = bytesOf(tensor);
    const buffer = await gpu.tryBuffer("autotuner", bytes);
    if (buffer instanceof Error) return buffer;
    owned.defer(() => gpu.destroyBuffer(buffer));
    views.set(tensor, { buffer, offset: 0, bytes });
    if (node.inputs.includes(tensor)) fill(gpu, buffer, tensor.dtype);
  }
  const view = (tensor: Tensor) => views.get(tensor)!;
  const candidates = names.map((name) => ({
    name,
    calls: callsOf(node, false, { ...gpu.traits, choices: new Map([[bucket, name]]) }, view),
  }));
  const all = owned.move();
  return { candidates, results: node.outputs.map(view), [Symbol.dispose]: () => all.dispose() };
}

/** Prime, so that no two rows of a matrix start with the same values. */
const patternLength = 65_521;

/**
 * Fills `buffer` with a repeated pattern of random values; one random number per element of a large weight
 * would be slow, and the host need not have room for another copy of it.
 */
function fill(gpu: Gpu, buffer: GPUBuffer, dtype: DType): void {
  const pattern = patternOf(dtype);
  const words = Math.floor(buffer.size / 4);
  for (let at = 0; at < words; at += pattern.length) {
    gpu.upload(buffer, pattern.subarray(0, words - at), 4 * at);
  }
}

function patternOf(dtype: DType): Uint32Array<ArrayBuffer> {
  if (dtype === "f32" || dtype === "f32 in panels" || dtype === "u32") {
    return new Uint32Array(uniform(0, 0, patternLength, 1).buffer);
  }
  // Each half of a word is an f16 from 0 to 1, so whichever halves of a storage are scales, its values are finite.
  return Uint32Array.from({ length: patternLength }, (_, i) => randomBits(0, 0, 0, i) & 0x3b3b3b3b);
}
