/** The result of comparing two sets of results, for any kind of result. */

import type { Environment } from "./schema.ts";
import type { Judged } from "./judge.ts";

/** A row of a comparison, as text. */
export interface ComparedRow extends Judged {
  readonly name: string;
  readonly base: string;
  readonly head: string;
  /** The difference, with its 95 % confidence interval if there is one. */
  readonly difference: string;
}

/** A comparison of results of one kind. */
export interface Comparison {
  readonly title: string;
  /** Explains the columns, how the interval is computed and what the threshold is. */
  readonly method: string;
  /** Set where chance has no part in a difference: there are no intervals and no p. */
  readonly exact?: true;
  readonly environments: { readonly base: readonly Environment[]; readonly head: readonly Environment[] };
  readonly rows: readonly ComparedRow[];
  /** What base has and head lacks. These rows matter because a missing one may be worse. */
  readonly missing: readonly string[];
  /** Other things the reader should know: what only head has, and settings that differ. */
  readonly notes: readonly string[];
}

/** The names in `own` that `other` lacks. */
export function lackedBy(other: Iterable<string>, own: Iterable<string>): string[] {
  return [...new Set(own).difference(new Set(other))];
}

/** A note that lists what only head has. */
export function onlyInHead(names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`Only in head: ${names.join("; ")}.`];
}
