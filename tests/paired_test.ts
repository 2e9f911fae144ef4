/** Comparisons over examples and seeds, against SciPy and statsmodels (fixtures/paired_reference.py) and on simulated runs. */

import assert from "node:assert/strict";
import type { MetricName } from "../lib/data/task.ts";
import {
  averagePaired,
  comparePaired,
  type PairedComparison,
  type PairedRuns,
  type SeedRun,
  verdictOf,
} from "../lib/report/paired.ts";
import { detectableOf, halfWidthOf, pairedEstimate } from "../lib/report/statistics.ts";
import { influences } from "../lib/train/influence.ts";
import { evaluateMetrics } from "../lib/train/metrics.ts";
import fixture from "./fixtures/paired_reference.json" with { type: "json" };
import { normals } from "./support/noise.ts";

function near(actual: number | undefined, expected: number, relative: number, what = ""): void {
  const close = actual !== undefined && Math.abs(actual - expected) <= relative * Math.abs(expected);
  assert.ok(close, `${what} ${actual}, expected ${expected}`);
}

/** Runs with seeds 0, 1, … */
const seeded = (predictions: readonly (readonly number[])[]): SeedRun[] =>
  predictions.map((own, seed) => ({ seed, predictions: own }));

interface Stored {
  readonly labels: number[];
  readonly reference: number[][];
  readonly own: number[][];
}

const compareStored = ({ labels, reference, own }: Stored) =>
  comparePaired({ metric: "accuracy", labels, reference: seeded(reference), own: seeded(own) });

/** Two systems that are right (1) or wrong (0) on examples whose labels are all 1. */
const compareRights = (reference: readonly number[][], own: readonly number[][]) =>
  comparePaired({
    metric: "accuracy",
    labels: own[0].map(() => 1),
    reference: seeded(reference),
    own: seeded(own),
  });

/** `length` ones, with zeros at the places from `from` to before `to`. */
const wrongAt = (length: number, from: number, to: number) =>
  Array.from({ length }, (_, i) => i >= from && i < to ? 0 : 1);

Deno.test("several seeds: the crossed mixed model of statsmodels, fitted by REML", () => {
  const { mean, error, seedError, exampleError, seeds, examples } = compareStored(fixture.mixed);
  assert.deepEqual([seeds, examples], [6, 36]);
  near(mean, fixture.mixed.mean, 1e-9);
  near(error, fixture.mixed.error, 1e-4, "error");
  near(seedError, fixture.mixed.seedError, 1e-4, "seeds' part");
  near(exampleError, fixture.mixed.exampleError, 1e-4, "examples' part");
});

Deno.test("one seed: SciPy's paired t-test over examples, and no part of the seeds", () => {
  const { p, interval, seeds, seedError } = compareStored(fixture.oneSeed);
  near(p, fixture.oneSeed.p, 1e-6);
  interval.forEach((end, i) => near(end, fixture.oneSeed.interval[i], 1e-6));
  assert.deepEqual([seeds, seedError], [1, undefined]);
});

Deno.test("examples that all fare alike: SciPy's paired t-test over seeds", () => {
  const { p, interval, degrees } = compareStored(fixture.alikeExamples);
  near(degrees, 4, 1e-9);
  near(p, fixture.alikeExamples.p, 1e-6);
  interval.forEach((end, i) => near(end, fixture.alikeExamples.interval[i], 1e-6));
});

Deno.test("every metric's error over examples: SciPy's bootstrap", () => {
  assert.equal(fixture.bootstrap.length, 6);
  for (const { metric, labels, reference, own, error } of fixture.bootstrap) {
    const found = comparePaired({
      metric: metric as MetricName,
      labels,
      reference: seeded([reference]),
      own: seeded([own]),
    });
    near(found.error, error, 0.02, metric);
  }
});

