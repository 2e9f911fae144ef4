/** Checks examples before a model reads them. The errors say what to change. */

import type { Model } from "../models/model.ts";
import type { Encoded, Objective } from "../objectives/objective.ts";

/** Throws an Error that names the first example that the model cannot be trained on. */
export function checkExamples(model: Model, objective: Objective, examples: readonly Encoded[]): void {
  if (examples.length === 0) throw new Error("no training examples");
  checkTexts(model, objective, examples);
  for (const [i, example] of examples.entries()) {
    const fault = objective.faultOf(example);
    if (fault) throw new Error(`example ${i}: ${fault}`);
  }
}

/** Throws an Error that names the first example whose texts the model and the objective cannot take. */
export function checkTexts(model: Model, { sequences }: Objective, examples: readonly Encoded[]): void {
  const { name, vocabulary, maxTokens = Infinity } = model;
  const isToken = (id: number) => Number.isInteger(id) && id >= 0 && id < vocabulary;
  for (const [i, { texts }] of examples.entries()) {
    if (texts.some((text) => typeof text === "string")) {
      throw new Error(`example ${i} has texts and no token ids: give what encodeExamples makes of it`);
    }
    if (texts.length !== sequences) {
      throw new Error(`example ${i} has ${texts.length} texts; the head takes ${sequences}`);
    }
    for (const text of texts) {
      if (text.length === 0) throw new Error(`example ${i} has an empty text`);
      if (text.length > maxTokens) {
        throw new Error(
          `example ${i} has ${text.length} tokens; ${name} has positions for ${maxTokens}: cut it`,
        );
      }
      if (!text.every(isToken)) {
        throw new Error(
          `example ${i}: token ${text.find((id) => !isToken(id))} is not one of ${name}'s 0 … ${
            vocabulary - 1
          }: ` +
            `another model's tokenizer made it; use this model's own`,
        );
      }
    }
  }
}
