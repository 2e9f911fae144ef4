/**
 * Compares two systems on one task, example by example and seed by seed: both were run with the same seeds and
 * predict the same dev examples. The difference, its error and what that is made of are those of crossed random
 * effects (`crossed_effects.ts`).
 *
 * For a metric that is no mean over examples, an example's value is the metric plus the example's influence on it
 * (`influences`): their mean is the metric, and it varies over samples of examples as the metric does.
 */

import type { MetricName } from "../data/task.ts";
import { influences } from "../train/influence.ts";
import { evaluateMetrics } from "../train/metrics.ts";
import { type CrossedEstimate, crossedEstimate } from "./crossed_effects.ts";
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

/**
 * A difference own − reference, with its uncertainty. All are points of 100, except `p`, `degrees` and counts. Of
 * several tasks, `examples` are all and `seeds` the fewest.
 */
export interface PairedComparison extends CrossedEstimate {
  /** The 95 % confidence interval. */
  readonly interval: readonly [low: number, high: number];
  /** Two-sided, of the hypothesis that there is no difference. Not adjusted for other comparisons: see `holm`. */
  readonly p: number;
  /** The smallest true difference that had an 80 % chance of p < 5 %. */
  readonly detectable: number;
}

/**
 * Compares two systems on the seeds that both were run with. Runs with other seeds are left out.
 * @throws Error for fewer than two examples, no common seed, a seed that one side has twice, and predictions
 * that do not fit the labels or are not finite.
 */
export function comparePaired(runs: PairedRuns): PairedComparison {
  const differences = differencesOf(runs);
  // Where hardly any prediction differs, one example's is the least that another dev set could change.
  return judged(crossedEstimate([...differences.values()], 100 / runs.labels.length));
}

/**
 * Compares two systems whose every run predicts several sets: the mean of the sets' differences. An example counts by its share of
 * the mean, so that a run's effect on all sets is the seed's. How the sets' differences differ counts as if examples did, which makes
 * the error a little too large.
 * @throws Error as `comparePaired` does, and when the sets are not of the same seeds.
 */
export function compareOverSets(sets: readonly PairedRuns[]): PairedComparison {
  const all = sets.map(differencesOf);
  const examples = sets.reduce((sum, { labels }) => sum + labels.length, 0);
  const seeds = [...all[0].keys()];
  const foreign = all.find((own) => own.size !== seeds.length || !seeds.every((seed) => own.has(seed)));
  if (foreign) {
    throw new Error(`sets of the seeds ${seeds} and ${[...foreign.keys()]}: run all with the same`);
  }
  const differences = seeds.map((seed) =>
    all.flatMap((own, i) => {
      const weight = examples / (sets.length * sets[i].labels.length);
      return own.get(seed)!.map((difference) => weight * difference);
    })
  );
  return judged(crossedEstimate(differences, 100 / examples));
}

/** For every seed that both were run with, the differences of the examples' values, in points. */
function differencesOf({ metric, labels, reference, own }: PairedRuns): Map<number, number[]> {
  const [others, owns] = [bySeed(reference), bySeed(own)];
  const seeds = [...owns.keys()].filter((seed) => others.has(seed));
  if (seeds.length === 0) {
    throw new Error(
      `no seed in common: ${[...owns.keys()]} and ${[...others.keys()]}. Run both with the same.`,
    );
  }
  const values = (predictions: readonly number[]) => exampleValues(metric, predictions, labels);
  return new Map(seeds.map((seed) => {
    const base = values(others.get(seed)!);
    return [seed, values(owns.get(seed)!).map((value, i) => value - base[i])];
  }));
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

function judged(parts: CrossedEstimate): PairedComparison {
  const half = halfWidthOf(parts);
  return {
    ...parts,
    interval: [parts.mean - half, parts.mean + half],
    p: pOf(parts),
    detectable: detectableOf(parts),
  };
}

/**
 * `equivalent` if the 90 % interval lies within ±`margin`: two one-sided tests at 5 % (Schuirmann 1987), even if
 * `p` is small, since such a difference does not matter. Otherwise `better` or `worse` if `p` < 5 %: Holm's, where
 * comparisons are judged together. With one seed this says something of these two runs, not of the systems.
 */
export function verdictOf(estimate: Estimate, p: number): PairedVerdict {
  const ninety = quantile(0.95, estimate.degrees) * estimate.error;
  if (Math.abs(estimate.mean) + ninety < margin) return "equivalent";
  if (p >= 0.05) return "cannot tell";
  return estimate.mean > 0 ? "better" : "worse";
}
