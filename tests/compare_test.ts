/** `deno task compare`: its statistics, its verdicts on injected regressions and on noise alone, its page and its exit codes. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readJson } from "../lib/files.ts";
import { noiseSchema, pairsOf, rowsOf, slowed, stretchesOf } from "../bench/noise_page.ts";
import { normals } from "./support/noise.ts";
import type { BenchRecord } from "../lib/report/bench_schema.ts";
import { compareBenches } from "../lib/report/compare_bench.ts";
import { compareCells } from "../lib/report/compare_cells.ts";
import { comparePage } from "../lib/report/compare_page.ts";
import { escapeMarkdown } from "../lib/escape_markdown.ts";
import type { ComparedRow, Comparison } from "../lib/report/compare.ts";
import { judge } from "../lib/report/judge.ts";
import type { Cell } from "../lib/report/schema.ts";
import { halfWidthOf, holm, pairedEstimate, pOf, welchEstimate } from "../lib/report/statistics.ts";
import { madeUpCell, madeUpCells, writeCellsTable } from "./support/cells.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";

const root = new URL("..", import.meta.url);
const results = (name: string) => new URL(`results/${name}.json`, root).pathname;

/** Three seeds of 27 rows on one task. */
const methods = madeUpCells({
  table: "methods",
  labels: ["LoRA r 8", "DoRA r 8", ...Array.from({ length: 25 }, (_, i) => `row ${i}`)],
  tasks: ["supersense"],
  seeds: 3,
  devExamples: 320,
});

/** One seed of six rows on two tasks. */
const firstTable = madeUpCells({
  table: "first-table",
  labels: ["Head only", "Full fine-tuning", "LoRA r 8", "LoRA r 32", "MELoRA r 8 b 16", "BoRA r 8 b 16"],
  tasks: ["supersense", "sentiment"],
  seeds: 1,
  devExamples: 320,
});

