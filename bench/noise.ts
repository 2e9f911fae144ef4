/**
 * `deno run --allow-all bench/noise.ts`: the same small bench 21 times over, and what `deno task compare` says of the noise:
 * results/compare-noise.{json,md}. With `--page`, the page alone, from the record that is there.
 */

import { parseArgs } from "node:util";
import * as v from "npm:valibot@1.5.0";
import { fitting, readAnyJson, writeTogether } from "../lib/files.ts";
import { type BenchRecord, benchSchema, readBench } from "../lib/report/bench_schema.ts";
import { compareBenches } from "../lib/report/compare_bench.ts";
import type { ComparedRow } from "../lib/report/compare.ts";
import { countsOf } from "../lib/report/compare_page.ts";
import { machineText, table } from "../lib/report/markdown.ts";
import { median } from "../lib/report/statistics.ts";

const reruns = 21;
const works = ["products", "--only", "128×768×768", "--alone", "--laps", "15"];
const path = "results/compare-noise";
/** Not a list: a folder that is compared holds this file too, and a list would be taken for cells. */
const schema = v.object({ schemaVersion: v.literal(1), runs: v.array(benchSchema) });

/** The recorded runs. Throws an Error that names the file and what is wrong. */
export async function readNoise(file: string): Promise<BenchRecord[]> {
  return fitting(file, schema, await readAnyJson(file, "run bench/noise.ts without --page")).runs;
}

/** One run after the other, each in a process of its own, the first one's number of runs a lap in all. */
async function runAll(): Promise<BenchRecord[]> {
  const folder = await Deno.makeTempDir();
  const records: BenchRecord[] = [];
  for (let i = 0; i < reruns; i++) {
    const like = i === 0 ? [] : ["--like", `${folder}/0/bench.json`];
    const args = ["run", "--allow-all", "bench/main.ts", ...works, ...like, "--out", `${folder}/${i}`];
    const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, stdout: "null" }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    records.push(short(await readBench(`${folder}/${i}/bench.json`)));
    console.error(`${i + 1} of ${reruns}`);
  }
  await Deno.remove(folder, { recursive: true });
  return records;
}

/** Times to four digits: the record stays small, and no verdict hangs on a fifth. */
function short({ rows, ...rest }: BenchRecord): BenchRecord {
  const digits = (times: readonly number[]) => times.map((time) => Number(time.toPrecision(4)));
  return {
    ...rest,
    rows: rows.map((row) => ({
      ...row,
      yardstick: digits(row.yardstick!),
      measured: row.measured.map((entry) => ({ ...entry, milliseconds: digits(entry.milliseconds) })),
    })),
  };
}

/** The runs with this library's times as if it were `factor` times as slow. */
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

/** Runs on each side where several are compared: as many as `tasks/compare_with.sh` makes. */
const several = 5;

/** Runs to compare: of the base, and of the head. */
type Pairs = readonly (readonly [BenchRecord[], BenchRecord[]])[];

/** Each run and the next. */
export function pairsOf(records: readonly BenchRecord[]): Pairs {
  return records.slice(1).map((record, i) => [[records[i]], [record]]);
}

/** Every stretch of twice `several` runs, dealt out in turn. */
export function stretchesOf(records: readonly BenchRecord[]): Pairs {
  const stretches = records.slice(2 * several - 1).map((_, i) => records.slice(i, i + 2 * several));
  return stretches.map((own) => [own.filter((_, i) => i % 2 === 0), own.filter((_, i) => i % 2 === 1)]);
}

/** The rows of all comparisons, head made `factor` times as slow. */
export function rowsOf(
  pairs: Pairs,
  factor = 1,
  threshold?: number,
): ComparedRow[] {
  return pairs.flatMap(([base, head]) => compareBenches(base, slowed(head, factor), threshold).rows);
}

function pageOf(records: readonly BenchRecord[]): string {
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

if (import.meta.main) {
  const { values } = parseArgs({ options: { page: { type: "boolean", default: false } } });
  const records = values.page ? await readNoise(`${path}.json`) : await runAll();
  await writeTogether({
    [`${path}.json`]: `${JSON.stringify({ schemaVersion: 1, runs: records })}\n`,
    [`${path}.md`]: pageOf(records),
  });
}
