/** Medians, means with confidence intervals, and tests of differences, over seeds or over time samples. */

import jstat from "npm:jstat@1.9.6";
import { fixed } from "../show.ts";

/** A mean, and half the width of its 95 % Student-t confidence interval. */
export interface Interval {
  readonly mean: number;
  /** Undefined for fewer than three values: two that agree by chance would look certain. */
  readonly halfWidth: number | undefined;
}

/** The mean and its confidence interval. Throws an Error when there is no value. */
export function intervalOf(values: readonly number[]): Interval {
  const n = values.length;
  if (n === 0) throw new Error("no values");
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 3) return { mean, halfWidth: undefined };
  return { mean, halfWidth: jstat.studentt.inv(0.975, n - 1) * standardError(values, mean) };
}

/**
 * The median; for an even number of values, the mean of the two in the middle. Throws an Error when there is
 * no value.
 */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** An estimated difference: its standard error, and that error's degrees of freedom. */
export interface Estimate {
  readonly mean: number;
  readonly error: number;
  /** Infinity if the error is known rather than estimated. */
  readonly degrees: number;
}

/**
 * The mean of paired differences. `leastError` is the least uncertainty of a single difference, such as the
 * rounding of a score over n examples; it applies even if the observed differences agree.
 * @throws Error for fewer than two differences.
 */
export function pairedEstimate(differences: readonly number[], leastError = 0): Estimate {
  const n = differences.length;
  if (n < 2) throw new Error(`${n} differences say nothing of their spread`);
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const error = Math.max(standardError(differences, mean), leastError / Math.sqrt(n));
  return { mean, error, degrees: n - 1 };
}

/**
 * The difference between the means of two independent samples with unequal variances (Welch 1947).
 * @throws Error for fewer than two values on a side.
 */
export function welchEstimate(values: readonly number[], reference: readonly number[]): Estimate {
  const [own, other] = [pairedEstimate(values), pairedEstimate(reference)];
  const [a, b] = [own.error ** 2, other.error ** 2];
  const degrees = a + b === 0 ? Infinity : (a + b) ** 2 / (a ** 2 / own.degrees + b ** 2 / other.degrees);
  return { mean: own.mean - other.mean, error: Math.sqrt(a + b), degrees };
}

/** Half the width of the 95 % confidence interval. */
export function halfWidthOf({ error, degrees }: Estimate): number {
  return quantile(0.975, degrees) * error;
}

/** The two-sided p-value of the hypothesis that there is no difference. */
export function pOf({ mean, error, degrees }: Estimate): number {
  if (error === 0) return mean === 0 ? 1 : 0;
  return Math.min(1, 2 * lowerTail(-Math.abs(mean) / error, degrees));
}

/** The value that a share of Student's t with these degrees of freedom lies below; of the normal for Infinity. */
export function quantile(share: number, degrees: number): number {
  return Number.isFinite(degrees) ? jstat.studentt.inv(share, degrees) : jstat.normal.inv(share, 0, 1);
}

/**
 * The smallest true difference that a two-sided test at 5 % finds with a probability of 80 %: `error` times the
 * non-centrality at which non-central t lies above the 97.5 % quantile of t in 80 % of cases.
 */
export function detectableOf({ error, degrees }: Estimate): number {
  // The library's non-central t needs finite degrees; from a million on it is the normal.
  const finite = Math.min(degrees, 1e6);
  const critical = quantile(0.975, finite);
  // Halved until it is as exact as the library's quantiles. At one degree the factor is 1.3, below that hardly more.
  let [low, high] = [critical, 2 * critical];
  while (high - low > 1e-6 * critical) {
    const middle = (low + high) / 2;
    if (jstat.noncentralt.cdf(critical, finite, middle) > 0.2) low = middle;
    else high = middle;
  }
  return high * error;
}

function lowerTail(t: number, degrees: number): number {
  return Number.isFinite(degrees) ? jstat.studentt.cdf(t, degrees) : jstat.normal.cdf(t, 0, 1);
}

/**
 * p-values adjusted by Holm (1979): if all those below α are called significant, the probability of any false
 * one is at most α.
 */
export function holm(ps: readonly number[]): number[] {
  const order = ps.map((_, i) => i).toSorted((i, j) => ps[i] - ps[j]);
  const adjusted = new Array<number>(ps.length);
  let most = 0;
  order.forEach((i, rank) => {
    most = Math.max(most, Math.min(1, (ps.length - rank) * ps[i]));
    adjusted[i] = most;
  });
  return adjusted;
}

function standardError(values: readonly number[], mean: number): number {
  const n = values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return Math.sqrt(variance / n);
}

/** Formats as `71.2 ± 0.4`, or as `71.2` without an interval. */
export function scoreText({ mean, halfWidth }: Interval): string {
  return halfWidth === undefined ? fixed(mean, 1) : `${fixed(mean, 1)} ± ${halfWidth.toFixed(1)}`;
}

/** The least-squares slope of y over x. Throws an Error for fewer than two points. */
export function slope(x: readonly number[], y: readonly number[]): number {
  if (x.length < 2 || x.length !== y.length) {
    throw new Error(`no slope of ${y.length} values at ${x.length} points`);
  }
  return jstat.covariance([...x], [...y]) / jstat.variance([...x], true);
}

/** The slope of log y over log x: the exponent of x with which y grows. Throws what `slope` throws. */
export function logSlope(x: readonly number[], y: readonly number[]): number {
  return slope(x.map(Math.log), y.map(Math.log));
}