const near = (actual: number, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`);

const verdicts = ({ rows }: Comparison) => rows.map(({ verdict }) => verdict);
const count = (comparison: Comparison, verdict: string) =>
  verdicts(comparison).filter((other) => other === verdict).length;

Deno.test("Welch's test and the paired one, against SciPy's numbers", () => {
  // scipy.stats.ttest_ind([5.1, 4.9, 5.6, 5.8, 6.0], [4.1, 4.3, 4.0, 5.0], equal_var=False)
  const welch = welchEstimate([5.1, 4.9, 5.6, 5.8, 6.0], [4.1, 4.3, 4.0, 5.0]);
  near(welch.mean, 1.13);
  near(welch.degrees, 6.665443527267511);
  near(pOf(welch), 0.008558636579121525);
  // scipy.stats.ttest_1samp([1, 2, 4], 0)
  near(pOf(pairedEstimate([1, 2, 4])), 0.11808289631180308);
  near(halfWidthOf({ mean: 0, error: 2, degrees: Infinity }), 2 * 1.959963985, 1e-6);
  near(pOf({ mean: -8, error: 1, degrees: Infinity }), 1.2441921148543573e-15, 1e-16);
});

Deno.test("differences that happen to agree are no certainty where a score is rounded", () => {
  near(pairedEstimate([1, 1, 1], 0.6).error, 0.6 / Math.sqrt(3));
  assert.throws(() => pairedEstimate([1]), /1 differences say nothing/);
});

Deno.test("Holm's adjusted p-values, by hand", () => {
  // In order 0.01·4, 0.02·3, 0.03·2 and 0.04·1, each no less than the one before.
  holm([0.03, 0.01, 0.04, 0.02]).forEach((p, i) => near(p, [0.06, 0.04, 0.06, 0.06][i]));
  assert.deepEqual(holm([0.9, 0.8]), [1, 1]);
});

Deno.test("a verdict needs size and certainty; the mean of all rows has half of the 5 % for itself", () => {
  const sure = (mean: number) => ({ estimate: { mean, error: 0.1, degrees: Infinity } });
  const unsure = (mean: number) => ({ estimate: { mean, error: 3, degrees: Infinity } });
  const said = (good: 1 | -1) =>
    judge([sure(2), sure(-2), sure(0.5), unsure(2), unsure(0), { estimate: undefined }], 1, good)
      .map(({ verdict }) => verdict);
  assert.deepEqual(said(1), ["better", "worse", "same", "cannot tell", "cannot tell", "cannot tell"]);
  assert.deepEqual(said(-1).slice(0, 2), ["worse", "better"]);
  // p = 0.02: certain alone, not among ten; and as the overall row only where it would be below 2.5 %.
  const two = { estimate: { mean: 2.326, error: 1, degrees: Infinity } };
  const others = Array.from({ length: 9 }, () => unsure(0));
  assert.equal(judge([two], 1, 1)[0].verdict, "better");
  assert.equal(judge([two, ...others], 1, 1)[0].verdict, "cannot tell");
  assert.equal(judge([{ ...two, overall: true }, ...others], 1, 1)[0].verdict, "better");
  const barely = { estimate: { mean: 2, error: 1, degrees: Infinity }, overall: true };
  assert.equal(judge([barely], 1, 1)[0].verdict, "better");
  assert.equal(judge([barely, ...others], 1, 1)[0].verdict, "cannot tell");
});

/** The cells with their last score changed, as a change of the code would. */
function shifted(cells: readonly Cell[], points: (cell: Cell, i: number) => number): Cell[] {
  return cells.map((cell, i) => {
    const score = cell.last[cell.headline] + points(cell, i) / 100;
    return {
      ...cell,
      last: { ...cell.last, [cell.headline]: Math.round(score * cell.devExamples) / cell.devExamples },
    };
  });
}

Deno.test("accuracy: the same results are the same; a method that got worse is named, the others are not", () => {
  assert.equal(count(compareCells(methods, methods), "same"), 28);
  const head = shifted(methods, ({ label }) => label === "LoRA r 8" ? -20 : 0);
  const { rows } = compareCells(methods, head);
  const worse = rows.filter(({ verdict }) => verdict === "worse").map(({ name }) => name);
  assert.deepEqual(worse, ["methods: LoRA r 8, supersense"]);
  assert.equal(count(compareCells(head, methods), "better"), 1);
});

Deno.test("accuracy: a loss too small for any one row shows in the mean of all", () => {
  const noise = normals(1);
  const { rows } = compareCells(methods, shifted(methods, () => -3 + 2 * noise()));
  const worse = rows.filter(({ verdict }) => verdict === "worse").map(({ name }) => name);
  assert.equal(worse.at(-1), "mean of all 27 rows");
  assert.ok(worse.length < 4, `${worse}`);
});

Deno.test("accuracy: with one seed the dev set's size says what can be told", () => {
  assert.equal(
    count(compareCells(firstTable, shifted(firstTable, (_, i) => i % 2 === 0 ? 2 : -2)), "worse"),
    0,
  );
  const head = shifted(firstTable, ({ label }) => label === "BoRA r 8 b 16" ? -25 : 0);
  const broken = compareCells(firstTable, head);
  assert.deepEqual(
    broken.rows.filter(({ verdict }) => verdict === "worse").map(({ name }) => name),
    [
      "first-table: BoRA r 8 b 16, supersense",
      "first-table: BoRA r 8 b 16, sentiment",
      "first-table: BoRA r 8 b 16, mean of 2 tasks",
    ],
  );
});

Deno.test("accuracy: 200 comparisons of noise alone raise no more alarms than 5 % of them", () => {
  let alarms = 0;
  for (let seed = 0; seed < 200; seed++) {
    const noise = normals(seed);
    if (count(compareCells(methods, shifted(methods, () => 2 * noise())), "worse") > 0) alarms++;
  }
  assert.ok(alarms <= 10, `${alarms} alarms`);
});

Deno.test("accuracy: what cannot be compared is reported", () => {
  const cells = firstTable;
  assert.throws(() => compareCells(cells, [...cells, cells[0]]), /two cells of one experiment: first-table/);
  assert.throws(() => compareCells(cells, cells.map((cell) => ({ ...cell, seed: 9 }))), /no cell of one/);
  const otherwise = (cell: Cell) => ({
    ...cell,
    training: { ...cell.training, learningRate: 7 },
    epochs: cell.epochs.map((epoch) => ({ ...epoch, trainLoss: 1 })),
  });
  const part = compareCells(cells.slice(1), cells.map(otherwise));
  const notes = part.notes.join("\n");
  assert.match(notes, /Only in head: first-table .*Head only/);
  assert.match(notes, /Settings differ: .*→ \{"learningRate":7/);
  assert.match(notes, /0 of 11 cells agree in every metric/);
  assert.doesNotMatch(notes, /under the same name/);
});

Deno.test("accuracy: other examples, and other weights, under the same name are told", () => {
  const [first, ...rest] = firstTable;
  const notesWith = (changes: Partial<Cell>) =>
    compareCells(firstTable, [{ ...first, ...changes }, ...rest]).notes;
  const row = `${first.table}: ${first.label}, ${first.task}`;
  const other = "f".repeat(64);
  assert.ok(notesWith({ dataDigest: other }).includes(`Examples differ under the same name: ${row}.`));
  assert.ok(
    notesWith({ modelDigest: other }).includes(`The model's weights differ under the same name: ${row}.`),
  );
});

