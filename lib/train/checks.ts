/** What a run must be given to be able to train: refused up front, with what to change. */

import type { Encoded } from "./batches.ts";
import type { Encoder } from "../models/model.ts";
import { type HeadShape, sequencesOf } from "./step.ts";
import type { TrainOptions } from "./trainer.ts";

/** Throws an Error that names the option and what it wants. */
export function checkTrainOptions(options: TrainOptions): void {
  const check = (
    name: Exclude<keyof TrainOptions, "recompute">,
    fits: (value: number) => boolean,
    wanted: string,
  ) => {
    const value = options[name];
    if (value !== undefined && !fits(value)) throw new Error(`${name} is ${value}: use ${wanted}`);
  };
  const wholeFrom1 = (value: number) => Number.isSafeInteger(value) && value >= 1;
  check("epochs", wholeFrom1, "a whole number from 1");
  check("batchSize", wholeFrom1, "a whole number from 1");
  check("accumulationSteps", wholeFrom1, "a whole number from 1");
  check("learningRate", (value) => Number.isFinite(value) && value >= 0, "a number from 0");
  check("warmupRatio", (value) => value >= 0 && value <= 1, "a share of the steps, from 0 to 1");
  check(
    "seed",
    (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32,
    "a whole number below 2³²",
  );
  check("beta1", (value) => value >= 0 && value < 1, "a number in [0, 1)");
  check("beta2", (value) => value >= 0 && value < 1, "a number in [0, 1)");
  check("epsilon", (value) => Number.isFinite(value) && value > 0, "a number above 0");
  check("weightDecay", (value) => Number.isFinite(value) && value >= 0, "a number from 0");
  check("maxNorm", (value) => Number.isFinite(value) && value >= 0, "a number from 0; 0 never clips");
}

/** Throws an Error that names the first example which the head cannot be trained on. */
export function checkExamples(model: Encoder, head: HeadShape, examples: readonly Encoded[]): void {
  if (examples.length === 0) throw new Error("no training examples");
  const classes = head.shape === "choice" ? head.texts - 1 : head.outputs;
  for (const [i, { label, texts }] of examples.entries()) {
    if (texts.length !== sequencesOf(model, head)) {
      throw new Error(`example ${i} has ${texts.length} texts; the head takes ${sequencesOf(model, head)}`);
    }
    if (texts.some((text) => text.length === 0)) throw new Error(`example ${i} has an empty text`);
    const longest = Math.max(...texts.map((text) => text.length));
    if (longest > (model.maxTokens ?? Infinity)) {
      throw new Error(
        `example ${i} has ${longest} tokens; ${model.name} has positions for ${model.maxTokens}`,
      );
    }
    if (head.objective === "regression") {
      if (!Number.isFinite(label)) throw new Error(`example ${i}: its value ${label} is not a finite number`);
    } else if (!(Number.isInteger(label) && label >= 0 && label < classes)) {
      throw new Error(`example ${i}: label ${label} is not one of 0 … ${classes - 1}`);
    }
  }
}
