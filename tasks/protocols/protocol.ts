/** What a protocol fixes: everything of a cell but the method and the seed. */

/** How one task is trained on one model. */
export interface Training {
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
  readonly r: number;
  readonly alpha: number;
  /** BoRA's b. */
  readonly blocks: number;
  readonly adapterDropout: number;
  readonly weightDecay: number;
  readonly warmupRatio: number;
  readonly seeds: number;
  /** The tasks of the published average. */
  readonly averaged: readonly string[];
  /** By task: RoBERTa-base, and RoBERTa-large. */
  readonly training: Readonly<Record<string, { readonly base: Training; readonly large: Training }>>;
}
