/** Checks a run's options before training starts. The errors say what to change. */

import { checkOptionNames } from "../option_names.ts";
import type { TrainOptions } from "./trainer.ts";

/** A check for an option's value, and the text that says what is allowed. */
interface Rule {
  readonly fits: (value: unknown) => boolean;
  readonly wanted: string;
}

const number = (fits: (value: number) => boolean, wanted: string): Rule => ({
  fits: (value) => typeof value === "number" && fits(value),
  wanted,
});
const wholeFrom1 = number((value) => Number.isSafeInteger(value) && value >= 1, "a whole number from 1");
/** Checks the value as float32, because that is what the GPU gets: larger values become infinite there. */
const from0 = (wanted: string) =>
  number((value) => Number.isFinite(Math.fround(value)) && value >= 0, wanted);
/** Closer to 1, a float32 would round it to 1, and the moment would stay 0. */
const decay = number(
  (value) => value >= 0 && Math.fround(value) < 1,
  "a number in [0, 1) that a float32 tells from 1",
);

/** Options that have no default. */
const needed = {
  learningRate: from0("a number from 0 that a float32 holds"),
  epochs: wholeFrom1,
  batchSize: wholeFrom1,
  seed: number(
    (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32,
    "a whole number below 2³²",
  ),
};

const rules: Readonly<Record<keyof TrainOptions, Rule>> = {
  ...needed,
  accumulationSteps: wholeFrom1,
  warmupRatio: number((value) => value >= 0 && value <= 1, "a share of the steps, from 0 to 1"),
  warmupSteps: number((value) => Number.isSafeInteger(value) && value >= 0, "a whole number from 0"),
  recompute: { fits: (value) => typeof value === "boolean", wanted: "true or false" },
  beta1: decay,
  beta2: decay,
  epsilon: number(
    (value) => Number.isFinite(Math.fround(value)) && value >= 2 ** -126,
    "a number from 2⁻¹²⁶ that a float32 holds",
  ),
  weightDecay: from0("a number from 0 that a float32 holds"),
  maxNorm: from0("a number from 0 that a float32 holds; 0 never clips"),
};

/**
 * Throws an Error that names the bad option and what it must be, or that lists the options that `who` has, `others` first.
 */
export function checkTrainOptions(
  options: TrainOptions,
  who = "the trainer",
  others: readonly string[] = [],
): void {
  checkOptionNames(who, options, [...others, ...Object.keys(rules)]);
  for (const [name, { fits, wanted }] of Object.entries(rules)) {
    const value = options[name as keyof TrainOptions];
    if (value === undefined ? name in needed : !fits(value)) {
      throw new Error(`${name} is ${value}: use ${wanted}`);
    }
  }
  const { warmupRatio, warmupSteps } = options;
  if (warmupRatio !== undefined && warmupSteps !== undefined) {
    throw new Error(`warmupRatio is ${warmupRatio} and warmupSteps is ${warmupSteps}: give one of the two`);
  }
}

/** The options without those that are undefined: these have their defaults, like ones that are left out. */
export function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
