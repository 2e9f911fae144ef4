/** Sentences of IMDb, Yelp and Amazon reviews → negative or positive (Kotzias et al. 2015, UCI "Sentiment Labelled Sentences"). */

import amazon from "npm:sentiment@5.0.2/test/fixtures/amazon.json" with { type: "json" };
import imdb from "npm:sentiment@5.0.2/test/fixtures/imdb.json" with { type: "json" };
import yelp from "npm:sentiment@5.0.2/test/fixtures/yelp.json" with { type: "json" };
import { splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";

interface Sentence {
  readonly text: string;
  readonly class: number;
}

export const sentiment: Task = {
  name: "sentiment",
  description: "sentence of a film, restaurant or product review → negative or positive",
  source: "UCI Sentiment Labelled Sentences (npm sentiment 5.0.2)",
  objective: "classification",
  labels: ["negative", "positive"],
  metrics: ["accuracy", "f1"],
  maxTokens: 64,
  load() {
    const seen = new Set<string>();
    const keyed = Object.entries({ amazon, imdb, yelp }).flatMap(([site, sentences]) =>
      (sentences as Sentence[]).map(({ text, class: label }, i) => ({
        example: { id: `${site} ${i}`, texts: [text.trim()], label },
        // The key is the sentence itself, so two copies of a sentence are on the same side of the split.
        keys: [text.trim().toLowerCase()],
      }))
    ).filter(({ keys: [key] }) => key !== "" && !seen.has(key) && seen.add(key));
    return Promise.resolve(splitByKeys(keyed, 0.2, { train: 2_400, dev: 600 }));
  },
};
