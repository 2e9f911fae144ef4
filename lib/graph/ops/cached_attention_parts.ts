/** Attention over a cache on GPUs: parts of the keys side by side, and a second launch that joins them. */

import joinText from "../../../wgsl/cached_attention_join.wgsl" with { type: "text" };
import partsText from "../../../wgsl/cached_attention_parts.wgsl" with { type: "text" };
import { renderKernel } from "../../gpu/kernel.ts";
import type { Dispatch, Node, Tensor } from "../graph.ts";
import { scratchTensors } from "../scratch.ts";

/** The extents of a node. */
export interface CacheExtents {
  /** Rows of q. */
  readonly rows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens per text in the cache. */
  readonly capacity: number;
}

/** The most vec4 of a head that a workgroup has lanes for. */
const mostQuads = 128;

/** Whether these kernels have lanes enough for the head's width. */
export function hasParts({ headDim }: CacheExtents): boolean {
  return headDim / 4 <= mostQuads;
}

/** Query heads of one key head that a workgroup has. */
function groupOf({ heads, kvHeads }: CacheExtents): number {
  return [4, 3, 2].find((group) => heads / kvHeads % group === 0) ?? 1;
}

/** Parts of the keys: as many as give a GPU 65,536 invocations, but 64 keys of a full cache or more each. */
function partsOf(extents: CacheExtents): number {
  const { rows, heads, capacity } = extents;
  const workgroups = rows * heads / groupOf(extents);
  return Math.max(1, Math.min(Math.ceil(65536 / 128 / workgroups), Math.floor(capacity / 64), 256));
}

/** The parts' sums, and their maxima and totals; none where there is one part. */
export function scratchOfParts(node: Node, extents: CacheExtents): readonly Tensor[] {
  const parts = partsOf(extents);
  if (parts === 1) return [];
  const { rows, heads, headDim } = extents;
  return scratchTensors(node, [headDim, 2].map((width) => ({ shape: [parts, rows, heads, width] })));
}

/** The launches: `params` are those of wgsl/cached_attention.wgsl. */
export function launchesOfParts(node: Node, extents: CacheExtents, params: Dispatch["params"]): Dispatch[] {
  const [q, k, v, places, table] = node.inputs;
  const [o] = node.outputs;
  const [sums, stats] = scratchOfParts(node, extents);
  const { rows, heads, headDim } = extents;
  const group = groupOf(extents);
  const parts = partsOf(extents);
  const quads = headDim / 4;
  const lanes = quads <= 8 ? 8 : 16;
  const wide = [16, 32, 64].find((width) => quads <= width) ?? mostQuads;
  const first: Dispatch = {
    kernel: renderKernel({ name: "cached_attention_parts", text: partsText }, {
      QUADS: quads,
      GROUP: group,
      TILE: group > 2 ? 32 : 64,
      LANES: lanes,
      TEAMS: 128 / lanes,
      WIDE: wide,
      WINDOW: Number("window" in params),
      PARTS: Number(parts > 1),
      F16: Number(k.dtype === "f16"),
      ROTATE: Number(table !== undefined),
    }),
    params,
    bindings: { q, k, v, places, ...table ? { table } : {}, ...parts > 1 ? { sums, stats } : { o } },
    grid: [rows, heads / group, parts],
  };
  if (parts === 1) return [first];
  return [first, {
    kernel: renderKernel({ name: "cached_attention_join", text: joinText }, { QUADS: quads, WIDE: wide }),
    params: { parts },
    bindings: { sums, stats, o },
    grid: [rows, heads, 1],
  }];
}
