/**
 * `deno run --allow-all bench/noise.ts`: runs the same small bench 21 times and lets `deno task compare`
 * judge the noise. Writes results/compare-noise.{json,md}.
 */

import { type BenchRecord, readBench } from "../lib/report/bench_schema.ts";
import { noisePage, works } from "./noise_page.ts";

const reruns = 21;

/** Runs one bench after the other, each in its own process, all with the first one's number of runs per lap. */
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

/** Rounds times to four digits, which keeps the record small. No verdict depends on a fifth digit. */
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

await noisePage.write("results", { schemaVersion: 1, runs: await runAll() });
