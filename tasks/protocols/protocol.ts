/**
 * What a protocol fixes of the cells of a family of tasks. Method, rank, α and b are the table's rows'; dropout and decay are the
 * same in all of them (`run_cell.ts`, `adamWDefaults`).
 */

import type { WarmUp } from "../../lib/train/schedule.ts";

/** How one task is trained on one model. */
export interface Training extends WarmUp {
  readonly epochs: number;
  /** Examples a step, over all devices. */
  readonly batchSize: number;
  /** Longest input in tokens, both texts of a pair together. */
  readonly maxTokens: number;
  readonly learningRate: number;
}

/** A published way to train a family of tasks. */
export interface Protocol {
  /** Module types that get an adapter. */
  readonly target: readonly string[];
  readonly seeds: number;
  /** The tasks of the published average. */
  readonly averaged: readonly string[];
  /** By task: RoBERTa-base, and RoBERTa-large. */
  readonly training: Readonly<Record<string, { readonly base: Training; readonly large: Training }>>;
}
