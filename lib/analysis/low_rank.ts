/** The best approximation of a matrix by a product of two thin ones. */

import { leadingDirections } from "./spectrum.ts";

/** M ≈ B·A, and how far it is. Matrices are row-major. */
export interface LowRankFactors {
  /** k×n, orthonormal rows if m > n. */
  readonly A: Float32Array<ArrayBuffer>;
  /** m×k, orthonormal columns if m ≤ n. */
  readonly B: Float32Array<ArrayBuffer>;
  /** k: at most the rank that was asked for, and less where fewer give all of M. */
  readonly rank: number;
  /** ‖M − B·A‖²_F of the rounded factors. */
  readonly squaredError: number;
  /** ‖M‖²_F. */
  readonly sumOfSquares: number;
}

/**
 * The factors of rank k ≤ `rank` nearest to the row-major m×n `matrix` in Frobenius' norm (Eckart and Young,
 * 1936). With V the k leading singular vectors of the shorter side, M ≈ (M V) Vᵀ, or U (Uᵀ M).
 * @throws Error as `singularValues` does, and for a rank that is not a whole number ≥ 1.
 */
export function nearestFactors(matrix: Float64Array, m: number, n: number, rank: number): LowRankFactors {
  if (!Number.isInteger(rank) || rank < 1) throw new Error(`rank ${rank} is not a whole number ≥ 1`);
  const directions = leadingDirections(matrix, m, n, rank);
  const k = directions.length;
  const tall = m > n;
  const [A, B] = [new Float32Array(k * n), new Float32Array(m * k)];
  directions.forEach((direction, l) => {
    const other = tall ? timesColumns(matrix, direction, m) : timesRows(matrix, direction, n);
    A.set(tall ? direction : other, l * n);
    (tall ? other : direction).forEach((value, i) => B[i * k + l] = value);
  });
  const error = { rank: k, squaredError: 0, sumOfSquares: 0 };
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let product = 0;
      for (let l = 0; l < k; l++) product += B[i * k + l] * A[l * n + j];
      error.squaredError += (matrix[i * n + j] - product) ** 2;
      error.sumOfSquares += matrix[i * n + j] ** 2;
    }
  }
  return { A, B, ...error };
}

/** M v: m values. */
function timesColumns(matrix: Float64Array, v: Float64Array, m: number): Float64Array {
  return Float64Array.from({ length: m }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < v.length; j++) sum += matrix[i * v.length + j] * v[j];
    return sum;
  });
}

/** uᵀ M: n values. */
function timesRows(matrix: Float64Array, u: Float64Array, n: number): Float64Array {
  const sums = new Float64Array(n);
  u.forEach((value, i) => {
    for (let j = 0; j < n; j++) sums[j] += value * matrix[i * n + j];
  });
  return sums;
}
