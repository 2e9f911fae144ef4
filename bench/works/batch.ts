/** The batch of token ids that training steps and forward passes are timed on: 8 made-up texts of 64 tokens. */

import type { Model } from "../../lib/models/model.ts";
import { classification } from "../../lib/objectives/classification.ts";
import type { Encoded } from "../../lib/objectives/objective.ts";

export const [texts, length, vocabulary, classes] = [8, 64, 1000, 4];

export const objective = (model: Model) => classification.of(model, { texts: 1, classes });

export const examples: readonly Encoded[] = Array.from({ length: texts }, (_, i) => ({
  label: i % classes,
  texts: [Array.from({ length }, (_, j) => (i * 131 + j * 17) % vocabulary)],
}));

/** The concatenated tokens of all texts. */
export const ids: readonly number[] = examples.flatMap(({ texts: [text] }) => text);
