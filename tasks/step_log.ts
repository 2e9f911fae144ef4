/** The log of a run beside its table: a line a training step. */

import { existsSync } from "node:fs";
import type { StepRecord } from "../lib/train/adamw.ts";

/**
 * Appends an epoch: which cell, step, loss, gradient norm before clipping. A run that was stopped after the lines or among them
 * comes to them again, so those that are there are not repeated, and half of one is cut off.
 */
export function appendLog(path: string, cell: string, records: readonly StepRecord[]): void {
  const lines = records.map((record) => `${JSON.stringify({ cell, ...record })}\n`);
  const log = existsSync(path) ? Deno.readTextFileSync(path) : "";
  const whole = log.slice(0, log.lastIndexOf("\n") + 1);
  if (whole !== log) Deno.truncateSync(path, new TextEncoder().encode(whole).length);
  Deno.writeTextFileSync(path, lines.slice(knownAtEnd(whole, lines)).join(""), { append: true });
}

/** How many of `lines`, from the first, the log ends with: no two of a cell's lines are alike, so its last line says. */
function knownAtEnd(log: string, lines: readonly string[]): number {
  const known = lines.findIndex((line) => log.endsWith(line)) + 1;
  return log.endsWith(lines.slice(0, known).join("")) ? known : 0;
}
