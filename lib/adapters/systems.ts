/** Systems: the rows of a results table. Each is a label, a method and its options. */

import type { Model } from "../models/model.ts";
import { type Adapter, attach, type AttachOptions } from "./attach.ts";
import { methodByName } from "./registry.ts";
import type { Targeting } from "./targeting.ts";

/** Value of a hyperparameter. */
export type OptionValue = number | string | boolean;

/** A row of a results table. */
export interface System {
  readonly label: string;
  /** Name of the method in the registry. */
  readonly method: string;
  readonly options: Readonly<Record<string, OptionValue>>;
}

/**
 * Attaches the system's method with its options, and `dropout` if the method has that option. Throws as
 * `attach` does.
 */
export function attachSystem(
  model: Model,
  { method: name, options }: System,
  targeting: Targeting,
  dropout: number,
): Adapter {
  const method = methodByName(name);
  const own = "dropout" in method.defaults ? { ...options, dropout } : options;
  return attach(model, method, { ...own, ...targeting } as AttachOptions);
}

/** The systems of the first table. α = 2r in all of them, so that s = α/r = 2 for every rank. */
export const firstSystems: readonly System[] = [
  { label: "Head only", method: "Head only", options: {} },
  { label: "Full fine-tuning", method: "Full fine-tuning", options: {} },
  { label: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 } },
  { label: "LoRA r 32", method: "LoRA", options: { r: 32, alpha: 64 } },
  { label: "MELoRA r 8 b 16", method: "MELoRA", options: { r: 8, alpha: 16, blocks: 16 } },
  { label: "BoRA r 8 b 16", method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
];
