/**
 * The loss of next tokens: softmax cross-entropy over a vocabulary, without logits of all rows and tokens at a time and without a
 * gradient of a frozen head. For some rows and one piece of the head after the other, logits are computed and only their
 * statistics kept (online softmax, Milakov & Gimelshein 2018); the gradient computes them again, as in Cut Your Losses (Wijmans
 * et al. 2024) and Liger-Kernel.
 */

import text from "../../../wgsl/vocabulary_loss.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { lanesOf } from "./layer_norm.ts";
import { matmul, type StoredTensor } from "./product/product.ts";
import { checkFloats } from "./shapes.ts";
import { logitGradientLaunch, type Logits, softmaxPartsLaunch, softmaxScratch } from "./softmax_loss.ts";

/** Rows of the head: those of the tokens from `first` on. */
export interface VocabularyPiece {
  /** [tokens, n]. */
  readonly weight: Tensor | StoredTensor;
  /** The token of its first row. */
  readonly first: number;
}

/** What is learnt. */
export interface NextTokens {
  /** The next token of each row, [R] u32. */
  readonly labels: Tensor;
  /** The weight of each row, [R]; 0 leaves it out. */
  readonly weights: Tensor;
  /** Tokens from this id on do not exist: their logits are −∞. */
  readonly limit: number;
}

/**
 * `loss` [1], Σ_i w_i nll_i / Σ_i w_i, and `nll` [R], the rows' negative logarithms of probability. `parts` are the hidden rows
 * in order, some at a time, [count, n] each and R in all; the pieces are the whole head. The peak holds one part's logits of one
 * piece. Throws an Error naming the shapes when they do not fit.
 */
export function vocabularyLoss(
  parts: readonly Tensor[],
  pieces: readonly VocabularyPiece[],
  { labels, weights, limit }: NextTokens,
): { readonly loss: Tensor; readonly nll: Tensor } {
  const { graph } = labels.node;
  let statistics: Tensor | undefined;
  eachBlock(parts, pieces, ({ part, piece, from, at: [, of] }) => {
    const logits = matmul(part, piece.weight, { transposeB: true });
    const before = statistics ? [statistics] : [];
    const attrs = { from, first: piece.first, limit, starts: of === 0 };
    [statistics] = graph.apply(statisticsOp, [logits, labels, ...before], attrs);
  });
  const heads = pieces.flatMap(({ weight }) => tensorsOf(weight));
  const attrs = { parts: parts.length, pieces: pieces.map(({ first }) => first), limit };
  const [loss, nll] = graph.apply(lossOp, [statistics!, labels, weights, ...parts, ...heads], {
    ...attrs,
    stored: pieces.map(({ weight }) => "values" in weight && weight.scales !== undefined),
  });
  return { loss, nll };
}

function tensorsOf(weight: Tensor | StoredTensor): Tensor[] {
  return "values" in weight ? [weight.values, ...weight.scales ? [weight.scales] : []] : [weight];
}

/** A part's rows and a piece of the head. */
interface Block {
  readonly part: Tensor;
  readonly piece: VocabularyPiece;
  /** The part's first row. */
  readonly from: number;
  /** The places of the part and of the piece among all. */
  readonly at: readonly [part: number, piece: number];
}

function eachBlock(
  parts: readonly Tensor[],
  pieces: readonly VocabularyPiece[],
  visit: (block: Block) => void,
): void {
  let from = 0;
  for (const [own, part] of parts.entries()) {
    for (const [of, piece] of pieces.entries()) visit({ part, piece, from, at: [own, of] });
    from += part.shape[0];
  }
}

interface StatisticsAttrs {
  readonly from: number;
  readonly first: number;
  readonly limit: number;
  readonly starts: boolean;
}

const workgroup = 64;

/** The logits of a block as a GPU's launches take them. */
function logitsOf(
  { shape: [rows, classes] }: Spec,
  { first, limit }: Pick<StatisticsAttrs, "first" | "limit">,
): Logits {
  return { rows, classes, there: Math.min(classes, Math.max(0, limit - first)) };
}

