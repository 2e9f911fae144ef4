/** LLM-Adapters' commonsense data sets for decoders, which write their answers, from the user's files (`--data`). */

import { commonsenseTests, decoderProtocol } from "../protocols/decoders.ts";
import { mainRows, writtenTable } from "./written.ts";

/** The data sets whose training parts are small. */
const small = ["ARC-Easy", "ARC-Challenge", "openbookqa"];

export const commonsenseDecodersTable = writtenTable({
  name: "commonsense",
  title: "Commonsense, by a decoder",
  train: "commonsense_170k",
  paper: "on Gemma-7B BoRA r 8 averages 87.04, LoRA r 8 85.95, LoRA r 32 86.61.",
  published: { "Gemma-7B": { "LoRA r 8": 85.95, "LoRA r 32": 86.61, "BoRA r 8 b 16": 87.04 } },
  averaged: commonsenseTests.sets,
  profiles: {
    smoke: {
      train: 32,
      dev: 8,
      training: { epochs: 1, batchSize: 16 },
      seeds: 1,
      tests: { sets: small.slice(1), prompts: "toplora", scorings: ["likelihood"] },
    },
    default: {
      train: 6000,
      dev: 500,
      ...mainRows,
      tests: { sets: small, prompts: "toplora", scorings: ["cloze"] },
    },
    prompted: {
      train: 4000,
      dev: 100,
      ...mainRows,
      tests: {
        sets: [...small, "boolq", "gsm8k", "SVAMP", "AddSub", "mawps"],
        prompts: "toplora",
        scorings: ["likelihood", "generation"],
      },
    },
    paper: {
      train: Infinity,
      dev: Infinity,
      training: decoderProtocol,
      seeds: decoderProtocol.seeds,
      recompute: true,
      tests: commonsenseTests,
    },
  },
});