Deno.test("accuracy: rows of two models and of two profiles are told apart, and are no tasks to average over", () => {
  const cells = madeUpCells({
    ...{ table: "headline", labels: ["LoRA r 8"], tasks: ["supersense"], seeds: 3, devExamples: 1000 },
  });
  const namesOf = (changes: Partial<Cell>) => {
    const all = [...cells, ...cells.map((cell) => ({ ...cell, ...changes }))];
    return compareCells(all, all).rows.map(({ name }) => name);
  };
  assert.deepEqual(namesOf({ model: "minilm" }), [
    "headline, tiny: LoRA r 8, supersense",
    "headline, minilm: LoRA r 8, supersense",
    "mean of all 2 rows",
  ]);
  assert.match(namesOf({ profile: "smoke" })[1], /^headline, smoke: LoRA r 8, supersense$/);
});

Deno.test("a difference that rounds to 0 has no sign, and a time of seconds no power of ten", () => {
  const score = (seed: number, accuracy: number) =>
    madeUpCell({ seed, devExamples: 100_000, last: { accuracy }, best: { accuracy } });
  const [before, after] = [[0.5, 0.5, 0.5], [0.5, 0.49999, 0.5]].map((own) =>
    own.map((accuracy, seed) => score(seed, accuracy))
  );
  assert.match(compareCells(before, after).rows[0].difference, /^0\.00 ± /);
  const [one] = benches(0, 1, { works: 1 });
  const slow = (factor: number): BenchRecord => ({
    ...one,
    rows: one.rows.map((row) => ({
      ...row,
      yardstick: [1, 1],
      measured: [{ library: "this library", milliseconds: [1234, 1234 * factor] }],
    })),
  });
  const [{ base, difference }] = compareBenches([slow(1)], [slow(0.9999)]).rows;
  assert.equal(base, "1230");
  assert.match(difference, /^0\.0 % /);
});

/** Runs of a bench of `works`: lap times scatter by `lap`, whole runs by `run`, the machine by `machine`, as logarithms. */
function benches(
  seed: number,
  runs: number,
  { works = 10, lap = 0.1, run = 0.03, machine = 0.3, yardstick = true } = {},
): BenchRecord[] {
  const noise = normals(seed);
  const environment = {
    adapter: "a",
    software: true,
    runtime: "r",
    system: "s",
    cpus: 2,
    commit: "c",
    dirty: false,
  };
  return Array.from({ length: runs }, () => {
    const state = machine * noise();
    const rows = Array.from({ length: works }, (_, i) => {
      const own = run * noise();
      const laps = Array.from({ length: 15 }, () => [state + lap * noise(), state + own + lap * noise()]);
      return {
        group: "products",
        title: "Products",
        name: `work ${i}`,
        flops: 1,
        bytes: 1,
        runs: 5,
        ...yardstick ? { yardstick: laps.map(([time]) => 50 * Math.exp(time)) } : {},
        measured: [{ library: "this library", milliseconds: laps.map(([, time]) => 4 * Math.exp(time)) }],
      };
    });
    return { schemaVersion: 1, environment, rows };
  });
}

