/** The spectrum of a weight update: singular values and vectors, ranks, and the best possible low-rank approximation. */

import { Matrix, SVD } from "npm:ml-matrix@6.15.1";

/** The singular values of an m×n matrix, and what follows from them. */
export interface Spectrum {
  /** σ₁ ≥ σ₂ ≥ …, min(m, n) of them. */
  readonly singularValues: Float64Array;
  /** Number of singular values above a threshold that does not depend on the matrix. */
  readonly effectiveRank: number;
  /** Σ σᵢ² = ‖M‖²_F. */
  readonly sumOfSquares: number;
  /**
   * Number of singular values above max(m, n) · ε · σ₁ with float64's ε, as NumPy's `matrix_rank` counts.
   * This is the rank of the given numbers: a low-rank product that was rounded to float32 has full rank by
   * this measure.
   */
  readonly numericRank: number;
}

/**
 * The min(rows, cols) singular values of the row-major rows×cols `matrix`, in descending order. Each is
 * within about max(rows, cols) · ε · σ₁ of the exact one. Smaller values are only rounding, and may come out
 * as 0. It takes seconds at 768×768.
 * @throws Error when the matrix is empty, has another length than rows · cols, or holds NaN or an infinity.
 */
export function singularValues(matrix: Float64Array, rows: number, cols: number): Float64Array {
  checkMatrix(matrix, rows, cols);
  const values = new Float64Array(Math.min(rows, cols));
  const largest = matrix.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return values;
  const factor = triangularFactor(shortSide(matrix, rows, cols, largest));
  const { diagonal } = new SVD(new Matrix(factor), {
    computeLeftSingularVectors: false,
    computeRightSingularVectors: false,
    autoTranspose: true,
  });
  values.set(diagonal);
  return values.map((value) => value * largest);
}

/**
 * The first singular vectors of the row-major rows×cols `matrix` along its shorter side, by descending singular
 * value: `count` of them, or fewer where the other values are only rounding. Left vectors (`rows` entries) if
 * rows ≤ cols, otherwise right ones.
 * @throws Error as `singularValues` does.
 */
export function leadingDirections(
  matrix: Float64Array,
  rows: number,
  cols: number,
  count: number,
): Float64Array[] {
  checkMatrix(matrix, rows, cols);
  const largest = matrix.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return [];
  const factor = triangularFactor(shortSide(matrix, rows, cols, largest));
  const { rightSingularVectors } = new SVD(new Matrix(factor), {
    computeLeftSingularVectors: false,
    computeRightSingularVectors: true,
    autoTranspose: true,
  });
  const found = Math.min(count, factor.length);
  return Array.from({ length: found }, (_, l) => Float64Array.from(rightSingularVectors.getColumn(l)));
}

/**
 * The spectrum of the row-major rows×cols `matrix`. The effective rank counts the singular values above
 * `threshold`; the default is the BoRA paper's (arXiv 2508.06953).
 * @throws Error as `singularValues` does, or when the threshold is negative or NaN.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { spectrumOf } from "@bora/webgpu/models";
 *
 * const { singularValues, effectiveRank } = spectrumOf(Float64Array.of(3, 0, 0, 0, 2, 0), 2, 3);
 * assert.deepEqual([...singularValues].map(Math.round), [3, 2]);
 * assert.equal(effectiveRank, 2);
 * ```
 */
export function spectrumOf(matrix: Float64Array, rows: number, cols: number, threshold = 0.005): Spectrum {
  if (!(threshold >= 0)) throw new Error(`threshold ${threshold} is not a number ≥ 0`);
  const values = singularValues(matrix, rows, cols);
  const countAbove = (bound: number) => values.filter((value) => value > bound).length;
  return {
    singularValues: values,
    effectiveRank: countAbove(threshold),
    sumOfSquares: energyFrom(values, 0),
    numericRank: countAbove(Math.max(rows, cols) * Number.EPSILON * values[0]),
  };
}

/**
 * The largest possible rank of an m×n update with b blocks of rank r: min(m, n, b · r). For BoRA and MELoRA,
 * b is their number of blocks; for LoRA it is 1.
 */
export function rankBound({ m, n, b, r }: { m: number; n: number; b: number; r: number }): number {
  return Math.min(m, n, b * r);
}

/**
 * ‖M − M_k‖²_F / ‖M‖²_F for the best M_k of rank k = `rank`: the share of Σ σᵢ² after the first k values
 * (Eckart and Young, 1936). 0 for a zero matrix. `values` are M's singular values in descending order.
 * @throws Error when the rank is not a whole number ≥ 0.
 */
