/**
 * Judges many differences at once, so that noise alone rarely raises an alarm. `better` and `worse` need a
 * difference above the threshold that is statistically significant; the probability of even one false alarm
 * among all rows is held to 5 % (Holm 1979). `same` needs the 95 % confidence interval to lie within the
 * threshold.
 */

import { type Estimate, halfWidthOf, holm, pOf } from "./statistics.ts";

/** The verdict on a row. */
export type Verdict = "worse" | "better" | "same" | "cannot tell";

/** A difference to judge. */
export interface Difference {
  /** Undefined if there are too few samples for an estimate. */
  readonly estimate: Estimate | undefined;
  /** Marks the mean over all rows. It gets half of the 5 %, because it can detect what no single row can. */
  readonly overall?: boolean;
}

/** The probability of a false alarm among all rows. */
export const alpha = 0.05;

/** A verdict and the adjusted p-value it is based on. */
export interface Judged {
  readonly verdict: Verdict;
  /** Undefined without an estimate. */
  readonly p: number | undefined;
}

/** Judges all rows together. With `good` = 1 a difference above 0 is an improvement, with −1 a regression. */
export function judge(differences: readonly Difference[], threshold: number, good: 1 | -1): Judged[] {
  const adjusted = adjustedPs(differences);
  return differences.map((difference) => {
    const { estimate } = difference;
    const p = adjusted.get(difference);
    if (!estimate || p === undefined) return { verdict: "cannot tell", p };
    if (p < alpha && Math.abs(estimate.mean) > threshold) {
      return { verdict: estimate.mean * good > 0 ? "better" : "worse", p };
    }
    const within = Math.abs(estimate.mean) + halfWidthOf(estimate) <= threshold;
    return { verdict: within ? "same" : "cannot tell", p };
  });
}

/** Holm-adjusted p-values of the rows, and of the overall mean, which is a family of its own with half of α. */
function adjustedPs(differences: readonly Difference[]): Map<Difference, number> {
  const tested = differences.filter(({ estimate }) => estimate !== undefined);
  const families = [true, false].map((side) => tested.filter(({ overall = false }) => overall === side))
    .filter((family) => family.length > 0);
  return new Map(families.flatMap((family) => {
    const ps = holm(family.map(({ estimate }) => pOf(estimate!)));
    return family.map((difference, i) => [difference, Math.min(1, families.length * ps[i])] as const);
  }));
}