function dispatch(
  defines: Defines & { readonly PASS: number },
  params: {
    readonly rows: number;
    readonly logits?: Spec;
    readonly place?: Omit<StatisticsAttrs, "starts">;
    readonly parts_of_row?: number;
  },
  bindings: Dispatch["bindings"],
  grid: Dispatch["grid"],
  lanes: number,
): Dispatch {
  const { rows, logits, place, ...further } = params;
  return {
    kernel: renderKernel({ name: "vocabulary_loss", text }, {
      ...{ STARTS: 0, BEFORE: 0, IN_PLACE: 0 },
      ...defines,
      WORKGROUP: lanes,
    }),
    params: {
      rows,
      count: logits?.shape[0] ?? 0,
      classes: logits?.shape[1] ?? 0,
      from_row: place?.from ?? 0,
      first: place?.first ?? 0,
      limit: place?.limit ?? 0,
      ...further,
    },
    bindings,
    grid,
  };
}

/** Calls `visit` for every row of the logits, with its index among all rows. */
function forEachRow(
  logits: Float64Array,
  { shape: [count, classes] }: Spec,
  from: number,
  visit: (row: number, own: Float64Array) => void,
): void {
  for (let i = 0; i < count; i++) visit(from + i, logits.subarray(i * classes, (i + 1) * classes));
}

/** Inputs: logits of some rows, labels of all, and the statistics so far. Output: [R, 4], of which the last is 0. */
const statisticsOp: Op<StatisticsAttrs> = {
  name: "logitStatistics",
  wholeInputs: [1],
  infer([logits, labels], { from }) {
    if (logits.shape.length !== 2 || from + logits.shape[0] > sizeOf(labels)) {
      throw new Error(`logits ${describe(logits)} from row ${from} do not fit labels ${describe(labels)}`);
    }
    return [{ shape: [sizeOf(labels), 4], dtype: "f32" }];
  },
  evaluate([logits, labels, before], { inputs: [spec], outputs: [out], attrs }) {
    const { from, first, limit, starts } = attrs;
    const statistics = before?.slice() ?? new Float64Array(sizeOf(out));
    forEachRow(logits, spec, from, (row, own) => {
      const known = starts ? [-Infinity, 0, 0] : [...statistics.subarray(4 * row, 4 * row + 3)];
      const there = own.subarray(0, Math.max(0, limit - first));
      const top = there.reduce((most, value) => Math.max(most, value), known[0]);
      const before = known[1] === 0 ? 0 : known[1] * Math.exp(known[0] - top);
      const sum = there.reduce((total, value) => total + Math.exp(value - top), before);
      const label = labels[row] - first;
      const target = label >= 0 && label < own.length ? own[label] : known[2];
      statistics.set([top, sum, target, 0], 4 * row);
    });
    return [statistics];
  },
  scratch: (node, { software }) =>
    software ? [] : [softmaxScratch(node, logitsOf(node.inputs[0], node.attrs))],
  dispatches(node, inPlace, device) {
    const { inputs: [logits, labels, before], outputs: [out], attrs } = node;
    const rows = sizeOf(labels);
    const isCopied = before !== undefined && !inPlace;
    const bindings = { logits, labels, out, ...isCopied ? { before } : {} };
    const defines = { STARTS: Number(attrs.starts), BEFORE: Number(isCopied) };
    const params = { rows, logits, place: attrs };
    const grid = linearGrid(rows, 1);
    if (device.software) return [dispatch({ PASS: 0, ...defines }, params, bindings, grid, lanesOf(device))];
    const own = logitsOf(logits, attrs);
    const parts = softmaxScratch(node, own);
    const joined = { ...params, parts_of_row: parts.shape[1] };
    return [
      softmaxPartsLaunch(node, logits, own),
      dispatch({ PASS: 3, ...defines }, joined, { ...bindings, parts }, grid, workgroup),
    ];
  },
  overwrites: ({ inputs }) => inputs.length === 3 ? [2] : [],
};

interface LossAttrs {
  /** Number of parts, and the first token of each piece. */
  readonly parts: number;
  readonly pieces: readonly number[];
  /** Which pieces have scales of their own. */
  readonly stored: readonly boolean[];
  readonly limit: number;
}