Deno.test("an example's influence is n − 1 times what the metric loses without it", () => {
  const size = 300;
  const next = normals(4);
  const scores = Array.from({ length: size }, () => Math.round(5 * next()) / 5);
  const guesses = scores.map((score) => Math.round(5 * (score + next())) / 5);
  const classOf = (value: number) => value < -0.5 ? 0 : value < 0.5 ? 1 : 2;
  const sides: Record<MetricName, readonly [guesses: number[], labels: number[]]> = {
    accuracy: [guesses.map(classOf), scores.map(classOf)],
    macroF1: [guesses.map(classOf), scores.map(classOf)],
    f1: [guesses.map((value) => Number(value > 0.3)), scores.map((value) => Number(value > 0.3))],
    matthews: [guesses.map((value) => Number(value > 0.3)), scores.map((value) => Number(value > 0.3))],
    pearson: [guesses, scores],
    spearman: [guesses, scores],
    perplexity: [guesses.map((value) => 40 + value), scores.map((_, i) => 20 + i % 3)],
  };
  for (const [name, [predictions, labels]] of Object.entries(sides)) {
    const metric = name as MetricName;
    const valueOf = (p: number[], y: number[]) => evaluateMetrics([metric], p, y)[metric]!;
    const whole = valueOf(predictions, labels);
    const found = influences(metric, predictions, labels);
    const sum = found.reduce((total, value) => total + value, 0);
    assert.ok(Math.abs(sum) < 1e-9 * size, `${metric}: the influences add up to ${sum}`);
    found.forEach((value, i) => {
      const without = valueOf(predictions.toSpliced(i, 1), labels.toSpliced(i, 1));
      const left = (size - 1) * (whole - without);
      assert.ok(
        Math.abs(value - left) < 0.04 * Math.max(1, Math.abs(left)),
        `${metric} ${i}: ${value}, ${left}`,
      );
    });
  }
});

Deno.test("a constant prediction, whose correlation is 0, has no influential example", () => {
  for (const metric of ["matthews", "pearson", "spearman"] as const) {
    assert.deepEqual(influences(metric, [1, 1, 1], [0, 1, 1]), [0, 0, 0]);
    // The mean of three 0.1 is not 0.1.
    assert.deepEqual(influences(metric, [1, 2, 4], [0.1, 0.1, 0.1]), [0, 0, 0]);
  }
  assert.deepEqual(influences("f1", [0, 0, 2], [0, 2, 0]), [0, 0, 0]);
});

Deno.test("the difference that is detected with 80 % power: statsmodels' TTestPower", () => {
  for (const { degrees, shift } of fixture.power) {
    near(detectableOf({ mean: 0, error: 2, degrees }), 2 * shift, 1e-5, `${degrees} degrees`);
  }
  near(detectableOf({ mean: 0, error: 1, degrees: Infinity }), 1.959963985 + 0.841621234, 1e-5);
});

/**
 * Two systems whose difference is 0 over all examples and seeds: each is right where its skill exceeds an
 * example's difficulty. `seedSpread` is the standard deviation of a seed's skill.
 */
function simulated(seed: number, seeds: number, examples: number, seedSpread: number) {
  const next = normals(seed);
  const many = (length: number, spread: number) => Array.from({ length }, () => spread * next());
  const labels = Array.from({ length: examples }, (_, i) => i % 2);
  const easy = many(examples, 2.9).map((value) => value + 1.5);
  const system = () => {
    const own = many(examples, 0.6);
    const skills = many(seeds, seedSpread);
    return seeded(
      skills.map((skill) =>
        many(examples, 1).map((noise, e) => easy[e] + own[e] + skill + noise > 0 ? labels[e] : 1 - labels[e])
      ),
    );
  };
  return { labels, reference: system(), own: system() };
}

/** The share of 400 simulated comparisons whose 95 % interval covers the true difference. */
function coverage(
  [metric, seeds, examples, seedSpread]: readonly [MetricName, number, number, number],
  intervalOf: (runs: PairedRuns) => readonly [low: number, high: number],
): number {
  const covered = Array.from({ length: 400 }, (_, replication) => {
    const [low, high] = intervalOf({ metric, ...simulated(replication, seeds, examples, seedSpread) });
    return low <= 0 && high >= 0;
  });
  return covered.filter(Boolean).length / covered.length;
}

