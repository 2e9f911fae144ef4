/**
 * Verdicts on many differences at once, such that noise alone rarely raises an alarm: `better` and `worse` need a difference
 * above the threshold that the spread does not explain, with the chance of a single false one among all rows held to 5 %
 * (Holm 1979); `same` needs the 95 % interval to lie within the threshold.
 */

import { type Estimate, halfWidthOf, holm, pOf } from "./statistics.ts";

/** What is said of a row. */
export type Verdict = "worse" | "better" | "same" | "cannot tell";

/** A difference to judge. */
export interface Difference {
  /** Undefined where there are too few samples to tell anything. */
  readonly estimate: Estimate | undefined;
  /** The mean of all rows: it takes half of the 5 % for itself, for it can tell what no single row can. */
  readonly overall?: boolean;
}

/** The chance of a false alarm among all rows. */
export const alpha = 0.05;

/** A verdict with the adjusted p-value that it rests on. */
export interface Judged {
  readonly verdict: Verdict;
  /** Undefined without an estimate. */
  readonly p: number | undefined;
}

/** Judges all rows together. A difference above 0 is good where `good` is 1, and bad where it is −1. */
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

/** Holm's p-values of the rows, and of the overall one, which is a family by itself with half of α. */
function adjustedPs(differences: readonly Difference[]): Map<Difference, number> {
  const tested = differences.filter(({ estimate }) => estimate !== undefined);
  const families = [true, false].map((side) => tested.filter(({ overall = false }) => overall === side))
    .filter((family) => family.length > 0);
  return new Map(families.flatMap((family) => {
    const ps = holm(family.map(({ estimate }) => pOf(estimate!)));
    return family.map((difference, i) => [difference, Math.min(1, families.length * ps[i])] as const);
  }));
}
