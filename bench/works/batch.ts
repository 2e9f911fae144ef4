/** The batch of token ids that training steps and forward passes are timed on: 8 texts of 64 tokens, made up. */

import type { Encoded } from "../../lib/train/batches.ts";
import type { HeadShape } from "../../lib/train/step.ts";

export const [texts, length, vocabulary, classes] = [8, 64, 1000, 4];

export const head: HeadShape = { shape: "single", objective: "classification", texts: 1, outputs: classes };

export const examples: readonly Encoded[] = Array.from({ length: texts }, (_, i) => ({
  label: i % classes,
  texts: [Array.from({ length }, (_, j) => (i * 131 + j * 17) % vocabulary)],
}));

/** The tokens of all texts, one after the other. */
export const ids: readonly number[] = examples.flatMap(({ texts: [text] }) => text);
