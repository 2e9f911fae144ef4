/** A task for the tiny encoder: which half of the alphabet a text's letters come from. */

import type { Example, Split, Task } from "../../lib/data/task.ts";

export const letters: Task = {
  name: "letters",
  description: "texts of letters, labelled by rule",
  source: "the tests",
  objective: "classification",
  labels: ["first half", "second half"],
  metrics: ["accuracy", "f1"],
  maxTokens: 12,
  load: () => Promise.resolve(splitOfLetters(20)),
};

/** `count` texts of 1 to 12 letters to train on, and 12 others to score. */
export function splitOfLetters(count: number): Split {
  const example = (i: number): Example => ({
    id: `${i}`,
    label: i % 2,
    texts: [
      Array.from({ length: 1 + i * 3 % 12 }, (_, j) => "abcdefghijk"[(i % 2 * 5 + j * 3 + i) % 11]).join(""),
    ],
  });
  const examples = Array.from({ length: count + 12 }, (_, i) => example(i));
  return { train: examples.slice(0, count), dev: examples.slice(count) };
}