/** Inputs: statistics, labels, weights, and for the gradient the parts and the pieces. Outputs: loss, nll, Σ w. */
const lossOp: Op<LossAttrs> = {
  name: "vocabularyLoss",
  isLoss: true,
  // The gradients of the parts and pieces are those by way of the statistics.
  sharedInput: 0,
  wholeInputs: [1],
  storedInput: "any",
  infer([statistics, labels, weights, ...rest], { parts }) {
    checkFloats(weights);
    const rows = rest.slice(0, parts).reduce((sum, { shape }) => sum + shape[0], 0);
    if (sizeOf(weights) !== sizeOf(labels) || rows !== sizeOf(labels)) {
      throw new Error(
        `labels ${describe(labels)} and weights ${
          describe(weights)
        } are not those of ${rows} hidden rows, with statistics ` +
          describe(statistics),
      );
    }
    const scalar: Spec = { shape: [1], dtype: "f32" };
    return [scalar, { shape: [rows], dtype: "f32" }, scalar];
  },
  derivative: gradients,
  evaluate([statistics, , weights]) {
    const nll = weights.map((_, i) => {
      const [top, sum, target] = statistics.subarray(4 * i);
      return Math.log(sum) + top - target;
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const loss = nll.reduce((sum, value, i) => sum + weights[i] * value, 0) / total;
    return [Float64Array.of(loss), nll, Float64Array.of(total)];
  },
  dispatches({ inputs: [statistics, , weights], outputs: [loss, nll, total] }) {
    const bindings = { statistics, weights, loss, nll, total };
    return [dispatch({ PASS: 1 }, { rows: sizeOf(weights) }, bindings, [1, 1, 1], workgroup)];
  },
};

/** The gradients of the parts, and of pieces in f32. */
function gradients({ inputs, outputs, attrs, graph }: Node<LossAttrs>): (Tensor | undefined)[] {
  const [statistics, labels, weights, ...rest] = inputs;
  const parts = rest.splice(0, attrs.parts);
  const pieces = attrs.pieces.map((first, i): VocabularyPiece => {
    const [values, scales] = rest.splice(0, attrs.stored[i] ? 2 : 1);
    return { weight: { values, scales }, first };
  });
  // By their places: a tensor may be several parts.
  const ofParts: (Tensor | undefined)[] = parts.map(() => undefined);
  const ofPieces: (Tensor | undefined)[] = pieces.map(() => undefined);
  eachBlock(parts, pieces, ({ part, piece, from, at: [own, of] }) => {
    const { values } = piece.weight as StoredTensor;
    const logits = matmul(part, piece.weight, { transposeB: true });
    const place = { from, first: piece.first, limit: attrs.limit };
    const [slopes] = graph.apply(logitGradientOp, [logits, statistics, labels, weights, outputs[2]], place);
    ofParts[own] = matmul(slopes, piece.weight, { residual: ofParts[own] });
    if (values.dtype !== "f32") return;
    ofPieces[of] = matmul(slopes, part, { transposeA: true, residual: ofPieces[of] });
  });
  const ofHeads = ofPieces.flatMap((gradient, i) => attrs.stored[i] ? [gradient, undefined] : [gradient]);
  return [undefined, undefined, undefined, ...ofParts, ...ofHeads];
}

/** Inputs: logits of some rows, and of all rows the statistics, labels, weights and Σ w. */
const logitGradientOp: Op<Omit<StatisticsAttrs, "starts">> = {
  name: "logitGradient",
  wholeInputs: [2],
  infer: ([logits]) => [{ shape: logits.shape, dtype: "f32" }],
  evaluate([logits, statistics, labels, weights, total], { inputs: [spec], attrs }) {
    const out = new Float64Array(logits.length);
    const { from, first, limit } = attrs;
    forEachRow(logits, spec, from, (row, own) => {
      const [top, sum] = statistics.subarray(4 * row);
      own.subarray(0, Math.max(0, limit - first)).forEach((x, c) => {
        const share = Math.exp(x - top) / sum - Number(first + c === labels[row]);
        out[(row - from) * own.length + c] = share * weights[row] / total[0];
      });
    });
    return [out];
  },
  dispatches({ inputs, outputs: [out], attrs }, inPlace, { software }) {
    const [logits, statistics, labels, weights, total] = inputs;
    const bindings = { statistics, labels, weights, total, ...inPlace ? {} : { logits }, out };
    if (!software) {
      const place = { from_row: attrs.from, first: attrs.first };
      return [logitGradientLaunch(logitsOf(logits, attrs), place, bindings)];
    }
    const defines = { PASS: 2, IN_PLACE: Number(inPlace) };
    const params = { rows: sizeOf(labels), logits, place: attrs };
    return [dispatch(defines, params, bindings, linearGrid(sizeOf(out), workgroup), workgroup)];
  },
  overwrites: () => [0],
};