// A share of 400 has a standard deviation of 1.1 % around 95 %.
for (
  const setting of [
    ["accuracy", 1, 300, 0],
    ["accuracy", 3, 300, 0.4],
    ["accuracy", 8, 200, 0],
    ["matthews", 4, 300, 0.2],
  ] as const
) {
  const [metric, seeds, examples, seedSpread] = setting;
  const name = `${metric}, seeds: ${seeds}, examples: ${examples}, spread of seeds: ${seedSpread}`;
  Deno.test(`95 % intervals cover the truth: ${name}`, () => {
    const share = coverage(setting, (runs) => comparePaired(runs).interval);
    assert.ok(share >= 0.925 && share <= 0.985, `${share}`);
  });
}

Deno.test("the t-test over seeds alone covers the truth less often than it says: all seeds share the examples", () => {
  const share = coverage(["accuracy", 8, 200, 0], ({ metric, labels, reference, own }) => {
    const scores = (runs: readonly SeedRun[]) =>
      runs.map(({ predictions }) => evaluateMetrics([metric], predictions, labels)[metric]!);
    const others = scores(reference);
    const estimate = pairedEstimate(scores(own).map((score, i) => score - others[i]));
    const half = halfWidthOf(estimate);
    return [estimate.mean - half, estimate.mean + half];
  });
  assert.ok(share < 0.9, `${share}`);
});

/** The verdict on a comparison alone. */
const verdictAlone = (found: PairedComparison) => verdictOf(found, found.p);

Deno.test("what the verdict turns on: the 90 % interval within ±0.5, then p below 5 %", () => {
  const verdict = (mean: number, error: number) =>
    verdictAlone(averagePaired([{ ...compareStored(fixture.mixed), mean, error, degrees: 1e5 }]));
  assert.equal(verdict(0, 0.3), "equivalent");
  assert.equal(verdict(0, 0.31), "cannot tell");
  assert.equal(verdict(-0.1, 0.24), "equivalent");
  assert.equal(verdict(-0.1, 0.25), "cannot tell");
  assert.equal(verdict(1.97, 1), "better");
  assert.equal(verdict(1.95, 1), "cannot tell");
  assert.equal(verdict(-1.97, 1), "worse");
  const estimate = { mean: 1.97, error: 1, degrees: 1e5 };
  assert.equal(verdictOf(estimate, 0.049), "better");
  assert.equal(verdictOf(estimate, 0.05), "cannot tell", "by the p that is given");
});

Deno.test("verdicts: better and worse mirror each other; little data cannot tell; little difference is equivalent", () => {
  const [strong, weak] = [wrongAt(1000, 0, 100), wrongAt(1000, 50, 250)];
  const better = compareRights([weak], [strong]);
  assert.equal(verdictAlone(better), "better");
  near(better.mean, 10, 1e-9);
  const worse = compareRights([strong], [weak]);
  assert.equal(verdictAlone(worse), "worse");
  near(worse.mean, -better.mean, 1e-12);
  near(worse.error, better.error, 1e-12);
  near(worse.p, better.p, 1e-9);
  assert.equal(verdictAlone(compareRights([wrongAt(100, 0, 10)], [wrongAt(100, 5, 20)])), "cannot tell");
  // 0.2 points are more than nothing, and still of no consequence.
  const small = compareRights([wrongAt(10_000, 0, 20)], [wrongAt(10_000, 0, 0)]);
  assert.equal(verdictAlone(small), "equivalent");
  assert.ok(small.p < 0.001);
});

Deno.test("seeds that agree better than chance would have it have no part, by hand", () => {
  // Each seed loses 10 other examples of 40: mean squares of seeds 0, of examples 2·40·25²/39, of the rest twice that.
  const right = wrongAt(40, 0, 0);
  const found = compareRights([right, right], [wrongAt(40, 0, 10), wrongAt(40, 10, 20)]);
  near(found.mean, -25, 1e-12);
  near(found.error, 25 / Math.sqrt(39), 1e-12);
  near(found.exampleError, found.error, 1e-12);
  assert.equal(found.seedError, 0);
  near(found.degrees, 39 / (1 + 2 ** 2), 1e-12);
});

