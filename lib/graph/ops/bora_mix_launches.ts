/** The launches of BoRA's mix of blocks, and of the gradient of its diagonals. */

import mixText from "../../../wgsl/bora_mix.wgsl" with { type: "text" };
import stridedText from "../../../wgsl/bora_mix_strided.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/bora_mix_subgroup.wgsl" with { type: "text" };
import teamsText from "../../../wgsl/bora_mix_teams.wgsl" with { type: "text" };
import {
  type DeviceTraits,
  type Grid,
  type Kernel,
  linearGrid,
  renderKernel,
  sharingLanes,
} from "../../gpu/kernel.ts";
import type { Dispatch, Node, Tensor } from "../graph.ts";
import { scratchTensors } from "../scratch.ts";
import { lanesOf } from "./product/skinny_kernels.ts";
import { sumOfParts } from "./sum_of_parts.ts";

/** A pass of wgsl/bora_mix.wgsl. */
type Pass = 0 | 1 | 2;

/** Extents of the tensors; `ranks` counts vectors of WIDTH floats. */
interface MixSize {
  readonly tokens: number;
  readonly blocks: number;
  readonly ranks: number;
}

/** The extents, of tensors with Σ [b, b, r] and `tokens` rows, and the vectors' width. */
function sizeOfMix({ shape: [blocks, , r] }: Tensor, { shape: [tokens] }: Tensor): [MixSize, number] {
  const width = r % 4 === 0 ? 4 : 1;
  return [{ tokens, blocks, ranks: r / width }, width];
}

/** A kernel and its grid. */
interface Launch {
  readonly kernel: Kernel;
  readonly grid: Grid;
}

const tokensPerInvocation = 4;
const workgroup = 32;

/** The kernel in which each lane loads its own operands, as vectors of `WIDTH` floats. */
function plainMix(PASS: Pass, WIDTH: number, { tokens, blocks, ranks }: MixSize): Launch {
  const TILE = [4, 2, 1].find((size) => blocks % size === 0)!;
  const tiles = blocks / TILE;
  const shared = { PASS, WIDTH, TILE, WORKGROUP: workgroup };
  const defines = PASS === 2 ? shared : { ...shared, TOKENS: tokensPerInvocation };
  const grid = PASS === 2
    ? linearGrid(tiles * tiles * ranks, 1)
    : linearGrid(Math.ceil(tokens / tokensPerInvocation) * tiles * ranks, workgroup);
  return { kernel: renderKernel({ name: "bora_mix", text: mixText }, defines), grid };
}

/** The kernel in which the lanes of a subgroup share their loads. */
function subgroupMix(PASS: Pass, SUBGROUP: number, { tokens, blocks, ranks }: MixSize): Launch {
  const TILE = [4, 3, 2, 1].find((size) => blocks % (SUBGROUP * size) === 0)!;
  const tiles = blocks / SUBGROUP / TILE;
  const shared = { PASS, SUBGROUP, TILE };
  const ROWS = 2;
  const defines = PASS === 2 ? shared : { ...shared, ROWS };
  const outer = PASS === 2 ? blocks / SUBGROUP : Math.ceil(tokens / (ROWS * SUBGROUP));
  return {
    kernel: renderKernel({ name: "bora_mix_subgroup", text: subgroupText }, defines),
    grid: linearGrid(outer * tiles * ranks, 1),
  };
}

/** A software driver's kernel. */
function softwareMix(pass: Pass, width: number, size: MixSize, device: DeviceTraits): Launch {
  const lanes = sharingLanes(device);
  const shares = lanes > 0 && size.blocks % lanes === 0 && width === 4;
  return shares ? subgroupMix(pass, lanes, size) : plainMix(pass, width, size);
}

/** Blocks and tokens that an invocation of a GPU may own, and the blocks that it then adds at a time: eight loads or so. */
const stridedTiles = [[4, 2, 1], [2, 2, 2], [2, 1, 2], [1, 1, 4]] as const;

