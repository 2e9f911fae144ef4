/** Medians, means with intervals, over seeds or over samples of time, and tests of their differences. */

import jstat from "npm:jstat@1.9.6";

/** A mean, and half the width of its 95 % Student-t interval. */
export interface Interval {
  readonly mean: number;
  /** Absent for fewer than three values: two that happen to agree would pass for certainty. */
  readonly halfWidth: number | undefined;
}

/** Throws an Error when there is no value. */
export function intervalOf(values: readonly number[]): Interval {
  const n = values.length;
  if (n === 0) throw new Error("no values");
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 3) return { mean, halfWidth: undefined };
  return { mean, halfWidth: jstat.studentt.inv(0.975, n - 1) * standardError(values, mean) };
}

/** The middle value; of an even number of them the mean of the two in the middle. Throws an Error when there is no value. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** A difference as it is estimated from samples: its standard error, and the degrees of freedom of that. */
export interface Estimate {
  readonly mean: number;
  readonly error: number;
  /** Infinity where the error is known and not estimated. */
  readonly degrees: number;
}

/**
 * The mean of paired differences. `leastError` is what a single difference is uncertain by however alike the few that were seen
 * are, such as the rounding of a score of n examples.
 * @throws Error for fewer than two.
 */
export function pairedEstimate(differences: readonly number[], leastError = 0): Estimate {
  const n = differences.length;
  if (n < 2) throw new Error(`${n} differences say nothing of their spread`);
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const error = Math.max(standardError(differences, mean), leastError / Math.sqrt(n));
  return { mean, error, degrees: n - 1 };
}

/**
 * The difference of the means of two independent samples of unequal spread (Welch 1947).
 * @throws Error for fewer than two values on a side.
 */
export function welchEstimate(values: readonly number[], reference: readonly number[]): Estimate {
  const [own, other] = [pairedEstimate(values), pairedEstimate(reference)];
  const [a, b] = [own.error ** 2, other.error ** 2];
  const degrees = a + b === 0 ? Infinity : (a + b) ** 2 / (a ** 2 / own.degrees + b ** 2 / other.degrees);
  return { mean: own.mean - other.mean, error: Math.sqrt(a + b), degrees };
}

/** Half the width of the 95 % interval. */
export function halfWidthOf({ error, degrees }: Estimate): number {
  return quantile(0.975, degrees) * error;
}

/** The two-sided p-value of "there is no difference". */
export function pOf({ mean, error, degrees }: Estimate): number {
  if (error === 0) return mean === 0 ? 1 : 0;
  return 2 * lowerTail(-Math.abs(mean) / error, degrees);
}

function quantile(share: number, degrees: number): number {
  return Number.isFinite(degrees) ? jstat.studentt.inv(share, degrees) : jstat.normal.inv(share, 0, 1);
}

function lowerTail(t: number, degrees: number): number {
  return Number.isFinite(degrees) ? jstat.studentt.cdf(t, degrees) : jstat.normal.cdf(t, 0, 1);
}

/** Holm's (1979) adjusted p-values: all those below α are right together but for a chance of α. */
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

/** `71.2 ± 0.4`, or `71.2` without an interval. */
export function scoreText({ mean, halfWidth }: Interval): string {
  return halfWidth === undefined ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${halfWidth.toFixed(1)}`;
}

/**
 * Mean of the differences with its interval, and the two-sided p-value of the paired t-test. No interval and no p for fewer
 * than three pairs; no p where all differences are alike, which the test has nothing to say about.
 * @throws Error when the two are not of one length, or empty.
 */
export function pairedDifference(
  values: readonly number[],
  reference: readonly number[],
): Interval & { readonly p: number | undefined } {
  if (values.length !== reference.length) throw new Error(`${values.length} values for ${reference.length}`);
  const differences = values.map((value, i) => value - reference[i]);
  const { mean, halfWidth } = intervalOf(differences);
  if (halfWidth === undefined) return { mean, halfWidth, p: undefined };
  const estimate = pairedEstimate(differences);
  if (estimate.error < 1e-9) return { mean, halfWidth: undefined, p: undefined };
  return { mean, halfWidth, p: pOf(estimate) };
}

/** The slope of y over x by least squares. Throws an Error for fewer than two points. */
export function slope(x: readonly number[], y: readonly number[]): number {
  if (x.length < 2 || x.length !== y.length) {
    throw new Error(`no slope of ${y.length} values at ${x.length} points`);
  }
  return jstat.covariance([...x], [...y]) / jstat.variance([...x], true);
}

/** The slope of log y over log x: the power of x that y grows by. Throws what `slope` throws. */
export function logSlope(x: readonly number[], y: readonly number[]): number {
  return slope(x.map(Math.log), y.map(Math.log));
}
