/**
 * The paper's protocol on GLUE, for RoBERTa-base and -large.
 *
 * From the BoRA paper: q and v, r = 8, b = 16 (it also reports 8), adapter dropout 0.05, AdamW without weight
 * decay, linear decay after a warm-up ratio of 0.03, learning rate 3e-4 (base) and 1e-4 (large), and 2 epochs
 * of SST-2. What the paper leaves open is taken from LoRA (Hu et al. 2021, Table 9, and microsoft/LoRA,
 * examples/NLU/roberta_{base,large}_*.sh): α = 16, five seeds, the other epochs, the batch size (per GPU
 * times the number of GPUs) and the length. LoRA started MRPC, RTE and STS-B from an adapter trained on MNLI;
 * here every task starts from scratch.
 */

import type { Protocol, Training } from "./protocol.ts";

const warmupRatio = 0.03;

function base(epochs: number, batchSize: number): Training {
  return { epochs, batchSize, maxTokens: 512, learningRate: 3e-4, warmupRatio };
}

function large(epochs: number, batchSize: number, maxTokens: number): Training {
  return { epochs, batchSize, maxTokens, learningRate: 1e-4, warmupRatio };
}

export const glueProtocol: Protocol = {
  target: ["query", "value"],
  seeds: 5,
  averaged: ["MNLI", "SST-2", "MRPC", "CoLA", "QNLI", "QQP", "RTE", "STS-B"],
  training: {
    // Epochs, examples per step, and for large also the length in tokens.
    "MNLI": { base: base(30, 128), large: large(10, 32, 128) },
    // The paper's epochs; LoRA uses 60 and 10.
    "SST-2": { base: base(2, 128), large: large(2, 64, 512) },
    "MRPC": { base: base(30, 128), large: large(20, 32, 512) },
    "CoLA": { base: base(80, 64), large: large(20, 32, 128) },
    "QNLI": { base: base(25, 256), large: large(10, 32, 512) },
    "QQP": { base: base(25, 128), large: large(20, 32, 512) },
    "RTE": { base: base(80, 256), large: large(20, 64, 512) },
    "STS-B": { base: base(40, 128), large: large(10, 32, 128) },
    // No adapter paper reports WNLI. These are the settings of RTE, the most similar task in kind and size.
    "WNLI": { base: base(80, 256), large: large(20, 64, 512) },
  },
};
