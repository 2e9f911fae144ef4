/** Compares rows with a reference row on the same seeds and tasks. */

import type { Cell } from "./schema.ts";
import { table } from "./markdown.ts";
import { scoresBySeed } from "./scores.ts";
import { intervalOf, pairedDifference, scoreText } from "./statistics.ts";

/** The paired difference of two rows over the seeds that both have. From three seeds on it is tested. */
function difference(label: string, reference: string, cells: readonly Cell[]) {
  const [own, other] = [scoresBySeed(cells, label), scoresBySeed(cells, reference)];
  const seeds = [...own.keys()].filter((seed) => other.has(seed));
  if (seeds.length === 0) return undefined;
  const found = pairedDifference(seeds.map((seed) => own.get(seed)!), seeds.map((seed) => other.get(seed)!));
  return { ...found, seeds: seeds.length };
}

const signed = (value: number) =>
  Math.abs(value) < 0.05 ? "0.0" : `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`;
const pText = (p: number) => p < 0.001 ? "< 0.001" : p.toFixed(3);

/**
 * A sentence such as `BoRA r 8 b 16 is better than LoRA r 8 (+1.2 ± 0.8, p 0.020)`. It says "cannot be told
 * from" if the confidence interval includes 0, and only gives the difference if there are too few seeds to
 * test.
 */
export function verdict(label: string, reference: string, cells: readonly Cell[]): string {
  const found = difference(label, reference, cells);
  if (!found) return `${label} or ${reference} was not run`;
  const { mean, halfWidth, p, seeds } = found;
  if (halfWidth === undefined || p === undefined) {
    const few = seeds === 1 ? "one seed" : `${seeds} seeds`;
    return `${label} is ${signed(mean)} from ${reference} (${few}: not tested)`;
  }
  const word = Math.abs(mean) > halfWidth
    ? (mean > 0 ? "is better than" : "is worse than")
    : "cannot be told from";
  return `${label} ${word} ${reference} (${signed(mean)} ± ${halfWidth.toFixed(1)}, p ${pText(p)})`;
}

/**
 * Whether the cells support claims that one row beats another: `agrees`, `disagrees` or `cannot tell`, or how
 * many of each. A difference counts if its confidence interval excludes 0.
 */
export function agreement(
  claims: readonly (readonly [better: string, worse: string])[],
  cells: readonly Cell[],
): string {
  const said = claims.map(([better, worse]) => {
    const { mean = 0, halfWidth } = difference(better, worse, cells) ?? {};
    if (halfWidth === undefined || Math.abs(mean) <= halfWidth) return "cannot tell";
    return mean > 0 ? "agrees" : "disagrees";
  });
  if (claims.length === 1) return said[0];
  const count = (word: string) => said.filter((other) => other === word).length;
  return ["agrees", "disagrees", "cannot tell"].map((word) => `${word} ${count(word)}×`).join(", ");
}

/** A table of every row's score, and its difference from the reference with the paired t-test. */
export function compareTo(reference: string, cells: readonly Cell[]): string {
  const labels = [...new Set(cells.map(({ label }) => label))];
  const rows = labels.map((label) => {
    const own = cells.find((cell) => cell.label === label)!;
    const scores = [...scoresBySeed(cells, label).values()];
    const found = label === reference ? undefined : difference(label, reference, cells);
    return [
      label,
      own.adapterParameters.toLocaleString("en-US"),
      scores.length === 0 ? "–" : scoreText(intervalOf(scores)),
      found
        ? signed(found.mean) + (found.halfWidth === undefined ? "" : ` ± ${found.halfWidth.toFixed(1)}`)
        : "–",
      found?.p === undefined ? "–" : pText(found.p),
    ];
  });
  return table(["method", "trainable", "score, %", `− ${reference}`, "p, paired t"], rows);
}
