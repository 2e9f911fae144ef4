/**
 * What a product does with its sum before storing it, as data. Its parts are applied in the order of `Epilogue`'s fields:
 * by the kernels in `wgsl/include/matmul.wgsl`, and in float64 by `finished`.
 */

import type { Defines } from "../../../gpu/render.ts";
import { type Activation, slopeOf, valueOf } from "../activation.ts";

/** Activations whose derivative can be computed from their output. */
export type FusedActivation = "relu" | "tanh";

/** An adapter's product V L, computed in `blocks` blocks of columns; see `wgsl/include/low_rank.wgsl`. */
export interface LowRank {
  readonly scale: number;
  readonly blocks: number;
  /** L is stored [n, rank], not [rank, n]. */
  readonly transposed: boolean;
}

/** The parts of an epilogue, in the order in which they are applied. */
export interface Epilogue {
  /** Adds scale · V L (`v` and `low`); only where `scale` below is 1. */
  readonly lowRank?: LowRank;
  /** Multiplies the sum. */
  readonly scale: number;
  /** Adds one value per column (`bias`). */
  readonly bias: boolean;
  readonly activation?: FusedActivation;
  /** Adds a matrix (`residual`). */
  readonly residual: boolean;
  /** GELU, stored beside its input in an output of its own, or alone. */
  readonly gelu?: "beside" | "alone";
  /** Multiplies by an activation's derivative, computed from `slope_at` (see `activationGradient`). */
  readonly slope?: Activation;
}

/** The tensors that an epilogue reads, by their names in WGSL. */
export type Operand = "bias" | "residual" | "v" | "low" | "slope_at";

/** The tensors that the epilogue reads, in the order in which they follow a product's own inputs. */
export function operandsOf({ bias, residual, lowRank, slope }: Epilogue): Operand[] {
  return [
    ...bias ? ["bias" as const] : [],
    ...residual ? ["residual" as const] : [],
    ...lowRank ? ["v", "low"] as const : [],
    ...slope ? ["slope_at" as const] : [],
  ];
}

/** Whether parts of a sum may be finished one by one and added. */
export function isLinear({ activation, gelu, slope }: Epilogue): boolean {
  return !activation && !gelu && !slope;
}

/** Whether the sum is stored as it is. */
export function isPlain(epilogue: Epilogue): boolean {
  return epilogue.scale === 1 && isLinear(epilogue) && operandsOf(epilogue).length === 0;
}

/** A place in the output, and the values of the operands. */
export interface Place {
  readonly row: number;
  readonly column: number;
  /** Columns of the output, of all blocks. */
  readonly columns: number;
  readonly read: Readonly<Record<Operand, Float64Array>>;
}

/** The float64 meaning: the values that are stored at a place, one for each output. */
export function finished(epilogue: Epilogue, sum: number, place: Place): number[] {
  const { lowRank, scale, bias, activation, residual, gelu, slope } = epilogue;
  const { row, column, columns, read } = place;
  const at = row * columns + column;
  let value = sum;
  if (lowRank) value += lowRankAt(lowRank, place);
  value *= scale;
  if (bias) value += read.bias[column];
  if (activation) value = valueOf[activation](value);
  if (residual) value += read.residual[at];
  if (gelu) return [...gelu === "beside" ? [value] : [], valueOf.gelu(value)];
  return [slope ? value * slopeOf[slope](read.slope_at[at]) : value];
}

function lowRankAt(
  { scale, blocks, transposed }: LowRank,
  { row, column, columns, read: { v, low } }: Place,
) {
  const rank = low.length / columns;
  const block = Math.floor(column / (columns / blocks));
  let sum = 0;
  for (let u = 0; u < rank; u++) {
    sum += v[(row * blocks + block) * rank + u] * low[transposed ? column * rank + u : u * columns + column];
  }
  return scale * sum;
}

/** The values of SLOPE in include/matmul.wgsl. */
const slopes: Readonly<Record<Activation, number>> = { relu: 1, tanh: 2, gelu: 3 };

/** The epilogue as the kernels' templates have it; `inPlace`: the output's buffer holds the residual. */
export function definesOf(
  { lowRank, bias, activation, residual, gelu, slope }: Epilogue,
  inPlace: boolean,
): Defines {
  return {
    SLOPE: slope ? slopes[slope] : 0,
    GELU: gelu === undefined ? 0 : gelu === "alone" ? 1 : 2,
    LOW_RANK: lowRank ? (lowRank.transposed ? 1 : 2) : 0,
    BIAS: Number(bias),
    RESIDUAL: residual ? (inPlace ? 2 : 1) : 0,
    ACTIVATION: activation === "relu" ? 1 : activation === "tanh" ? 2 : 0,
  };
}

/** A launch that adds its part of k to what the launch before it stored. */
export const addToOutput: Defines = { SLOPE: 0, GELU: 0, LOW_RANK: 0, BIAS: 0, RESIDUAL: 2, ACTIVATION: 0 };

/** An epilogue that does nothing. */
export const noEpilogue: Defines = { ...addToOutput, RESIDUAL: 0 };
