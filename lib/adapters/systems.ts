/** The systems of the first table: a label, a method and its options. */

import type { AdapterOptions } from "./method.ts";

/** A row of a table. */
export interface System {
  readonly label: string;
  /** Name in the registry. */
  readonly method: string;
  readonly options: Partial<AdapterOptions>;
}

/** α = 2r throughout, so that s = α/r = 2 whatever the rank. */
export const systems: readonly System[] = [
  { label: "Head only", method: "Head only", options: {} },
  { label: "Full fine-tuning", method: "Full fine-tuning", options: {} },
  { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
  { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
  { label: "MELoRA r 8 b 16", method: "MELoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "BoRA r 8 b 16", method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
];
