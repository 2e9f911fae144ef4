/** The texts that USE-lite is compared with tfjs on, and what of their vectors is kept in fixtures/use_lite_reference.json. */

import { readSynsets } from "../../lib/data/wordnet.ts";

/** By text. */
export interface UseLiteReference {
  /** Every sixteenth of a sentence vector's 512 values. */
  readonly columns: readonly (readonly number[])[];
  /** Σ_i v_i (i + 1) / 512 over all values, so that every value is checked. */
  readonly sums: readonly number[];
}

/** 200 glosses of nouns. */
export async function referenceGlosses(): Promise<string[]> {
  const synsets = (await readSynsets("noun")).filter((_, i) => i % 400 === 7).slice(0, 200);
  return synsets.map(({ definition }) => definition);
}

/** Every sixteenth value. */
export function chosenColumns(vector: Iterable<number>): number[] {
  return [...vector].filter((_, i) => i % 16 === 5);
}

/** Σ_i v_i (i + 1) / 512. */
export function weightedSum(vector: Iterable<number>): number {
  return [...vector].reduce((sum, value, i) => sum + value * (i + 1) / 512, 0);
}
