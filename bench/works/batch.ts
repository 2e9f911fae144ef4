/** The batch of token ids that training steps and forward passes are timed on: 8 made-up texts of 64 tokens. */

import type { Encoded } from "../../lib/train/batches.ts";
import type { HeadShape } from "../../lib/train/step.ts";

export const [texts, length, vocabulary, classes] = [8, 64, 1000, 4];

export const head: HeadShape = { shape: "single", objective: "classification", texts: 1, outputs: classes };

export const examples: readonly Encoded[] = Array.from({ length: texts }, (_, i) => ({
  label: i % classes,
  texts: [Array.from({ length }, (_, j) => (i * 131 + j * 17) % vocabulary)],
}));

/** The concatenated tokens of all texts. */
export const ids: readonly number[] = examples.flatMap(({ texts: [text] }) => text);