/** A GPU's kernel: the largest tile that leaves it 32,768 invocations. */
function stridedMix(PASS: Pass, WIDTH: number, { tokens, blocks, ranks }: MixSize): Launch {
  const occupies = (own: number, rows: number) => blocks / own * ranks * Math.ceil(tokens / rows) >= 32768;
  const [TILE, TOKENS, most] =
    stridedTiles.find(([own, rows]) => blocks % own === 0 && occupies(own, rows)) ??
      stridedTiles.at(-1)!;
  const span = blocks / TILE * ranks;
  const ACROSS = lanesOf(span);
  const DOWN = 64 / ACROSS;
  const STEP = [4, 2, 1].find((step) => step <= most && blocks % step === 0)!;
  const defines = { PASS, WIDTH, TILE, TOKENS, STEP, ACROSS, DOWN };
  return {
    kernel: renderKernel({ name: "bora_mix_strided", text: stridedText }, defines),
    grid: [Math.ceil(span / ACROSS), Math.ceil(tokens / TOKENS / DOWN), 1],
  };
}

/** V from U or, with `transpose`, dU from dV. */
export function mixLaunches(
  transpose: boolean,
  bindings: { readonly x: Tensor; readonly diagonal: Tensor; readonly out: Tensor },
  device: DeviceTraits,
): Dispatch[] {
  const [size, width] = sizeOfMix(bindings.diagonal, bindings.x);
  const pass = transpose ? 1 : 0;
  const launch = device.software ? softwareMix(pass, width, size, device) : stridedMix(pass, width, size);
  return [{ ...launch, params: { ...size }, bindings }];
}

/** How a GPU sums dΣ: TILE² diagonals a lane, LANES lanes a team, in parts of `length` tokens, each in `groups` workgroups. */
function teamsOf({ tokens, blocks, ranks }: MixSize) {
  const TILE = blocks % 2 === 0 && blocks ** 2 / 4 * ranks >= 32 ? 2 : 1;
  const places = (blocks / TILE) ** 2 * ranks;
  const LANES = [8, 16].find((lanes) => places <= lanes) ?? 32;
  const groups = Math.ceil(places / LANES);
  // As many parts as give a GPU 49,152 invocations, but 64 tokens a part: what the second stage reads is small then.
  const most = Math.min(Math.ceil(49152 / 256 / groups), Math.max(1, Math.floor(tokens / 64)));
  const length = Math.ceil(tokens / most);
  return { TILE, LANES, groups, length, parts: Math.ceil(tokens / length) };
}

/** The tensor between the two launches of dΣ on a GPU, where there are several parts; see `mixGradientLaunches`. */
export function mixGradientScratch(node: Node, { software }: DeviceTraits): Tensor[] {
  const { inputs: [x], outputs: [out] } = node;
  const { parts } = teamsOf(sizeOfMix(out, x)[0]);
  if (software || parts === 1) return [];
  return scratchTensors(node, [{ shape: [parts, ...out.shape] }]);
}

/** dΣ of a node that has dV and U as inputs. */
export function mixGradientLaunches(node: Node, device: DeviceTraits): Dispatch[] {
  const { inputs: [x, y], outputs: [out] } = node;
  const [size, WIDTH] = sizeOfMix(out, x);
  if (device.software) {
    return [{ ...softwareMix(2, WIDTH, size, device), params: { ...size }, bindings: { x, y, out } }];
  }
  const { TILE, LANES, groups, length, parts } = teamsOf(size);
  const [between] = mixGradientScratch(node, device);
  const defines = { WIDTH, TILE, LANES, TEAMS: 256 / LANES };
  return [
    {
      kernel: renderKernel({ name: "bora_mix_teams", text: teamsText }, defines),
      params: { ...size, length },
      bindings: { x, y, out: between ?? out },
      grid: [parts, groups, 1],
    },
    ...between ? [sumOfParts(between, out)] : [],
  ];
}