Deno.test("speed: 200 comparisons of noise alone, three runs or ten in turn, raise no more alarms than 5 % of them", () => {
  for (const runs of [3, 10]) {
    let alarms = 0;
    for (let seed = 0; seed < 200; seed++) {
      const all = benches(seed, 2 * runs);
      const comparison = compareBenches(all.slice(0, runs), all.slice(runs));
      if (count(comparison, "worse") > 0) alarms++;
    }
    assert.ok(alarms <= 10, `${runs} runs: ${alarms} alarms`);
  }
});

Deno.test("speed: the yardstick tells a slower kernel from a slower machine", () => {
  const quiet = { machine: 0, works: 3 };
  const [base, other] = [benches(1, 5, quiet), benches(2, 5, quiet)];
  assert.deepEqual(verdicts(compareBenches(base, slowed(other, 1.3))), ["worse", "worse", "worse"]);
  assert.deepEqual(verdicts(compareBenches(slowed(base, 1.3), other)), ["better", "better", "better"]);
  const busy = slowed(other, 1.3).map(({ rows, ...rest }) => ({
    ...rest,
    rows: rows.map((row) => ({ ...row, yardstick: row.yardstick!.map((time) => 1.3 * time) })),
  }));
  assert.equal(count(compareBenches(base, busy), "worse"), 0);
  const bare = { ...quiet, yardstick: false };
  assert.equal(count(compareBenches(benches(1, 5, bare), slowed(benches(2, 5, bare), 1.3)), "worse"), 3);
});

Deno.test("speed: works of other laps, and works that one side lacks, are named", () => {
  const [base, head] = [benches(1, 1, { works: 2 }), benches(2, 1, { works: 3 })];
  const other = head.map(({ rows, ...rest }) => ({
    ...rest,
    rows: rows.map((row) => ({ ...row, runs: 6 })),
  }));
  const notes = compareBenches(base, other).notes.join("\n");
  assert.match(notes, /another number of runs: products: work 0; products: work 1\. Run HEAD with --like/);
  assert.match(notes, /Only in head: products: work 2/);
  assert.throws(() => compareBenches(base, benches(1, 1, { works: 0 })), /no work of one bench/);
});

Deno.test("speed: a work that few of a side's runs have gets no verdict of its own, and the others keep theirs", () => {
  const quiet = { machine: 0, works: 3 };
  const base = benches(1, 5, quiet);
  const short = slowed(benches(2, 5, quiet), 1.3).map(({ rows, ...rest }, run) => ({
    ...rest,
    rows: rows.slice(0, run < 2 ? 3 : 2),
  }));
  const comparison = compareBenches(base, short);
  assert.deepEqual(verdicts(comparison), ["worse", "worse", "cannot tell"]);
  assert.match(comparison.notes.join("\n"), /No verdict: with fewer than 3 runs on a side/);
  assert.match(
    comparison.method,
    /over a work's runs, paired where both sides have as many, and over the laps of a work with fewer than 3 on a side/,
  );
  assert.match(compareBenches(base, base).method, /over the 5 and 5 runs, paired/);
  assert.match(compareBenches(base, base.slice(1)).method, /over the 5 and 4 runs\. /);
  assert.match(compareBenches(base.slice(0, 2), base.slice(0, 2)).method, /over the laps\. /);
});

