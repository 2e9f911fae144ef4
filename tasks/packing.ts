/** `--packing` of the commands that load a model, and `--cache` of those that write with it. */

import type { CacheStorage } from "../lib/generate/reading.ts";
import { packings, type WritablePacking } from "../lib/graph/storages/registry.ts";
import { UsageError } from "./usage.ts";

/** Its lines in a command's help, whose texts begin in column `at`. */
export function packingHelp(at: number): string {
  return [
    "  --packing NAME".padEnd(at) +
    "packs the model's matrices on their way to the GPU, which rounds their values:",
    " ".repeat(at) + packings.join(", "),
    " ".repeat(at) + "(of a .gguf file together with --unpack)",
  ].join("\n");
}

/** The packing that was asked for, if one was. Throws a UsageError for another name. */
export function packingOf(text: string | undefined): WritablePacking | undefined {
  const packing = packings.find((name) => name === text);
  if (text === undefined || packing) return packing;
  throw new UsageError(`--packing wants one of ${packings.join(", ")}, not "${text}"`);
}

/** How keys and values are to be stored. Throws a UsageError for another name. */
export function cacheOf(text: string): CacheStorage {
  if (text === "f32" || text === "f16") return text;
  throw new UsageError(`--cache wants f32 or f16, not "${text}"`);
}
