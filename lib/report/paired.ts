/**
 * Compares two systems on one task, example by example and seed by seed.
 *
 * Both were run with the same seeds and predict the same dev examples, so example e and seed s give a difference
 * d_es, and the model is that of crossed random effects, d_es = μ + a_e + b_s + r_es. μ is the difference on all
 * examples of the task's kind and over all seeds; its uncertainty has a part of the examples drawn and one of the
 * seeds drawn. With E examples, S seeds and the mean squares of the two-way analysis of variance, whose
 * expectations are (Searle, Casella and McCulloch 1992)
 *
 *     MS_e = S Σ_e (d_e· − d)² / (E − 1)                      E[MS_e] = σ_r² + S σ_a²
 *     MS_s = E Σ_s (d_·s − d)² / (S − 1)                      E[MS_s] = σ_r² + E σ_b²
 *     MS_r = Σ (d_es − d_e· − d_·s + d)² / ((E − 1)(S − 1))   E[MS_r] = σ_r²
 *
 * the variance of d is estimated by (MS_e + max(0, MS_s − MS_r)) / (E S), with degrees of freedom after
 * Satterthwaite (1946). With one seed MS_e is all there is: the paired t-test over examples, which for accuracies
 * is McNemar's question, and knows nothing of seeds. If examples did not differ, it would be the paired t-test
 * over seeds.
 *
 * From three seeds on the 95 % interval covers the true difference about as often as it says, whichever part is the
 * larger; with two it is too narrow where seeds differ by far more than examples do. The paired t-test over seeds
 * is not used, because all seeds are scored on the same examples, of which it knows nothing: the more seeds, the
 * more it is too sure. Nor is the bootstrap over seeds and examples (Owen 2007), which counts σ_r² three times.
 *
 * For a metric that is no mean over examples, d_es is the difference of the metric plus that of the example's
 * influences (`influences`).
 */

import type { MetricName } from "../data/task.ts";
import { influences } from "../train/influence.ts";
import { evaluateMetrics } from "../train/metrics.ts";
import { detectableOf, type Estimate, halfWidthOf, pOf, quantile } from "./statistics.ts";

/** A system's predictions for all dev examples, in the order of the labels, when trained with one seed. */
export interface SeedRun {
  readonly seed: number;
  readonly predictions: readonly number[];
}

/** Two systems on one task. */
export interface PairedRuns {
  readonly metric: MetricName;
  readonly labels: readonly number[];
  /** The runs to compare with. */
  readonly reference: readonly SeedRun[];
  /** The runs that are called better or worse. */
  readonly own: readonly SeedRun[];
}

/** Differences within so many points either way are of no consequence. */
export const margin = 0.5;

/** What a comparison says; `equivalent` is within `margin`. */
export type PairedVerdict = "better" | "worse" | "equivalent" | "cannot tell";

/** A difference own − reference, with its uncertainty. All are points of 100, except `p` and `degrees`. */
export interface PairedComparison extends Estimate {
  readonly examples: number;
  /** Seeds that both sides have; of several tasks, the fewest. */
  readonly seeds: number;
  /** The part of `error` that other examples would make, with these seeds. */
  readonly exampleError: number;
  /**
   * The part that other seeds would make: √(`exampleError`² + `seedError`²) = `error`. Undefined for one seed,
   * whose `error` lacks this part.
   */
  readonly seedError: number | undefined;
  /** The 95 % confidence interval. */
  readonly interval: readonly [low: number, high: number];
  /** Two-sided, of the hypothesis that there is no difference. Not adjusted for other comparisons: see `holm`. */
  readonly p: number;
  readonly verdict: PairedVerdict;
  /** The smallest true difference that had an 80 % chance of p < 5 %. */
  readonly detectable: number;
}

/** An estimate, and what it is made of. */
interface Parts extends Estimate {
  readonly examples: number;
  readonly seeds: number;
  readonly exampleError: number;
  readonly seedError: number | undefined;
}

/**
 * Compares two systems on the seeds that both were run with. Runs with other seeds are left out.
 * @throws Error for fewer than two examples, no common seed, a seed that one side has twice, and predictions
 * that do not fit the labels or are not finite.
 */
export function comparePaired({ metric, labels, reference, own }: PairedRuns): PairedComparison {
  if (labels.length < 2) throw new Error(`${labels.length} examples say nothing of how examples differ`);
  const [others, owns] = [bySeed(reference), bySeed(own)];
  const seeds = [...owns.keys()].filter((seed) => others.has(seed));
  if (seeds.length === 0) {
    throw new Error(
      `no seed in common: ${[...owns.keys()]} and ${[...others.keys()]}. Run both with the same.`,
    );
  }
  const values = (predictions: readonly number[]) => exampleValues(metric, predictions, labels);
  const differences = seeds.map((seed) => {
    const base = values(others.get(seed)!);
    return values(owns.get(seed)!).map((value, i) => value - base[i]);
  });
  return judged(crossedParts(differences));
}

/**
 * The difference of averages over tasks, which have other examples and independent seeds: the mean of the tasks'
 * differences, whose variances add up, with degrees of freedom after Satterthwaite (1946). The seeds' part is
 * undefined if one task has a single seed.
 * @throws Error without a comparison.
 */
