/** Attention's tiles for GPUs: which tile each pass has for a head of some width, and its kernel. */

import deltaText from "../../../wgsl/attention_delta.wgsl" with { type: "text" };
import tilesText from "../../../wgsl/attention_tiles.wgsl" with { type: "text" };
import { type Kernel, renderKernel } from "../../gpu/kernel.ts";

/** How wgsl/attention_tiles.wgsl cuts a pass, in the words of its head. */
interface Tile {
  readonly down: number;
  readonly across: number;
  readonly perOwn: number;
  readonly perOther: 2 | 4;
  readonly chunk: number;
  readonly run: number;
}

/** The tiles of a pass: of each head size that is no greater than `widest`, the first. */
type Tiles = readonly { readonly widest: number; readonly tile: Tile }[];

/**
 * The sums take perOwn·headDim/across registers (twice for dk and dv) and the products perOwn·perOther (twice backward),
 * beside some 40: few enough for compilers for AMD's, Intel's and NVIDIA's GPUs to keep them in registers (`deno task
 * kernels`). Workgroup memory is within WebGPU's 16 KiB.
 */
const forward: Tiles = [
  { widest: 32, tile: { down: 16, across: 8, perOwn: 2, perOther: 4, chunk: 4, run: 16 } },
  { widest: 64, tile: { down: 8, across: 16, perOwn: 4, perOther: 2, chunk: 4, run: 16 } },
  { widest: 128, tile: { down: 8, across: 16, perOwn: 4, perOther: 2, chunk: 4, run: 4 } },
  { widest: 256, tile: { down: 8, across: 32, perOwn: 2, perOther: 2, chunk: 4, run: 8 } },
];

const ofQueries: Tiles = [
  { widest: 32, tile: { down: 16, across: 8, perOwn: 2, perOther: 2, chunk: 4, run: 16 } },
  { widest: 64, tile: { down: 8, across: 16, perOwn: 4, perOther: 2, chunk: 4, run: 16 } },
  { widest: 128, tile: { down: 16, across: 16, perOwn: 2, perOther: 2, chunk: 4, run: 8 } },
  { widest: 256, tile: { down: 8, across: 32, perOwn: 2, perOther: 2, chunk: 4, run: 8 } },
];

const ofKeys: Tiles = [
  { widest: 32, tile: { down: 16, across: 8, perOwn: 2, perOther: 4, chunk: 4, run: 16 } },
  { widest: 64, tile: { down: 8, across: 16, perOwn: 2, perOther: 2, chunk: 4, run: 8 } },
  { widest: 128, tile: { down: 16, across: 16, perOwn: 2, perOther: 2, chunk: 4, run: 4 } },
  { widest: 256, tile: { down: 8, across: 32, perOwn: 2, perOther: 2, chunk: 4, run: 8 } },
];

/** A pass's kernel and the number of rows per workgroup. */
export interface PassKernel {
  readonly kernel: Kernel;
  readonly rows: number;
}

/** The kernel of a pass for heads of `headDim`, with CAUSAL as in the kernels; undefined for heads wider than any tile. */
export function tiledKernel(pass: 0 | 1 | 2 | 3, headDim: number, causal: number): PassKernel | undefined {
  if (pass === 1) return deltaKernel(headDim, causal);
  const tiles = { 0: forward, 2: ofQueries, 3: ofKeys }[pass];
  const tile = tiles.find(({ widest }) => headDim <= widest)?.tile;
  if (!tile) return undefined;
  return { kernel: renderTiles(pass, headDim, causal, tile), rows: tile.down * tile.perOwn };
}

/** Renders a tile of any extents. */
export function renderTiles(pass: 0 | 2 | 3, headDim: number, causal: number, tile: Tile): Kernel {
  const { down, across, perOwn, perOther, chunk, run } = tile;
  const quads = headDim / 4;
  const columns = Math.ceil(quads / across);
  const deep = Math.max(perOther, columns);
  const fold = Math.floor(deep / columns);
  const products = pass === 0 ? 1 : 2;
  return renderKernel({ name: "attention_tiles", text: tilesText }, {
    PASS: pass,
    HEAD_DIM: headDim,
    CAUSAL: causal,
    DOWN: down,
    ACROSS: across,
    PER_OWN: perOwn,
    PER_OTHER: perOther,
    CHUNK: chunk,
    RUN: run,
    QUADS: quads,
    COLUMNS: columns,
    PRODUCTS: products,
    SUMS: pass === 3 ? 2 : 1,
    DEEP: deep,
    FOLD: fold,
    SLABS: Math.max(products, Math.ceil(run / fold / chunk)),
    RUNS: across * perOther / run,
    RUN_LOADS: Math.ceil(run * columns / down),
    LOAD_SLABS: Math.ceil(down / columns / (fold * chunk)),
  });
}

/** The kernel of pass 1. */
function deltaKernel(headDim: number, causal: number): PassKernel {
  const source = { name: "attention_delta", text: deltaText };
  return { kernel: renderKernel(source, { PASS: 1, HEAD_DIM: headDim, CAUSAL: causal }), rows: 64 };
}
