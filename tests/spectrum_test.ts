/** Singular values, ranks and the low-rank optimum: on matrices whose spectrum is known beforehand. */

import assert from "node:assert/strict";
import {
  bestLowRankError,
  rankBound,
  singularValues,
  spectrumOf,
  svdOptimum,
} from "../lib/analysis/spectrum.ts";
import { uniform } from "../lib/graph/random.ts";

type Entry = (row: number, column: number) => number;

function matrixOf(rows: number, cols: number, entry: Entry): Float64Array {
  return Float64Array.from({ length: rows * cols }, (_, i) => entry(Math.floor(i / cols), i % cols));
}

function diagonal(rows: number, cols: number, values: readonly number[]): Float64Array {
  return matrixOf(rows, cols, (i, j) => i === j ? values[i] : 0);
}

function random(rows: number, cols: number, stream: number): Float64Array {
  return Float64Array.from(uniform(1, stream, rows * cols, 1));
}

/** Row-major (m×k)·(k×n). */
function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  return matrixOf(m, n, (i, j) => {
    let sum = 0;
    for (let l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
    return sum;
  });
}

/** A dense orthogonal size×size matrix: two Householder reflections. */
function orthogonal(size: number, stream: number): Float64Array {
  const [first, second] = [stream, stream + 1].map((own) => {
    const v = random(size, 1, own);
    const square = v.reduce((sum, value) => sum + value ** 2, 0);
    return matrixOf(size, size, (i, j) => Number(i === j) - 2 * v[i] * v[j] / square);
  });
  return product(first, second, size, size, size);
}

/** U · diag(values) · Vᵀ, rows×cols. */
function withSpectrum(rows: number, cols: number, values: readonly number[]): Float64Array {
  const scaled = product(orthogonal(rows, 10), diagonal(rows, cols, values), rows, rows, cols);
  return product(scaled, orthogonal(cols, 20), rows, cols, cols);
}

const squaredNorm = (matrix: Float64Array) => matrix.reduce((sum, value) => sum + value ** 2, 0);

function assertNear(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `[${i}] is ${actual[i]}, not ${expected[i]}`);
  }
}

Deno.test("a diagonal matrix: the magnitudes, descending; the input is left alone", () => {
  const matrix = diagonal(4, 4, [1, -3, 0.5, 2]);
  assertNear(singularValues(matrix, 4, 4), [3, 2, 1, 0.5], 1e-15);
  assert.deepEqual(matrix, diagonal(4, 4, [1, -3, 0.5, 2]));
});

// Values from 10 down to below the paper's threshold, one of them twice, one near rounding.
const prescribed = [10, 4, 4, 0.5, 6e-3, 4e-3, 1e-12];
for (const [rows, cols] of [[7, 7], [7, 13], [13, 7], [7, 200], [200, 7]]) {
  Deno.test(`${rows}×${cols}: a prescribed spectrum comes back, and its ranks`, () => {
    const spectrum = spectrumOf(withSpectrum(rows, cols, prescribed), rows, cols);
    assertNear(spectrum.singularValues, prescribed, Math.max(rows, cols) * Number.EPSILON * 10);
    assert.equal(spectrum.effectiveRank, 5);
    assert.equal(spectrum.numericRank, 7);
  });
}

Deno.test("an orthogonal matrix: every singular value is 1", () => {
  assertNear(singularValues(orthogonal(24, 3), 24, 24), new Array(24).fill(1), 24 * Number.EPSILON);
});

Deno.test("an outer product has rank 1 and σ₁ = ‖u‖·‖v‖", () => {
  const [u, v] = [random(13, 1, 0), random(1, 7, 1)];
  const spectrum = spectrumOf(product(u, v, 13, 1, 7), 13, 7);
  const first = Math.sqrt(squaredNorm(u) * squaredNorm(v));
  assertNear(spectrum.singularValues, [first, 0, 0, 0, 0, 0, 0], 1e-14);
  assert.equal(spectrum.numericRank, 1);
});