Deno.test("equal predictions are equivalent only where one more example would not matter", () => {
  for (const [examples, verdict] of [[50, "cannot tell"], [1000, "equivalent"]] as const) {
    for (const seeds of [1, 3]) {
      const runs = Array.from({ length: seeds }, () => wrongAt(examples, 0, 10));
      const found = compareRights(runs, runs);
      assert.deepEqual([found.mean, verdictAlone(found)], [0, verdict]);
      near(found.p, 1, 1e-6);
      assert.ok(found.p <= 1);
      near(found.error, 100 / examples, 1e-12);
    }
  }
});

Deno.test("seeds are paired by number, and those of one side only are left out", () => {
  const [a, b, c] = [wrongAt(60, 0, 9), wrongAt(60, 3, 20), wrongAt(60, 30, 41)];
  const run = (seed: number, predictions: readonly number[]) => ({ seed, predictions });
  const labels = a.map(() => 1);
  const found = comparePaired({
    metric: "accuracy",
    labels,
    reference: [run(7, c), run(1, a), run(2, b)],
    own: [run(2, a), run(5, a), run(1, c)],
  });
  const { mean, error, seeds } = comparePaired({
    metric: "accuracy",
    labels,
    reference: [run(1, a), run(2, b)],
    own: [run(1, c), run(2, a)],
  });
  assert.equal(seeds, 2);
  assert.equal(found.seeds, 2);
  near(found.mean, mean, 1e-12);
  near(found.error, error, 1e-12);
});

Deno.test("what cannot be compared is refused", () => {
  const labels = [0, 1, 1];
  const compare = (reference: SeedRun[], own: SeedRun[], given = labels) =>
    comparePaired({ metric: "accuracy", labels: given, reference, own });
  const run = (seed: number, predictions = labels) => ({ seed, predictions });
  assert.throws(() => compare([run(0), run(1)], [run(2)]), /no seed in common: 2 and 0,1/);
  assert.throws(() => compare([run(0), run(0)], [run(0)]), /a seed twice among 0,0/);
  assert.throws(() => compare([run(0, [1])], [run(0, [1])], [1]), /1 examples say nothing/);
  assert.throws(() => compare([run(0, [0, 1])], [run(0)]), /2 predictions for 3 labels/);
  assert.throws(() => compare([run(0)], [run(0, [0, NaN, 1])]), /prediction 1 is NaN/);
  assert.throws(() => averagePaired([]), /no task/);
});

Deno.test("an average over tasks: variances add up, degrees of freedom after Satterthwaite", () => {
  const parts = [[1, 3, 4, 6], [2, 0.5, 0, 10]].map(([mean, seedError, exampleError, degrees]) => ({
    ...compareRights([wrongAt(100, 0, 10)], [wrongAt(100, 5, 20)]),
    ...{ mean, seedError, exampleError, error: Math.hypot(seedError, exampleError), degrees, seeds: degrees },
  }));
  const found = averagePaired(parts);
  near(found.mean, 1.5, 1e-12);
  near(found.error ** 2, (25 + 0.25) / 4, 1e-12);
  near(found.seedError! ** 2, (9 + 0.25) / 4, 1e-12);
  near(found.exampleError ** 2, 16 / 4, 1e-12);
  near(found.degrees, (25 + 0.25) ** 2 / (25 ** 2 / 6 + 0.25 ** 2 / 10), 1e-12);
  assert.deepEqual([found.examples, found.seeds], [200, 6]);
  assert.equal(averagePaired([parts[0], { ...parts[1], seedError: undefined }]).seedError, undefined);
  const alone = compareStored(fixture.mixed);
  const same = averagePaired([alone]);
  near(same.p, alone.p, 1e-9);
  near(same.detectable, alone.detectable, 1e-9);
});
