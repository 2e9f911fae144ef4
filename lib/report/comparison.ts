/** Rows against a reference row on the same seeds and tasks. */

import type { Cell } from "./schema.ts";
import { table } from "./markdown.ts";
import { pairedDifference, studentInterval } from "./statistics.ts";

/** Score of every seed of a row, averaged over the tasks it has been run on, in percent. */
function scoresBySeed(cells: readonly Cell[], label: string): Map<number, number> {
  const own = cells.filter((cell) => cell.label === label);
  const seeds = [...new Set(own.map(({ seed }) => seed))];
  return new Map(seeds.map((seed) => {
    const scores = own.filter((cell) => cell.seed === seed).map((cell) => 100 * cell.last[cell.headline]);
    return [seed, scores.reduce((sum, value) => sum + value, 0) / scores.length];
  }));
}

/** The paired difference of two rows over the seeds both have; with an interval from three seeds on. */
function difference(label: string, reference: string, cells: readonly Cell[]) {
  const [own, other] = [scoresBySeed(cells, label), scoresBySeed(cells, reference)];
  const seeds = [...own.keys()].filter((seed) => other.has(seed));
  if (seeds.length === 0) return undefined;
  const found = pairedDifference(seeds.map((seed) => own.get(seed)!), seeds.map((seed) => other.get(seed)!));
  // Two differences that happen to agree would pass for certainty.
  return seeds.length < 3 ? { mean: found.mean, halfWidth: undefined, p: undefined } : found;
}

const signed = (value: number) => `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`;

/** `BoRA r 8 b 16 is better than LoRA r 8 (+1.2 ± 0.8, p 0.02)`; "cannot be told from" where the interval holds 0 or is missing. */
export function verdict(label: string, reference: string, cells: readonly Cell[]): string {
  const found = difference(label, reference, cells);
  if (!found) return `${label} or ${reference} was not run`;
  const { mean, halfWidth, p } = found;
  const clear = halfWidth !== undefined && Math.abs(mean) > halfWidth;
  const word = clear ? (mean > 0 ? "is better than" : "is worse than") : "cannot be told from";
  const numbers = halfWidth === undefined
    ? signed(mean)
    : `${signed(mean)} ± ${halfWidth.toFixed(1)}, p ${p!.toFixed(2)}`;
  return `${label} ${word} ${reference} (${numbers})`;
}

/** A table of every row: score, and its difference from the reference with the paired t-test. */
export function compareTo(reference: string, cells: readonly Cell[]): string {
  const labels = [...new Set(cells.map(({ label }) => label))];
  const rows = labels.map((label) => {
    const own = cells.find((cell) => cell.label === label)!;
    const { mean, halfWidth } = studentInterval([...scoresBySeed(cells, label).values()]);
    const found = label === reference ? undefined : difference(label, reference, cells);
    return [
      label,
      own.adapterParameters.toLocaleString("en-US"),
      halfWidth === undefined ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${halfWidth.toFixed(1)}`,
      found
        ? (found.halfWidth === undefined
          ? signed(found.mean)
          : `${signed(found.mean)} ± ${found.halfWidth.toFixed(1)}`)
        : "–",
      found?.p === undefined ? "–" : found.p.toFixed(3),
    ];
  });
  return table(["method", "trainable", "score, %", `− ${reference}`, "p, paired t"], rows);
}
