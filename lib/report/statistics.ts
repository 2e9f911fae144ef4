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
