/** Tensors that a node's launches leave to each other (see `Op.scratch`). */

import type { Node, Tensor } from "./graph.ts";

const made = new WeakMap<Node, Map<string, Tensor>>();

/** f32 tensors of `node` of these shapes, which are no outputs of it: the same objects at each call. */
export function scratchTensors(node: Node, shapes: readonly (readonly number[])[]): Tensor[] {
  const known = made.get(node) ?? new Map<string, Tensor>();
  made.set(node, known);
  return shapes.map((shape, i) => {
    const key = `${i} of ${shape}`;
    const tensor = known.get(key) ?? { shape, dtype: "f32", node, index: -1 };
    known.set(key, tensor);
    return tensor;
  });
}
