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
  /** What base has and head lacks: a row that is gone may be one that was worse. */
  readonly missing: readonly string[];
  /** What else the reader should know: what only head has, settings that differ. */
  readonly notes: readonly string[];
}

/** Names of what the other one lacks. */
export function lackedBy(other: Iterable<string>, own: Iterable<string>): string[] {
  return [...new Set(own).difference(new Set(other))];
}

/** A note on what only head has. */
export function onlyInHead(names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`Only in head: ${names.join("; ")}.`];
}