export function bestLowRankError(values: Float64Array, rank: number): number {
  if (!Number.isInteger(rank) || rank < 0) throw new Error(`rank ${rank} is not a whole number ≥ 0`);
  const total = energyFrom(values, 0);
  return total === 0 ? 0 : energyFrom(values, rank) / total;
}

/**
 * The smallest error of two factors, m×k and k×n, that approximate an m×n matrix with these singular values
 * (in descending order) with at most `parameters` parameters. Returns the largest k ≤ min(m, n) with k(m + n)
 * ≤ `parameters`, and `bestLowRankError` at rank k.
 * @throws Error when there are not min(m, n) values, or `parameters` is negative or not finite.
 */
export function svdOptimum(
  values: Float64Array,
  m: number,
  n: number,
  parameters: number,
): { rank: number; error: number } {
  if (values.length !== Math.min(m, n)) {
    throw new Error(`${values.length} singular values for a ${m}×${n} matrix`);
  }
  if (!Number.isFinite(parameters) || parameters < 0) throw new Error(`cannot have ${parameters} parameters`);
  const rank = Math.min(values.length, Math.floor(parameters / (m + n)));
  return { rank, error: bestLowRankError(values, rank) };
}

function checkMatrix(matrix: Float64Array, rows: number, cols: number): void {
  if (!Number.isInteger(rows) || !Number.isInteger(cols) || rows < 1 || cols < 1) {
    throw new Error(`a ${rows}×${cols} matrix has no singular values`);
  }
  if (matrix.length !== rows * cols) {
    throw new Error(`a ${rows}×${cols} matrix has ${rows * cols} entries, not ${matrix.length}`);
  }
  const broken = matrix.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) {
    const [row, column] = [Math.floor(broken / cols), broken % cols];
    throw new Error(`entry (${row}, ${column}) of the matrix is ${matrix[broken]}`);
  }
}

/**
 * The rows or the columns, whichever are fewer, as vectors. They are divided by `scale` so that no square
 * overflows or underflows in float64.
 */
function shortSide(matrix: Float64Array, rows: number, cols: number, scale: number): Float64Array[] {
  const [count, length] = rows <= cols ? [rows, cols] : [cols, rows];
  const [next, along] = rows <= cols ? [cols, 1] : [1, cols];
  return Array.from(
    { length: count },
    (_, j) => Float64Array.from({ length }, (_, i) => matrix[j * next + i * along] / scale),
  );
}

/**
 * R (k×count) of the QR factorisation with column pivoting of the matrix whose columns are `vectors`, by
 * modified Gram–Schmidt, which overwrites them. Rows that would hold only rounding are left out, so k is
 * about the rank. R keeps the given order of the columns, so it does not look triangular; its singular values
 * are those of the whole matrix.
 *
 * Why ml-matrix does not get the matrix itself: its iteration ends at an entry that is small beside its
 * neighbours. If the rank is exactly low (768×768 ones, an outer product of integers), all of them become
 * subnormal and it never returns (mljs/matrix issue 70 reports such a hang too). Every pivot kept here is
 * more than ε times the first.
 */
function triangularFactor(vectors: Float64Array[]): Float64Array[] {
  const factor: Float64Array[] = [];
  const squares = Float64Array.from(vectors, (vector) => dot(vector, vector));
  const negligible = Number.EPSILON ** 2 * Math.max(...squares);
  while (factor.length < vectors.length) {
    const pivot = squares.indexOf(Math.max(...squares));
    if (squares[pivot] <= negligible) break;
    const norm = Math.sqrt(squares[pivot]);
    const direction = vectors[pivot].map((value) => value / norm);
    const row = vectors.map((vector, j) => {
      const component = removeComponent(vector, direction);
      squares[j] = dot(vector, vector);
      return component;
    });
    factor.push(Float64Array.from(row));
  }
  return factor;
}

/** Subtracts from `vector` its component along the unit vector `direction`, and returns that component. */
function removeComponent(vector: Float64Array, direction: Float64Array): number {
  const component = dot(vector, direction);
  for (let i = 0; i < vector.length; i++) vector[i] -= component * direction[i];
  return component;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Σ σᵢ² over i ≥ `start`, added from the smallest to the largest. */
function energyFrom(values: Float64Array, start: number): number {
  return values.subarray(start).reduceRight((sum, value) => sum + value ** 2, 0);
}
