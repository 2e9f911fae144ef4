/**
 * Products of a token or a few by weights that read the same rows, in one launch: a layer's queries, keys and values; or its gate and
 * what goes through it, with the gated unit (`gatedUnit`) of both. Models do not trace these ops: `fuse` and `fuseShared` create
 * them. The bits are those of the products alone.
 */

import text from "../../../../wgsl/matmul_lanes_together.wgsl" with { type: "text" };
import { type DeviceTraits, renderKernel } from "../../../gpu/kernel.ts";
import type { Dispatch, Node, Op, Tensor } from "../../graph.ts";
import { storageNamed } from "../../storages/registry.ts";
import { type GateActivation, gatedUnitOp } from "../gated_unit.ts";
import { extents } from "./blocks.ts";
import { isPlain } from "./epilogue.ts";
import { defaultRule } from "./policy.ts";
import { few, type Problem, problemOf } from "./problem.ts";
import { type ProductNode, productOp } from "./product.ts";
import { hasLanes, laneReading, type LaneTile } from "./skinny_kernels.ts";

/** Storage buffers that every device can bind in a kernel. */
const mostBuffers = 8;

/**
 * What products must agree in to be computed together, as a text; undefined for a product that has no place here. The storage's
 * scales must not lie in a buffer of their own, as there would be too many buffers.
 */
export function formOfFew(node: Node): string | undefined {
  if (node.op !== productOp) return undefined;
  const { attrs, inputs }: ProductNode = node;
  const { transposeA, transposeB, blocks, epilogue } = attrs;
  const { m, n, k } = extents(inputs, attrs);
  const { scaleEvery, strideOf } = storageNamed(inputs[1].dtype);
  const isRow = !transposeA && transposeB && blocks === 1 && isPlain({ ...epilogue, bias: false });
  if (!isRow || scaleEvery || strideOf || m > few || n <= few || k % 4 !== 0) return undefined;
  return `a few rows by ${inputs[1].dtype}${epilogue.bias ? " with bias" : ""}`;
}

/** The most products of this kind that one launch can compute. */
export function mostOfFew({ attrs: { epilogue } }: ProductNode): number {
  return Math.min(3, Math.floor((mostBuffers - 1) / (epilogue.bias ? 3 : 2)));
}

interface Attrs {
  readonly products: readonly ProductNode[];
  /** Of two products: what the gate goes through. */
  readonly gated?: GateActivation;
}

/** One node that replaces products of one form. */
export function fewTogether(products: readonly ProductNode[]): Node<Attrs> {
  return {
    ...products[0],
    op: fewTogetherOp,
    name: products.map(({ name }) => name).join(" + "),
    inputs: [...new Set(products.flatMap(({ inputs }) => inputs))],
    outputs: products.flatMap(({ outputs }) => outputs),
    attrs: { products },
  };
}

/** One node that replaces a gated unit and the two products that it alone reads, if one launch can compute them. */
export function gatedTogether(unit: Node, isReadOnce: (tensor: Tensor) => boolean): Node<Attrs> | undefined {
  if (unit.op !== gatedUnitOp || !unit.inputs.every(isReadOnce)) return undefined;
  const [gate, up] = unit.inputs.map(({ node }) => node);
  const form = formOfFew(gate);
  if (gate === up || !form || form !== formOfFew(up) || gate.inputs[0] !== up.inputs[0]) return undefined;
  return {
    ...fewTogether([gate, up]),
    outputs: unit.outputs,
    attrs: { products: [gate, up], gated: unit.attrs.activation },
  };
}

/** The problem of a product, and that of all columns at once, by which the tile is chosen. */
function problemsOf({ products }: Attrs): { each: Problem[]; all: Problem } {
  const each = products.map(({ inputs, outputs, attrs }) => problemOf(inputs, outputs[0], attrs));
  return { each, all: { ...each[0], n: each.reduce((sum, { n }) => sum + n, 0) } };
}

/** The tile of the launch, where the device computes each of the products by lanes. */
function tileOn(attrs: Attrs, device: DeviceTraits): LaneTile | undefined {
  const { each, all } = problemsOf(attrs);
  const uses = each.map((problem) => defaultRule(problem, device).use);
  if (!uses.every(hasLanes)) return undefined;
  const tile = uses[0].tileOf(all, device);
  return attrs.gated ? withRoomForBoth(tile) : tile;
}

/** Bytes of workgroup memory that every device has. */
const mostSharedBytes = 16384;

