/** Means with intervals over seeds. */

import jstat from "npm:jstat@1.9.6";

/** Mean, and half the width of its 95 % Student-t interval (undefined for a single value). */
export function studentInterval(values: readonly number[]): { mean: number; halfWidth: number | undefined } {
  const n = values.length;
  if (n === 0) throw new Error("no values");
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, halfWidth: undefined };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const quantile: number = jstat.studentt.inv(0.975, n - 1);
  return { mean, halfWidth: quantile * Math.sqrt(variance / n) };
}

/** Mean of the differences, half the width of its 95 % interval, and the two-sided p-value of the paired t-test. */
export function pairedDifference(values: readonly number[], reference: readonly number[]) {
  if (values.length !== reference.length) throw new Error(`${values.length} values for ${reference.length}`);
  const differences = values.map((value, i) => value - reference[i]);
  const { mean, halfWidth } = studentInterval(differences);
  if (halfWidth === undefined) return { mean, halfWidth, p: undefined };
  const n = differences.length;
  const error = halfWidth / jstat.studentt.inv(0.975, n - 1);
  // All differences alike: certain, or no difference at all.
  const p: number = error === 0
    ? Number(mean === 0)
    : 2 * (1 - jstat.studentt.cdf(Math.abs(mean) / error, n - 1));
  return { mean, halfWidth, p };
}
