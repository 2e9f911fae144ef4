/** LLM-Adapters' word problems for decoders, which write their answers, from the user's files (`--data`). */

import { averagedMath, decoderProtocol, mathTests } from "../protocols/decoders.ts";
import { mainRows, writtenTable } from "./written.ts";

export const mathTable = writtenTable({
  name: "math",
  title: "Math, by a decoder",
  train: "math_10k",
  paper:
    "BoRA r 8, LoRA r 8 and LoRA r 32 average 73.10 / 71.44 / 72.71 on Gemma-7B, 72.24 / 68.19 / 71.67 on LLaMA-3-8B, and " +
    "80.60 / 79.09 / 80.15 on Qwen2.5-14B; without Exp and without Norm 71.77 and 72.15, 68.51 and 68.48, 79.79 and 79.26.",
  published: {
    "LLaMA-3-8B": {
      "LoRA r 8": 68.19,
      "LoRA r 32": 71.67,
      "BoRA r 8 b 16": 72.24,
      "without Exp": 68.51,
      "without Norm": 68.48,
    },
    "Gemma-7B": {
      "LoRA r 8": 71.44,
      "LoRA r 32": 72.71,
      "BoRA r 8 b 16": 73.1,
      "without Exp": 71.77,
      "without Norm": 72.15,
    },
    "Qwen2.5-14B": {
      "LoRA r 8": 79.09,
      "LoRA r 32": 80.15,
      "BoRA r 8 b 16": 80.6,
      "without Exp": 79.79,
      "without Norm": 79.26,
    },
  },
  averaged: averagedMath,
  profiles: {
    smoke: {
      train: 16,
      dev: 2,
      training: { epochs: 1, batchSize: 16 },
      seeds: 1,
      tests: { ...mathTests, sets: ["AddSub", "SVAMP"] },
    },
    default: {
      train: 4000,
      dev: 200,
      ...mainRows,
      tests: { ...mathTests, sets: ["gsm8k", "SVAMP", "AddSub", "mawps"] },
    },
    paper: {
      train: Infinity,
      dev: Infinity,
      training: decoderProtocol,
      seeds: decoderProtocol.seeds,
      recompute: true,
      tests: mathTests,
    },
  },
});
