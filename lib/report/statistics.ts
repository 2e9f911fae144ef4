/** Means with intervals over seeds. */

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
  const error = standardError(differences, mean);
  if (error < 1e-9) return { mean, halfWidth: undefined, p: undefined };
  const t = Math.abs(mean) / error;
  return { mean, halfWidth, p: 2 * (1 - jstat.studentt.cdf(t, differences.length - 1)) };
}
