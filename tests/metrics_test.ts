/** GLUE's metrics against scikit-learn 1.9.1 (accuracy, F1, Matthews) and SciPy 1.17.1 (Pearson, Spearman). */

import assert from "node:assert/strict";
import { evaluateMetrics } from "../lib/train/metrics.ts";

const places = Array.from({ length: 40 }, (_, i) => i);

function assertNear(actual: Partial<Record<string, number>>, expected: Record<string, number>): void {
  assert.deepEqual(Object.keys(actual), Object.keys(expected));
  for (const [name, value] of Object.entries(expected)) {
    assert.ok(Math.abs(actual[name]! - value) < 1e-12, `${name} is ${actual[name]}, not ${value}`);
  }
}

Deno.test("two classes: accuracy_score, f1_score, matthews_corrcoef", () => {
  const labels = places.map((i) => (i * i + 3 * i) % 7 % 2);
  const predictions = places.map((i) => (i * 5 + Math.floor(i / 3)) % 3 % 2);
  assertNear(evaluateMetrics(["accuracy", "f1", "macroF1", "matthews"], predictions, labels), {
    accuracy: 0.55,
    f1: 0.4,
    macroF1: 0.52,
    matthews: 0.04279604925109129,
  });
});

Deno.test("three classes: accuracy_score and f1_score's macro average", () => {
  const labels = places.map((i) => (i * i + 3 * i) % 7 % 3);
  const predictions = places.map((i) => (i * 5 + Math.floor(i / 3)) % 11 % 3);
  assertNear(evaluateMetrics(["accuracy", "macroF1"], predictions, labels), {
    accuracy: 0.225,
    macroF1: 0.220942140296979,
  });
});

Deno.test("scores with ties: pearsonr and spearmanr", () => {
  const scores = places.map((i) => (i * 17 % 26) / 5);
  const predictions = places.map((i) => (i * 17 % 26) / 6 + (i * 7 % 5) / 2);
  assertNear(evaluateMetrics(["pearson", "spearman"], predictions, scores), {
    pearson: 0.8804905189077933,
    spearman: 0.8902404659026864,
  });
});

Deno.test("one class predicted, or none present: 0, as scikit-learn's", () => {
  assertNear(evaluateMetrics(["f1", "matthews"], [0, 0, 0], [0, 1, 0]), { f1: 0, matthews: 0 });
  assertNear(evaluateMetrics(["f1"], [0, 0, 0], [0, 0, 0]), { f1: 0 });
});

Deno.test("a side that is constant has no correlation, whatever rounding makes of its mean", () => {
  // The mean of three 0.1 is not 0.1.
  const none = { pearson: 0, spearman: 0 };
  assertNear(evaluateMetrics(["pearson", "spearman"], [0.7, 0.7, 0.7], [0.1, 0.1, 0.1]), none);
  assert.deepEqual(evaluateMetrics(["pearson"], [1, 2, 3.5], [0.1, 0.1, 0.1]), { pearson: 0 });
});
