/** A run's log, next to its table: one line per training step. */

import { existsSync } from "node:fs";
import type { StepRecord } from "../lib/train/adamw.ts";

/**
 * Appends an epoch: cell, step, loss, gradient norm before clipping. A resumed run may repeat steps that are
 * in the log already, so existing lines are not repeated, and an incomplete last line is removed.
 */
export function appendLog(path: string, cell: string, records: readonly StepRecord[]): void {
  const lines = records.map((record) => `${JSON.stringify({ cell, ...record })}\n`);
  const log = existsSync(path) ? Deno.readTextFileSync(path) : "";
  const whole = log.slice(0, log.lastIndexOf("\n") + 1);
  if (whole !== log) Deno.truncateSync(path, new TextEncoder().encode(whole).length);
  Deno.writeTextFileSync(path, lines.slice(knownAtEnd(whole, lines)).join(""), { append: true });
}

/**
 * How many of the first `lines` the log ends with. No two lines of a cell are equal, so comparing its last
 * line is enough.
 */
function knownAtEnd(log: string, lines: readonly string[]): number {
  const known = lines.findIndex((line) => log.endsWith(line)) + 1;
  return log.endsWith(lines.slice(0, known).join("")) ? known : 0;
}
