/**
 * The BoRA paper's protocol on decoders: trained once on Commonsense170K or Math10K, tested on each of their data sets.
 *
 * From the paper: q, k and v, r = 8, b = 8 or 16, adapter dropout 0.05, AdamW without weight decay at 1e-4, 100 warm-up steps and
 * linear decay, one epoch, batches of 16, 256 tokens. What it leaves open is as in TopLoRA's scripts, by the same authors
 * (Leopold1423/toplora-neurips25): its prompts, loss on answers alone, greedy, α = 2r and one seed.
 */

import { commonsenseSets, mathSets } from "../../lib/data/llm_adapters_sets.ts";
import type { Protocol } from "./protocol.ts";

/** The tokens that a row is cut to. */
export const decoderCutOff = 256;

const training = {
  epochs: 1,
  batchSize: 16,
  maxTokens: decoderCutOff,
  learningRate: 1e-4,
  warmupSteps: 100,
};

/** The same for models of all sizes. */
const everySize = { base: training, large: training };

export const decoderProtocol: Protocol = {
  target: ["q_proj", "k_proj", "v_proj"],
  seeds: 1,
  averaged: ["commonsense_170k", "math_10k"],
  training: { commonsense_170k: everySize, math_10k: everySize },
};

/** The paper's tests. */
const written = { prompts: "toplora", scorings: ["generation"] } as const;
export const commonsenseTests = { ...written, sets: commonsenseSets.map(({ name }) => name) };
export const mathTests = { ...written, sets: mathSets.map(({ name }) => name) };

/** The math data sets that the paper averages over: TopLoRA's, without mawps. */
export const averagedMath = mathTests.sets.filter((name) => name !== "mawps");
