/**
 * Masked multi-head attention and its gradients, without a tokens×tokens tensor in memory; optionally causal
 * and with grouped queries (Ainslie et al. 2023), as decoders use it.
 */

import text from "../../../wgsl/attention.wgsl" with { type: "text" };
import subgroupText from "../../../wgsl/attention_subgroup.wgsl" with { type: "text" };
import { type DeviceTraits, type Grid, renderKernel, sharingLanes } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { type PassKernel, tiledKernel } from "./attention_tiles.ts";

interface Attrs {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly causal: boolean;
  /** Infinity without a window. */
  readonly window: number;
  readonly scale: number;
}

/** Options of `attention`. */
export interface AttentionOptions {
  /** Number of query heads. */
  readonly heads: number;
  /**
   * Number of key and value heads, each shared by `heads / kvHeads` neighbouring query heads; default
   * `heads`.
   */
  readonly kvHeads?: number;
  /** Whether a token attends only to itself and earlier tokens; default false. */
  readonly causal?: boolean;
  /**
   * With `causal`: how many tokens a token attends to, itself and those just before it; all by default. A padding row that
   * has none of its text in reach attends to the last one.
   */
  readonly window?: number;
  /** Factor of the scores q·k, such as headDim^−½. */
  readonly scale: number;
}

/**
 * softmax(scale · q kᵀ) v for each head, over the first `lengths[b]` tokens of each text.
 * q and the result: [batch·length, heads·headDim]; k and v: [batch·length, kvHeads·headDim]; lengths: [batch] u32, each ≥ 1;
 * headDim a multiple of 4. Throws an Error naming the shapes when they do not fit.
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  lengths: Tensor,
  { heads, kvHeads = heads, causal = false, window = Infinity, scale }: AttentionOptions,
): Tensor {
  const batch = lengths.shape[0];
  const attrs = { batch, length: q.shape[0] / batch, heads, kvHeads, causal, window, scale };
  return q.node.graph.apply(attentionOp, [q, k, v, lengths], attrs)[0];
}

function headDim(spec: Spec, { heads }: Attrs): number {
  return spec.shape[1] / heads;
}

function infer(inputs: readonly Spec[], attrs: Attrs): void {
  const [q, k, v] = inputs;
  const width = headDim(q, attrs);
  if (attrs.heads % attrs.kvHeads !== 0) {
    throw new Error(`${attrs.heads} query heads cannot share ${attrs.kvHeads} key heads evenly`);
  }
  const expected = [q.shape[0], attrs.kvHeads * width].join();
  if (k.shape.join() !== expected || v.shape.join() !== expected) {
    throw new Error(
      `k ${describe(k)} and v ${describe(v)} are not the ${attrs.kvHeads} heads of ${width} that q ${
        describe(q)
      } wants`,
    );
  }
  if (width % 4 !== 0) {
    throw new Error(`head size ${q.shape[1]}/${attrs.heads} = ${width} is not a multiple of 4`);
  }
  if (attrs.window < Infinity && !(attrs.causal && Number.isInteger(attrs.window) && attrs.window >= 1)) {
    throw new Error(`a window of ${attrs.window} tokens: use a whole number from 1, of causal attention`);
  }
  if (!Number.isInteger(attrs.length)) {
    throw new Error(`${q.shape[0]} tokens are not ${attrs.batch} texts of one length`);
  }
}

/**
 * Calls `visit(p, rowI, rowJ, stat, lse)` for every head and every pair of a query row and an unmasked key
 * row.
 */
function forEachWeight(
  [q, k, , lengths]: readonly Float64Array[],
  spec: Spec,
  attrs: Attrs,
  visit: (p: number, rowI: number, rowJ: number, stat: number, lse: number) => void,
): void {
  const width = headDim(spec, attrs);
  const offset = (heads: number, b: number, h: number, row: number) =>
    ((b * attrs.length + row) * heads + h) * width;
  for (let b = 0; b < attrs.batch; b++) {
    for (let h = 0; h < attrs.heads; h++) {
      for (let i = 0; i < attrs.length; i++) {
        const rowI = offset(attrs.heads, b, h, i);
        const shared = Math.floor(h * attrs.kvHeads / attrs.heads);
        const rowJ = (j: number) => offset(attrs.kvHeads, b, shared, j);
        const first = Math.min(Math.max(0, i + 1 - attrs.window), lengths[b] - 1);
        const scores = Array.from(
          { length: attrs.causal ? Math.min(lengths[b], i + 1) - first : lengths[b] },
          (_, j) => attrs.scale * dot(q, rowI, k, rowJ(first + j), width),
        );
        const top = Math.max(...scores);
        const lse = top + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
        const stat = (b * attrs.heads + h) * attrs.length + i;
        scores.forEach((score, j) => visit(Math.exp(score - lse), rowI, rowJ(first + j), stat, lse));
      }
    }
  }
}

function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, width: number): number {
  let sum = 0;
  for (let c = 0; c < width; c++) sum += a[atA + c] * b[atB + c];
  return sum;
}

/** target[at…] += factor · source[from…] */
function addRow(
  target: Float64Array,
  at: number,
  factor: number,
  source: Float64Array,
  from: number,
  width: number,
): void {
  for (let c = 0; c < width; c++) target[at + c] += factor * source[from + c];
}

const workgroup = 16;

