/**
 * Profiles that the analyses share. The protocol of `default`: fresh data, one epoch, and a large dev set.
 * Adapters of other capacity then differ by more than seeds and dev set do (LoRA r 32 against r 8); with few
 * examples, or several epochs of them, they do not.
 */

import type { Profile } from "./table.ts";

export const analysisProfiles: Readonly<Record<string, Profile>> = {
  smoke: { tasks: ["supersense"], train: 64, dev: 32, training: 1, seeds: 1 },
  default: { tasks: ["supersense"], train: 16_000, dev: 16_000, training: 1, seeds: 3 },
};

/**
 * The rows whose updates' singular values are shown. Every analysis computes them with the cell, which several
 * tables share.
 */
export const spectraRows: readonly string[] = [
  "Full fine-tuning",
  "LoRA r 8",
  "LoRA r 32",
  "MELoRA r 8 b 16",
  "GraLoRA r 8 b 2",
  "BoRA r 8 b 16",
];
