/** What comparing two sets of results gives, whatever they are results of. */

import type { Environment } from "./schema.ts";
import type { Judged } from "./judge.ts";

/** A row of a comparison, as text. */
export interface ComparedRow extends Judged {
  readonly name: string;
  readonly base: string;
  readonly head: string;
  /** With its 95 % interval, where there is one. */
  readonly difference: string;
}

/** A comparison of results of one kind. */
export interface Comparison {
  readonly title: string;
  /** What the columns hold, how the interval is made, and what the threshold is. */
  readonly method: string;
  readonly environments: { readonly base: readonly Environment[]; readonly head: readonly Environment[] };
  readonly rows: readonly ComparedRow[];
  /** What else the reader should know: rows that only one side has, settings that differ. */
  readonly notes: readonly string[];
}

/** Names of what only one of the two has. */
export function onlyIn(side: "base" | "head", own: Iterable<string>, other: Iterable<string>): string[] {
  const names = [...new Set(own).difference(new Set(other))];
  return names.length === 0 ? [] : [`Only in ${side}: ${names.join("; ")}.`];
}
