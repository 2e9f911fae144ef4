/** Tensors that a node's launches leave to each other (see `Op.scratch`). */

import type { Node, Spec, Tensor } from "./graph.ts";

const made = new WeakMap<Node, Map<string, Tensor>>();

/** Tensors of `node` of these shapes, f32 unless said, which are no outputs of it: the same objects at each call. */
export function scratchTensors(
  node: Node,
  specs: readonly (Pick<Spec, "shape"> & Partial<Spec>)[],
): Tensor[] {
  const known = made.get(node) ?? new Map<string, Tensor>();
  made.set(node, known);
  return specs.map(({ shape, dtype = "f32" }, i) => {
    const key = `${i} of ${shape} ${dtype}`;
    const tensor = known.get(key) ?? { shape, dtype, node, index: -1 };
    known.set(key, tensor);
    return tensor;
  });
}
