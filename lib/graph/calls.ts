/** A node's kernel launches, bound to buffers. */

import type { DeviceTraits } from "../gpu/kernel.ts";
import type { BufferView, Call } from "../gpu/program.ts";
import type { Node, Tensor } from "./graph.ts";

/**
 * The launches of `node`, with each tensor bound to the buffer that `view` returns; `inPlace` as in
 * `Op.dispatches`.
 */
export function callsOf(
  node: Node,
  inPlace: boolean,
  device: DeviceTraits,
  view: (tensor: Tensor) => BufferView,
): Call[] {
  return node.op!.dispatches(node, inPlace, device).map((
    { kernel, params, bindings, grid, multiplyAdds },
  ) => ({
    label: `${node.op!.name} ${node.name}`,
    kernel,
    params,
    views: Object.fromEntries(Object.entries(bindings).map(([variable, tensor]) => [variable, view(tensor)])),
    grid,
    multiplyAdds,
  }));
}