export function averagePaired(tasks: readonly PairedComparison[]): PairedComparison {
  if (tasks.length === 0) throw new Error("no task to average over");
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const combined = (errors: readonly number[]) =>
    Math.sqrt(sum(errors.map((error) => error ** 2))) / tasks.length;
  const error = combined(tasks.map((task) => task.error));
  const seedErrors = tasks.map(({ seedError }) => seedError).filter((part) => part !== undefined);
  return judged({
    mean: sum(tasks.map((task) => task.mean)) / tasks.length,
    error,
    degrees: error ** 4 / sum(tasks.map((task) => (task.error / tasks.length) ** 4 / task.degrees)),
    examples: sum(tasks.map((task) => task.examples)),
    seeds: Math.min(...tasks.map((task) => task.seeds)),
    exampleError: combined(tasks.map((task) => task.exampleError)),
    seedError: seedErrors.length === tasks.length ? combined(seedErrors) : undefined,
  });
}

/**
 * A sentence such as `This table could have seen a difference of 0.6 points or more (80 % power, 5 %).` It holds
 * for every comparison, so it tells the least certain one's; rounded up.
 * @throws Error without a comparison.
 */
export function detectableText(comparisons: readonly PairedComparison[]): string {
  if (comparisons.length === 0) throw new Error("no comparison");
  const points = Math.max(...comparisons.map(({ detectable }) => detectable));
  const unknown = comparisons.some(({ seedError }) => seedError === undefined)
    ? " One seed does not tell how seeds differ: the true figure is larger."
    : "";
  return `This table could have seen a difference of ${
    (Math.ceil(10 * points) / 10).toFixed(1)
  } points or more (80 % power, 5 %).${unknown}`;
}

function bySeed(runs: readonly SeedRun[]): Map<number, readonly number[]> {
  const found = new Map(runs.map(({ seed, predictions }) => [seed, predictions]));
  if (found.size === runs.length) return found;
  throw new Error(`a seed twice among ${runs.map(({ seed }) => seed)}. Give one run for each.`);
}

/** Values in points whose mean is the metric, and which vary as the metric does over other examples. */
function exampleValues(
  metric: MetricName,
  predictions: readonly number[],
  labels: readonly number[],
): number[] {
  const score = evaluateMetrics([metric], predictions, labels)[metric]!;
  return influences(metric, predictions, labels).map((influence) => 100 * (score + influence));
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const sumOfSquares = (values: readonly number[], center: number) =>
  values.reduce((sum, value) => sum + (value - center) ** 2, 0);

/** The estimate from differences by seed and example. */
function crossedParts(differences: readonly (readonly number[])[]): Parts {
  const [seeds, examples] = [differences.length, differences[0].length];
  const seedMeans = differences.map(mean);
  const center = mean(seedMeans);
  const exampleMeans = differences[0].map((_, e) => mean(differences.map((own) => own[e])));
  const ofExamples = seeds * sumOfSquares(exampleMeans, center) / (examples - 1);
  // Where hardly any prediction differs, one example's is the least that another dev set could change.
  const least = seeds * examples * (100 / examples) ** 2;
  const scale = seeds * examples;
  if (seeds === 1) {
    const error = Math.sqrt(Math.max(ofExamples, least) / scale);
    return {
      mean: center,
      error,
      degrees: examples - 1,
      examples,
      seeds,
      exampleError: error,
      seedError: undefined,
    };
  }
  const ofSeeds = examples * sumOfSquares(seedMeans, center) / (seeds - 1);
  const freedom = (seeds - 1) * (examples - 1);
  const ofRest = differences.reduce(
    (sum, own, s) =>
      sum +
      own.reduce((part, value, e) => part + (value - exampleMeans[e] - seedMeans[s] + center) ** 2, 0),
    0,
  ) /
    freedom;
  const excess = Math.max(0, ofSeeds - ofRest);
  const variance = Math.max(ofExamples + excess, least);
  return {
    mean: center,
    error: Math.sqrt(variance / scale),
    degrees: variance ** 2 /
      (ofSeeds ** 2 / (seeds - 1) + ofExamples ** 2 / (examples - 1) + ofRest ** 2 / freedom),
    examples,
    seeds,
    exampleError: Math.sqrt((variance - excess) / scale),
    seedError: Math.sqrt(excess / scale),
  };
}

function judged(parts: Parts): PairedComparison {
  const half = halfWidthOf(parts);
  return {
    ...parts,
    interval: [parts.mean - half, parts.mean + half],
    p: pOf(parts),
    verdict: verdictOf(parts),
    detectable: detectableOf(parts),
  };
}

/**
 * `equivalent` if the 90 % interval lies within ±`margin`: two one-sided tests at 5 % (Schuirmann 1987), even if
 * p is small, since such a difference does not matter. Otherwise `better` or `worse` if p < 5 %.
 */
function verdictOf(estimate: Estimate): PairedVerdict {
  const ninety = quantile(0.95, estimate.degrees) * estimate.error;
  if (Math.abs(estimate.mean) + ninety < margin) return "equivalent";
  if (pOf(estimate) >= 0.05) return "cannot tell";
  return estimate.mean > 0 ? "better" : "worse";
}
