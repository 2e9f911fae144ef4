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
  let known = lines.length;
  while (!whole.endsWith(lines.slice(0, known).join(""))) known--;
  Deno.writeTextFileSync(path, lines.slice(known).join(""), { append: true });
}