/** The tile with half the teams, if both products' sums of all of them do not fit into workgroup memory. */
function withRoomForBoth(tile: LaneTile): LaneTile {
  const { TILE_M, TILE_N, LANES, TEAMS_M, TEAMS_N } = tile;
  const bytes = 4 * 2 * TILE_M * TILE_N * (LANES + 1) * TEAMS_M * TEAMS_N;
  return LANES > 1 && bytes > mostSharedBytes ? { ...tile, TEAMS_N: TEAMS_N / 2 } : tile;
}

function together(
  { outputs, attrs }: Node<Attrs>,
  { TILE_M, TILE_N, LANES, TEAMS_M, TEAMS_N, SHARE }: LaneTile,
): Dispatch {
  const { products, gated } = attrs;
  const { each } = problemsOf(attrs);
  const { m, k } = each[0];
  const TEAMS = TEAMS_M * TEAMS_N;
  const groups = each.map(({ n }) => Math.ceil(n / TILE_N / TEAMS));
  const firsts = groups.map((_, p) => groups.slice(0, p).reduce((sum, count) => sum + count, 0));
  const readings = each.map((problem, p) => laneReading(problem, `b${p}`, 2 + p));
  const { storage, reading } = each[0];
  const parts = Object.assign(
    {},
    ...readings.map(({ parts }, p) =>
      parts ?? {
        [`b${p}.bindings`]: reading.bindings({ name: `b${p}`, binding: 2 + p, scalesBinding: 0 }),
        [`b${p}.load`]: reading.load(`b${p}`),
      }
    ),
  );
  const { quads: QUADS, kind: RUN } = readings[0];
  const numbered = <T>(name: string, values: readonly T[]) =>
    values.map((value, p): [string, T] => [`${name}${p}`, value]);
  const bias = products[0].attrs.epilogue.bias;
  return {
    kernel: renderKernel({ name: "matmul_lanes_together", text, variant: storage, parts }, {
      PRODUCTS: products.length,
      GATED: Number(gated !== undefined),
      TANH_GELU: Number(gated === "tanh gelu"),
      BIAS: Number(bias),
      TRANS_B: 1,
      QUADS,
      RUN,
      TILE_M,
      TILE_N,
      LANES,
      TEAMS,
      SHARE,
      ...reading.defines,
    }),
    params: Object.fromEntries<number>([
      ["m", m],
      ["k", k],
      ...numbered("columns", each.map(({ n }) => n)),
      ...numbered("first", firsts),
    ]),
    bindings: Object.fromEntries<Tensor>([
      ["a", products[0].inputs[0]],
      ...numbered("b", products.map(({ inputs }) => inputs[1])),
      ...numbered("c", outputs),
      ...bias ? numbered("bias", products.map(({ inputs }) => inputs[2])) : [],
    ]),
    grid: [gated ? groups[0] : firsts.at(-1)! + groups.at(-1)!, Math.ceil(m / TILE_M), 1],
  };
}

/** The gated unit of the two products' own outputs. */
function unitOf(
  { graph, name, outputs, attrs: { products, gated } }: Node<Attrs>,
): Node<{ activation: GateActivation }> {
  const inputs = products.map((product) => product.outputs[0]);
  return { graph, name, op: gatedUnitOp, source: undefined, inputs, outputs, attrs: { activation: gated! } };
}

function apart(node: Node<Attrs>, device: DeviceTraits): Dispatch[] {
  const each = node.attrs.products.flatMap((product) => [...productOp.dispatches(product, false, device)]);
  return node.attrs.gated ? [...each, ...gatedUnitOp.dispatches(unitOf(node), false, device)] : each;
}

const fewTogetherOp: Op<Attrs> = {
  name: "fewTogether",
  // The unit's output is shaped like either product's.
  infer: (_, { products, gated }) => gated ? products[0].outputs : products.flatMap(({ outputs }) => outputs),
  evaluate(inputs, node) {
    const values = new Map(node.inputs.map((tensor, i) => [tensor, inputs[i]]));
    const each = node.attrs.products.flatMap((product) => [
      ...productOp.evaluate(product.inputs.map((tensor) => values.get(tensor)!), product),
    ]);
    return node.attrs.gated ? gatedUnitOp.evaluate(each, unitOf(node)) : each;
  },
  dispatches(node, _, device) {
    const tile = tileOn(node.attrs, device);
    return tile ? [together(node, tile)] : apart(node, device);
  },
  scratch({ attrs }, device) {
    if (tileOn(attrs, device)) return [];
    const { products, gated } = attrs;
    const own = gated ? products.map(({ outputs }) => outputs[0]) : [];
    return [...own, ...products.flatMap((product) => productOp.scratch!(product, device))];
  },
};