Deno.test("speed: runs on two adapters are not runs of one work, and one adapter is compared with another", () => {
  const on = (adapter: string, records: readonly BenchRecord[], runs = 5) =>
    records.map(({ environment, rows, ...rest }) => ({
      ...rest,
      environment: { ...environment, adapter },
      rows: rows.map((row) => ({ ...row, runs })),
    }));
  const [one] = benches(1, 1, { works: 1 });
  const both = [...on("slow", slowed([one], 9)), ...on("fast", [one], 6)];
  const { rows, notes } = compareBenches(both, both);
  assert.deepEqual(rows.map(({ name }) => name), ["slow, products: work 0", "fast, products: work 0"]);
  assert.ok(!notes.join().includes("another number of runs"));
  const other = compareBenches(on("slow", [one]), on("fast", [one]));
  assert.deepEqual(other.rows.map(({ name }) => name), ["products: work 0"]);
});

Deno.test("speed: the page says that some works' times are over a yardstick's, and others' are not", () => {
  const base = benches(1, 3);
  const bare = base.map(({ rows, ...rest }) => ({
    ...rest,
    rows: rows.map((row, i) => i === 0 ? { ...row, yardstick: undefined } : row),
  }));
  assert.match(compareBenches(base, base).method, /the time over the yardstick's beside it; /);
  assert.match(
    compareBenches(base, bare).method,
    /over the yardstick's beside it where both sides have one; /,
  );
});

Deno.test("speed: 20 reruns on a real, busy machine raise no alarm, a slower kernel does", async () => {
  const records = (await readJson(results("compare-noise"), noiseSchema)).runs;
  assert.equal(records.length, 21);
  for (const pairs of [pairsOf(records), stretchesOf(records)]) {
    const alarms = rowsOf(pairs).filter(({ verdict }) => verdict === "worse" || verdict === "better");
    assert.deepEqual(alarms, []);
  }
  // Single runs on a busy machine are told apart by nothing that is in them: without --threshold there is no verdict.
  assert.ok(rowsOf(pairsOf(records), 3).every(({ verdict }) => verdict === "cannot tell"));
  const share = (rows: ComparedRow[]) =>
    rows.filter(({ verdict }) => verdict === "worse").length / rows.length;
  assert.ok(share(rowsOf(pairsOf(records), 3, 10)) > 0.9);
  assert.ok(share(rowsOf(stretchesOf(records), 2)) > 0.9);
  assert.ok(share(rowsOf(stretchesOf(records), 1.3)) > 0.5);
});

Deno.test("speed: a kernel 1.15 times as slow is found in a real machine's noise, given enough runs in turn", async () => {
  const records = (await readJson(results("compare-noise"), noiseSchema)).runs;
  const draw = normals(3);
  const resampled = () =>
    Array.from({ length: 40 }, () => records[Math.floor(Math.abs(draw() * 1e3)) % records.length]);
  const [base, head] = [resampled(), resampled()];
  assert.equal(count(compareBenches(base, head), "worse"), 0);
  assert.ok(count(compareBenches(base, slowed(head, 1.15)), "worse") >= 2);
  assert.ok(count(compareBenches(slowed(base, 1.15), head), "better") >= 2);
});

Deno.test("the page: differences of the environment first, worst rows on top, nothing of a file as markup", () => {
  const evil = '<img src=x onerror="alert(1)"> | [a](http://b) `c`\n# d';
  const head = shifted(firstTable, ({ label }) => label === "BoRA r 8 b 16" ? -30 : 0).map((cell) => ({
    ...cell,
    environment: { ...cell.environment, adapter: evil, dirty: true },
  }));
  const page = comparePage([compareCells(firstTable, head)], "base.json", evil);
  assert.match(page, /^# base\.json → &lt;img/);
  assert.doesNotMatch(page, /<img|[^\\]\[a|[^\\]`c/);
  const compact = page.replaceAll(/ +/g, " ");
  assert.match(compact, /\*\*The environments differ: so may the results, with the same code\.\*\*/);
  assert.match(compact, /\| dirty \| false \| true \|/);
  assert.match(compact, /Environment of both: [^\n|]*\bsoftware true, runtime Deno/);
  assert.ok(compact.indexOf("| dirty |") < compact.indexOf("| row |"));
  const verdicts = compact.split("\n").filter((line) => line.startsWith("| first-table"));
  assert.match(verdicts[0], /BoRA r 8 b 16.*\*\*worse\*\*/);
  assert.match(compact, /Threshold: 1 points/);
  assert.equal(escapeMarkdown("a|b\n\\c"), "a\\|b \\\\c");
});

const compare = async (args: readonly string[], env?: Record<string, string>) => {
  const { code, stdout: out, stderr: error } = await runTask("compare", args, env);
  return { code, out, error };
};

/** `compare_with.sh` in `folder`, with a `git` that makes the commit's tree and logs its removal, and with this `deno`. */
async function compareWith(folder: string, deno: string): Promise<Deno.Command> {
  const path = `${folder}/programs`;
  await Deno.mkdir(path);
  for (const name of ["dirname", "mkdir", "mktemp", "sleep"]) {
    await Deno.symlink(`/usr/bin/${name}`, `${path}/${name}`);
  }
  const script = (name: string, text: string) =>
    Deno.writeTextFile(`${path}/${name}`, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  // The commit's tree: all that is asked for there.
  await script(
    "git",
    `[ "$2" != remove ] || { : > "${folder}/removed"; exit; }; mkdir -p "$5/tasks"; : > "$5/tasks/compare.ts"`,
  );
  await script("deno", deno);
  const own = new URL("../tasks/compare_with.sh", import.meta.url).pathname;
  return new Deno.Command("/usr/bin/env", {
    // A test run in the background may have been started deaf to Ctrl-C, and a shell stays so.
    args: ["--default-signal=INT", "/bin/sh", own, "HEAD", `${folder}/a b`, "steps"],
    clearEnv: true,
    env: { PATH: path, TMPDIR: folder },
    stderr: "piped",
    detached: true,
  });
}

Deno.test("compare_with.sh: Ctrl-C and SIGTERM take the commit's tree away as well", async () => {
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await withFolder(async (folder) => {
      const command = await compareWith(folder, `: > "${folder}/begun"; exec sleep 60`);
      const running = command.spawn();
      while (!existsSync(`${folder}/begun`)) await new Promise((resolve) => setTimeout(resolve, 20));
      // Of a terminal's Ctrl-C all know that belong together.
      Deno.kill(-running.pid, signal);
      assert.equal((await running.output()).code, code);
      assert.ok(existsSync(`${folder}/removed`), signal);
    });
  }
});

Deno.test("compare_with.sh: ten benches in turn, all but the first like it, in a folder with a space in its name", () =>
  withFolder(async (folder) => {
    const command = await compareWith(
      folder,
      `for word in "$@"; do printf '[%s]' "$word"; last="$word"; done >> "${folder}/log"; echo >> "${folder}/log"
      [ "$3" != bench ] || { mkdir -p "$last"; : > "$last/bench.json"; }`,
    );
    const { code, stderr } = await command.output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const lines = (await Deno.readTextFile(`${folder}/log`)).trimEnd().split("\n");
    const bench = (place: string, like: string) =>
      `[task][--quiet][bench][steps][--alone][--laps][10]${like}[--out][${folder}/a b/${place}]`;
    const like = `[--like][${folder}/a b/base/1/bench.json]`;
    const rounds = [1, 2, 3, 4, 5].flatMap((round) => [
      bench(`base/${round}`, round === 1 ? "" : like),
      bench(`head/${round}`, like),
    ]);
    assert.deepEqual(lines.slice(0, 10), rounds);
    assert.equal(lines.at(-1), `[task][--quiet][compare][${folder}/a b/base][${folder}/a b/head]`);
  }));

Deno.test("deno task compare: 0, 1 when something is worse, 2 when there is nothing to compare", () =>
  withFolder(async (folder) => {
    const tableIn = (name: string) => `${folder}/${name}/methods.json`;
    const [both, base, head, lacking] = ["both", "base", "head", "fewer"].map(tableIn);
    await writeCellsTable(base, methods);
    await writeCellsTable(both, methods);
    for (const name of ["bench", "approximation"]) {
      await Deno.copyFile(results(name), `${folder}/both/${name}.json`);
    }
    await writeCellsTable(head, shifted(methods, () => -20));
    await writeCellsTable(lacking, methods.filter(({ label }) => label !== "DoRA r 8"));
    const write = (name: string, json: unknown) =>
      Deno.writeTextFile(`${folder}/${name}.json`, JSON.stringify(json));
    await write("other", { a: 1 });
    await write("old", [{ schemaVersion: 1, table: "methods" }]);
    await write("damaged", { schemaVersion: 2, table: "methods", rows: [] });
    await write("storeless", JSON.parse(await Deno.readTextFile(base)));
    const summary = `${folder}/summary.md`;
    await Deno.writeTextFile(summary, "before\n");
    const [folders, same, worse, fewer, allowed, more] = await Promise.all([
      compare([`${folder}/both`, `${folder}/both`]),
      compare([base, base, "--out", `${folder}/page.md`]),
      compare([base, head, "--format", "github"], { GITHUB_STEP_SUMMARY: summary }),
      compare([base, lacking]),
      compare([base, lacking, "--allow-missing", "--json"]),
      compare([lacking, base]),
    ]);
    assert.equal(folders.code, 0, folders.error);
    assert.match(folders.error, /left out, of another kind: \S+\/both\/approximation\.json$/m);
    assert.doesNotMatch(folders.error, /both\/cells/);
    assert.match(folders.error, /Accuracy: 28 same\nSpeed: \d+ cannot tell/);
    assert.match(folders.out, /No verdict: with fewer than 3 runs on a side/);
    assert.equal(same.code, 0, same.error);
    assert.match(same.error, /Accuracy: 28 same/);
    assert.equal(await Deno.readTextFile(`${folder}/page.md`), same.out.replace(/\n$/, ""));
    assert.equal(worse.code, 1, worse.error);
    assert.equal(await Deno.readTextFile(summary), `before\n${worse.out.replace(/\n$/, "")}`);
    assert.equal(fewer.code, 1, fewer.error);
    assert.match(fewer.error, /Accuracy: 27 same, 3 missing in HEAD/);
    assert.match(fewer.out, /\*\*Missing in head:\*\* [^\n]*DoRA r 8[^\n]* seed 2\./);
    assert.equal(allowed.code, 0, allowed.error);
    const [{ missing, rows }] = JSON.parse(allowed.out);
    assert.equal(missing.length, 3);
    assert.ok(rows.every(({ verdict }: ComparedRow) => verdict === "same"));
    assert.equal(more.code, 0, more.error);
    assert.match(more.out, /Only in head: /);
    for (
      const [args, message] of [
        [[`${folder}/both`, results("bench")], /BASE holds accuracy and HEAD none: .*--allow-missing/],
        [[base], /BASE and HEAD are wanted, not 1/],
        [[base, base, "--threshold", "some"], /--threshold wants a number, not "some"/],
        [[base, base, "--threshold", " "], /--threshold wants a number, not " "/],
        [[base, base, "--threshold=-1"], /--threshold wants a number from 0, not "-1"/],
        [[base, base, "--format", "html"], /no format "html"; have markdown, github/],
        [[base, base, "--quick"], /Unknown option '--quick'/],
        [[base, `${folder}/none.json`], /there is no file .*none\.json: check its path/],
        [[base, `${folder}/other.json`], /other\.json: neither cells/],
        [[base, `${folder}/damaged.json`], /damaged\.json: profile: /],
        [[base, `${folder}/old.json`], /old\.json: neither cells/],
        [
          [base, `${folder}/storeless.json`],
          /cells has no cell of LoRA r 8 on supersense with seed 0, .*--resume$/m,
        ],
        [[base, results("bench")], /one of the two holds accuracy, the other speed/],
      ] as const
    ) {
      const { code, error } = await compare(args);
      assert.equal(code, 2, error);
      assert.match(error, message);
    }
  }));