Deno.test("a zero matrix has rank 0 and nothing to lose", () => {
  const { singularValues: values, ...rest } = spectrumOf(new Float64Array(15), 3, 5);
  assert.deepEqual(values, new Float64Array(3));
  assert.deepEqual(rest, { effectiveRank: 0, sumOfSquares: 0, numericRank: 0 });
  assert.equal(bestLowRankError(values, 0), 0);
});

Deno.test("one entry, one row, one column: the length", () => {
  assert.deepEqual(singularValues(Float64Array.of(-2.5), 1, 1), Float64Array.of(2.5));
  assertNear(singularValues(Float64Array.of(2, -3, 6), 1, 3), [7], 1e-14);
  assertNear(singularValues(Float64Array.of(2, -3, 6), 3, 1), [7], 1e-14);
});

Deno.test("the squares sum to the Frobenius norm's", () => {
  for (const [rows, cols] of [[7, 13], [13, 7], [64, 64], [1, 9]]) {
    const matrix = random(rows, cols, 5);
    const expected = squaredNorm(matrix);
    assertNear([spectrumOf(matrix, rows, cols).sumOfSquares / expected], [1], 1e-14);
  }
});

Deno.test("scales whose squares leave float64's range", () => {
  for (const scale of [1e-300, 1e300]) {
    const values = singularValues(diagonal(3, 3, [2, 1, 3]).map((value) => value * scale), 3, 3);
    assertNear(values.map((value) => value / scale), [3, 2, 1], 1e-15);
  }
});

Deno.test("effective rank counts what is above the threshold, not at it", () => {
  assert.equal(spectrumOf(diagonal(3, 3, [8, 0.0051, 0.0049]), 3, 3).effectiveRank, 2);
  const matrix = diagonal(3, 4, [8, 0.5, 0.25]);
  const rankAt = (threshold: number) => spectrumOf(matrix, 3, 4, threshold).effectiveRank;
  assert.deepEqual([0, 0.25, 0.49, 0.5, 8].map(rankAt), [3, 2, 2, 1, 0]);
});

Deno.test("numeric rank counts what is above max(m, n)·ε·σ₁, not at it", () => {
  const rankOf = (cols: number, second: number) =>
    spectrumOf(diagonal(2, cols, [1, second * Number.EPSILON]), 2, cols).numericRank;
  assert.deepEqual([1, 2, 3].map((second) => rankOf(2, second)), [1, 1, 2]);
  assert.deepEqual([3, 4, 5].map((second) => rankOf(4, second)), [1, 1, 2]);
});

Deno.test("blocks reach b·r, the bound; LoRA's product r; rounding to float32 hides both", () => {
  const [m, n, b, r] = [24, 16, 4, 2];
  const [left, right] = [random(m, r, 1), random(r, n, 2)];
  assert.equal(spectrumOf(product(left, right, m, r, n), m, n).numericRank, rankBound({ m, n, b: 1, r }));

  const [height, width] = [m / b, n / b];
  const diagonals = random(b * b, r, 3); // Σ_jk, as BoRA has it: block (j, k) is B_j · Diag · A_k
  const blocks = matrixOf(m, n, (i, j) => {
    const block = Math.floor(i / height) * b + Math.floor(j / width);
    let sum = 0;
    for (let l = 0; l < r; l++) sum += left[i * r + l] * diagonals[block * r + l] * right[l * n + j];
    return sum;
  });
  assert.equal(spectrumOf(blocks, m, n).numericRank, rankBound({ m, n, b, r }));
  assert.equal(spectrumOf(blocks.map(Math.fround), m, n).numericRank, 16);
});

Deno.test("the rank bound: blocks, or a side of the matrix", () => {
  assert.equal(rankBound({ m: 768, n: 512, b: 16, r: 8 }), 128);
  assert.equal(rankBound({ m: 768, n: 512, b: 64, r: 16 }), 512);
  assert.equal(rankBound({ m: 100, n: 512, b: 64, r: 16 }), 100);
});

