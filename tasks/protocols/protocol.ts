/**
 * The training settings that a protocol fixes for a family of tasks. The table's rows set method, rank, α and
 * b; dropout and weight decay are the same everywhere (`run_cell.ts`, `adamWDefaults`).
 */

import type { WarmUp } from "../../lib/train/schedule.ts";

/** How one task is trained on one model. */
export interface Training extends WarmUp {
  readonly epochs: number;
  /** Examples per step, over all devices. */
  readonly batchSize: number;
  /** Maximum input length in tokens, both texts of a pair together. */
  readonly maxTokens: number;
  readonly learningRate: number;
}

/** A way to train in which `--tune` chooses each row's learning rate. */
export interface TunedTraining {
  readonly epochs: number;
  /** Examples per step. */
  readonly batchSize: number;
}

/** A published way to train a family of tasks. */
export interface Protocol {
  /** Target modules of the adapters. */
  readonly target: readonly string[];
  readonly seeds: number;
  /** The tasks in the published average. */
  readonly averaged: readonly string[];
  /** By task, for RoBERTa-base and RoBERTa-large. */
  readonly training: Readonly<Record<string, { readonly base: Training; readonly large: Training }>>;
}
