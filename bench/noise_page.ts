/**
 * Shows what `deno task compare` says about repeated runs of the same bench, and about a slower kernel: the
 * page of `noise.ts`.
 */

import * as v from "npm:valibot@1.5.0";
import { type BenchRecord, benchSchema } from "../lib/report/bench_schema.ts";
import { compareBenches } from "../lib/report/compare_bench.ts";
import type { ComparedRow } from "../lib/report/compare.ts";
import { countsOf } from "../lib/report/compare_page.ts";
import { machineText, table } from "../lib/report/markdown.ts";
import { definePage } from "../lib/report/page.ts";
import { median } from "../lib/report/statistics.ts";

/** The command-line arguments of every run. */
export const works = ["products", "--only", "128×768×768", "--alone", "--laps", "15"];

/**
 * An object and not a list, because `deno task compare` reads all files in this folder and takes lists for
 * cells.
 */
export const noiseSchema = v.object({
  schemaVersion: v.literal(1),
  runs: v.pipe(v.array(benchSchema), v.minLength(1)),
});

/** The runs with this library's times multiplied by `factor`. */
export function slowed(records: readonly BenchRecord[], factor: number): BenchRecord[] {
  return records.map(({ rows, ...rest }) => ({
    ...rest,
    rows: rows.map((row) => ({
      ...row,
      measured: row.measured.map((entry) => ({
        ...entry,
        milliseconds: entry.milliseconds.map((time) => factor * time),
      })),
    })),
  }));
}

/** Runs per side when several are compared: as many as `tasks/compare_with.sh` makes. */
const several = 5;

/** Pairs of runs to compare: base and head. */
type Pairs = readonly (readonly [BenchRecord[], BenchRecord[]])[];

/** Pairs each run with the next one. */
export function pairsOf(records: readonly BenchRecord[]): Pairs {
  return records.slice(1).map((record, i) => [[records[i]], [record]]);
}

/** Every sequence of 2 · `several` runs, dealt to the two sides in alternation. */
export function stretchesOf(records: readonly BenchRecord[]): Pairs {
  const stretches = records.slice(2 * several - 1).map((_, i) => records.slice(i, i + 2 * several));
  return stretches.map((own) => [own.filter((_, i) => i % 2 === 0), own.filter((_, i) => i % 2 === 1)]);
}

/** The rows of all comparisons, with head's times multiplied by `factor`. */
export function rowsOf(
  pairs: Pairs,
  factor = 1,
  threshold?: number,
): ComparedRow[] {
  return pairs.flatMap(([base, head]) => compareBenches(base, slowed(head, factor), threshold).rows);
}

function markdownOf(records: readonly BenchRecord[]): string {
  const [{ environment, rows }] = records;
  const spread = rows.map(({ name }, i) => {
    const medians = records.map(({ rows }) => median(rows[i].measured[0].milliseconds));
    return [name, Math.min(...medians).toPrecision(3), Math.max(...medians).toPrecision(3)];
  });
  const verdicts = (pairs: Pairs, threshold?: number) =>
    [1, 1.15, 1.3, 2].map((factor) => {
      const rows = rowsOf(pairs, factor, threshold);
      return [factor === 1 ? "the same" : `× ${factor}`, String(rows.length), countsOf(rows)];
    });
  const header = ["head's kernel", "rows", "verdicts"];
  return `# Noise alone, and a slower kernel

\`deno run --allow-all bench/noise.ts\`: \`deno task bench ${
    works.join(" ")
  }\`, ${records.length} times, nothing changed
between them, on a machine with other work to do: ${machineText(environment)}. Of each work, the fastest
and the slowest run by its median lap, in ms:

${table(["work", "fastest", "slowest"], spread)}

A slower kernel below is the same laps times a factor.

## ${several} runs and ${several}, in turn

What \`deno task compare\` says, at its default threshold, of every stretch of ${
    2 * several
  } runs (they overlap):

${table(header, verdicts(stretchesOf(records)))}

## One run and the next

At its defaults it gives no verdict on single runs. This is why: with \`--threshold 10\` it would say

${table(header, verdicts(pairsOf(records), 10))}
`;
}

export const noisePage = definePage(
  "compare-noise",
  noiseSchema,
  ({ runs }) => ({ ".md": markdownOf(runs) }),
);