/** Rows that the subgroup kernel stores at a time. */
const strip = 4;

/** Whether a token does not attend to all tokens before it: the kernels differ. */
function isWindowed({ window, length }: Attrs): boolean {
  return window < length;
}

/** A pass of wgsl/attention.wgsl. */
type Pass = 0 | 1 | 2 | 3;

/**
 * On a GPU tiles, but for the widest heads. On software drivers the kernel whose lanes share their loads, if the device has
 * small subgroups that divide the head's width. Else the kernel with one row per invocation.
 */
function kernelOf(pass: Pass, { attrs, inputs }: Node<Attrs>, device: DeviceTraits): PassKernel {
  const width = headDim(inputs[0], attrs);
  const defines = { PASS: pass, HEAD_DIM: width, CAUSAL: isWindowed(attrs) ? 2 : Number(attrs.causal) };
  const tiled = device.software ? undefined : tiledKernel(pass, width, defines.CAUSAL);
  if (tiled) return tiled;
  const lanes = sharingLanes(device);
  const VECS = width / 4 / lanes;
  if (pass === 1 || lanes === 0 || !Number.isInteger(VECS) || VECS > 4) {
    const kernel = renderKernel({ name: "attention", text }, { ...defines, WORKGROUP: workgroup });
    return { kernel, rows: workgroup };
  }
  const rows = 2 * lanes;
  const shared = { ...defines, SUBGROUP: lanes, ROWS: rows, STRIP: strip, VECS };
  return { kernel: renderKernel({ name: "attention_subgroup", text: subgroupText }, shared), rows };
}

function dispatch(
  pass: Pass,
  node: Node<Attrs>,
  device: DeviceTraits,
  bindings: Dispatch["bindings"],
): Dispatch {
  const { attrs } = node;
  const { kernel, rows } = kernelOf(pass, node, device);
  const heads = pass === 3 ? attrs.kvHeads : attrs.heads;
  const grid: Grid = [Math.ceil(attrs.length / rows), heads, attrs.batch];
  return {
    kernel,
    params: {
      length: attrs.length,
      heads: attrs.heads,
      kv_heads: attrs.kvHeads,
      scale: attrs.scale,
      ...isWindowed(attrs) ? { window: attrs.window } : {},
    },
    bindings,
    grid,
  };
}

function statistics(attrs: Attrs): Spec {
  return { shape: [attrs.batch, attrs.heads, attrs.length], dtype: "f32" };
}

/** Outputs: the attended values, and each row's log-sum-exp for the backward pass. */
const attentionOp: Op<Attrs> = {
  name: "attention",
  wholeInputs: [3],
  infer(inputs, attrs) {
    infer(inputs, attrs);
    return [{ shape: inputs[0].shape, dtype: "f32" }, statistics(attrs)];
  },
  derivative({ inputs, outputs, attrs, graph }, [gradient]) {
    return graph.apply(attentionGradientOp, [...inputs, outputs[0], outputs[1], gradient!], attrs).slice(
      0,
      3,
    );
  },
  evaluate(values, { inputs, outputs, attrs }) {
    const [out, lses] = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
    const width = headDim(inputs[0], attrs);
    forEachWeight(values, inputs[0], attrs, (p, rowI, rowJ, stat, lse) => {
      addRow(out, rowI, p, values[2], rowJ, width);
      lses[stat] = lse;
    });
    return [out, lses];
  },
  dispatches(node, _, device) {
    const [q, k, v, lengths] = node.inputs;
    const [o, lse] = node.outputs;
    return [dispatch(0, node, device, { q, k, v, lengths, o, lse })];
  },
};

/** Inputs: q, k, v, lengths, o, lse, do. Outputs: dq, dk, dv, and (scratch) each row's lse and do·o. */
const attentionGradientOp: Op<Attrs> = {
  name: "attentionGradient",
  wholeInputs: [3],
  infer(inputs, attrs) {
    infer(inputs, attrs);
    const [dQ, dK, dV] = inputs.map(({ shape }): Spec => ({ shape, dtype: "f32" }));
    return [dQ, dK, dV, { shape: [...statistics(attrs).shape, 2], dtype: "f32" }];
  },
  evaluate(values, { inputs, outputs, attrs }) {
    const [q, k, v, , o, , dO] = values;
    const [dQ, dK, dV, rows] = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
    const width = headDim(inputs[0], attrs);
    forEachWeight(values, inputs[0], attrs, (p, rowI, rowJ, stat, lse) => {
      const delta = dot(dO, rowI, o, rowI, width);
      rows.set([lse, delta], 2 * stat);
      const dS = p * (dot(dO, rowI, v, rowJ, width) - delta) * attrs.scale;
      addRow(dQ, rowI, dS, k, rowJ, width);
      addRow(dK, rowJ, dS, q, rowI, width);
      addRow(dV, rowJ, p, dO, rowI, width);
    });
    return [dQ, dK, dV, rows];
  },
  dispatches(node, _, device) {
    const [q, k, v, lengths, o, lse, d_o] = node.inputs;
    const [d_q, d_k, d_v, rows] = node.outputs;
    return [
      dispatch(1, node, device, { o, d_o, lse, rows }),
      dispatch(2, node, device, { q, k, v, lengths, rows, d_o, d_q }),
      dispatch(3, node, device, { q, k, v, lengths, rows, d_o, d_k, d_v }),
    ];
  },
};