// The library alone never returns from these. They run in their own process, so that a regression fails and
// does not hang.
for (const [size, entry] of [[768, "1"], [66, "(i % 7 - 3) * (j % 5 - 2)"]]) {
  Deno.test(`exact rank 1 at ${size}×${size} comes to an end: ${entry}`, async () => {
    const code = `
      import { spectrumOf } from "${import.meta.resolve("../lib/analysis/spectrum.ts")}";
      const matrix = new Float64Array(${size} ** 2);
      for (let i = 0; i < ${size}; i++) for (let j = 0; j < ${size}; j++) matrix[${size} * i + j] = ${entry};
      console.log(spectrumOf(matrix, ${size}, ${size}).numericRank);`;
    const command = new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      cwd: new URL("..", import.meta.url),
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(60_000),
    });
    const { stdout, stderr } = await command.output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    assert.equal(decode(stdout), "1", decode(stderr) || "still running after a minute");
  });
}

Deno.test("Eckart–Young: the error is the truncated reconstruction's; keeping columns does no better", () => {
  const [rows, cols] = [7, 13];
  const matrix = withSpectrum(rows, cols, prescribed);
  const values = singularValues(matrix, rows, cols);
  for (let rank = 0; rank <= rows; rank++) {
    const truncated = withSpectrum(rows, cols, prescribed.map((value, i) => i < rank ? value : 0));
    const error = squaredNorm(matrix.map((value, i) => value - truncated[i])) / squaredNorm(matrix);
    assertNear([bestLowRankError(values, rank)], [error], 1e-10 * error + 1e-27);

    const outside = squaredNorm(matrix.map((value, i) => i % cols < rank ? 0 : value)) / squaredNorm(matrix);
    assert.ok(bestLowRankError(values, rank) <= outside + 1e-15);
  }
  assert.equal(bestLowRankError(values, rows), 0);
  assert.equal(bestLowRankError(values, 100), 0);
});

Deno.test("the SVD optimum of a budget: k(m + n) parameters buy rank k, what is left over nothing", () => {
  const values = Float64Array.of(4, 2, 1); // of a 3×5 matrix; squares 16, 4, 1
  const at = (parameters: number) => svdOptimum(values, 3, 5, parameters);
  assert.deepEqual(at(0), { rank: 0, error: 1 });
  assert.deepEqual(at(7), { rank: 0, error: 1 });
  assert.deepEqual(at(8), { rank: 1, error: 5 / 21 });
  assert.deepEqual(at(15), { rank: 1, error: 5 / 21 });
  assert.deepEqual(at(16), { rank: 2, error: 1 / 21 });
  assert.deepEqual(at(1000), { rank: 3, error: 0 });
});

Deno.test("what cannot be computed is refused with what is wrong", () => {
  const six = Float64Array.of(1, 2, 3, 4, 5, 6);
  assert.throws(() => singularValues(six, 2, 2), /a 2×2 matrix has 4 entries, not 6/);
  assert.throws(() => singularValues(new Float64Array(), 0, 3), /a 0×3 matrix has no singular values/);
  assert.throws(() => singularValues(six, -2, -3), /a -2×-3 matrix/);
  assert.throws(() => singularValues(six, 1.5, 4), /a 1.5×4 matrix/);
  assert.throws(() => singularValues(six.with(4, NaN), 2, 3), /entry \(1, 1\) of the matrix is NaN/);
  assert.throws(
    () => singularValues(six.with(2, -Infinity), 2, 3),
    /entry \(0, 2\) of the matrix is -Infinity/,
  );
  assert.throws(() => spectrumOf(six, 2, 3, -1), /threshold -1/);
  assert.throws(() => spectrumOf(six, 2, 3, NaN), /threshold NaN/);
  assert.throws(() => bestLowRankError(six, -1), /rank -1/);
  assert.throws(() => bestLowRankError(six, 1.5), /rank 1.5/);
  assert.throws(() => svdOptimum(six, 2, 3, 10), /6 singular values for a 2×3 matrix/);
  assert.throws(() => svdOptimum(six, 6, 9, -1), /cannot have -1 parameters/);
  assert.throws(() => svdOptimum(six, 6, 9, NaN), /cannot have NaN parameters/);
});
