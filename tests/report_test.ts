/** Result records, metrics, statistics and pages. */

import assert from "node:assert/strict";
import { writeWhole } from "../lib/files.ts";
import { objectives } from "../lib/objectives/registry.ts";
import { readBench } from "../lib/report/bench_schema.ts";
import { readCells, readCellTable } from "../lib/report/cell_table.ts";
import { barChart, curveChart, parameterChart, pointsOf } from "../lib/report/chart.ts";
import { claimsText, compareTo, comparisonSections } from "../lib/report/comparison.ts";
import { commitText, originText, renderMarkdown } from "../lib/report/markdown.ts";
import { packNumbers } from "../lib/report/packed_numbers.ts";
import { readResults } from "../lib/report/results.ts";
import { type Cell, metricsOnly, settingsDigest } from "../lib/report/schema.ts";
import { scoresBySeed } from "../lib/report/scores.ts";
import { intervalOf, logSlope, median } from "../lib/report/statistics.ts";
import { evaluateMetrics } from "../lib/train/metrics.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { labelsOf, madeUpCell, writeCellsTable } from "./support/cells.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";

Deno.test("a table and its cells survive a round trip; a broken record is refused with file and field", () =>
  withFolder(async (folder) => {
    const path = `${folder}/first-table.json`;
    const cells = [madeUpCell(), madeUpCell({ seed: 1 }), madeUpCell({ label: "BoRA" })];
    await writeCellsTable(path, cells);
    assert.deepEqual(await readCells(path), cells);
    const table = await readCellTable(path);
    const [row] = table.rows;
    const withRow = (changes: object): object => ({ ...table, rows: [{ ...row, ...changes }] });
    for (
      const [field, broken] of [
        ["schemaVersion", { ...table, schemaVersion: 1 }],
        ["profile", { ...table, profile: undefined }],
        ["rows", { ...table, rows: {} }],
        ["rows.0.settings", withRow({ settings: row.settings.slice(1) })],
        ["rows.0.seeds.0", withRow({ seeds: [-1] })],
        ["rows.0.label", withRow({ label: null })],
        // An array, as the record of a table once was.
        ["schemaVersion", [madeUpCell()]],
      ] as const
    ) {
      await Deno.writeTextFile(path, JSON.stringify(broken));
      await assert.rejects(() => readCells(path), new RegExp(`first-table.json: ${field}: `), field);
    }
    await Deno.writeTextFile(path, JSON.stringify({ ...table, schemaVersion: 3 }));
    await assert.rejects(
      () => readCells(path),
      /Expected 2 but received 3: another version of this library wrote the file; make it again, or /,
    );
  }));

Deno.test("a write that fails leaves the old file whole", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/page.md`;
  await writeWhole(path, "old");
  await Deno.mkdir(`${path}.part`);
  await assert.rejects(() => writeWhole(path, "new"));
  assert.equal(await Deno.readTextFile(path), "old");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a result file that is cut short is named, with what makes one of its kind again", async () => {
  const folder = await Deno.makeTempDir();
  for (
    const [name, read, advice] of [
      ["glue.json", readCells, /make it again \(reproduce: run without --resume\)/],
      ["bench.json", readBench, /run deno task bench again/],
      ["any.json", readResults, /make it again, or take it out of the folder/],
    ] as const
  ) {
    await Deno.writeTextFile(`${folder}/${name}`, '{"half": ');
    const refused = new RegExp(`${name} is not JSON, or is cut short: .*: ${advice.source}$`);
    await assert.rejects(read(`${folder}/${name}`), refused);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("metricsOnly forgets times and machine, and nothing else", () => {
  const slower = madeUpCell({
    times: { compileSeconds: 9, trainSeconds: 9, wallSeconds: 9 },
    peakBufferBytes: 1,
  });
  assert.equal(metricsOnly([slower]), metricsOnly([madeUpCell()]));
  assert.notEqual(metricsOnly([madeUpCell({ last: { accuracy: 0.51 } })]), metricsOnly([madeUpCell()]));
});

Deno.test("the digest of a cell's settings tells experiments apart, and leaves out seeds, rows and results", async () => {
  const { training } = madeUpCell();
  const digests = await Promise.all([
    madeUpCell(),
    madeUpCell({ task: "wic" }),
    madeUpCell({ model: "small" }),
    madeUpCell({ dataDigest: "0".repeat(64) }),
    madeUpCell({ method: "BoRA" }),
    madeUpCell({ options: { r: 8, alpha: 17 } }),
    madeUpCell({ target: ["key"] }),
    madeUpCell({ training: { ...training, learningRate: 0.01 } }),
    madeUpCell({ training: { ...training, warmupRatio: undefined } }),
    madeUpCell({ devExamples: 9 }),
    madeUpCell({ golden: "0".repeat(64) }),
  ].map(settingsDigest));
  assert.equal(new Set(digests).size, digests.length);
  const { golden } = madeUpCell();
  const alike = madeUpCell({
    seed: 1,
    label: "another row",
    golden,
    last: { accuracy: 1 },
    steps: 1,
    profile: "p",
  });
  assert.equal(await settingsDigest(alike), digests[0]);
});

Deno.test("Student's interval: 95 % of (1, 2, 3, 4) is 2.5 ± 3.182·0.6455", () => {
  const { mean, halfWidth } = intervalOf([1, 2, 3, 4]);
  assert.equal(mean, 2.5);
  assert.ok(Math.abs(halfWidth! - 3.182446 * Math.sqrt(5 / 3 / 4)) < 1e-5);
  assert.equal(intervalOf([7]).halfWidth, undefined);
  assert.equal(intervalOf([7, 7]).halfWidth, undefined, "two that agree are not certain");
  assert.throws(() => intervalOf([]), /no values/);
});

Deno.test("a median is the middle value, or the mean of the two in the middle, whatever the order", () => {
  assert.equal(median([40, 9, 100]), 40);
  assert.equal(median([8, 100, 9, 10]), 9.5);
  assert.throws(() => median([]), /no values/);
});

Deno.test("a page's origin: the driver where it was found, the commit in ten digits, changes that it does not hold", () => {
  const { environment } = madeUpCell();
  const here = {
    ...environment,
    adapter: "a",
    cpus: 2,
    system: "s",
    runtime: "r",
    commit: "0123456789abcdef",
  };
  assert.equal(originText({ ...here, dirty: false }), "Machine: a, 2 CPUs, s, r. Commit 0123456789.");
  assert.equal(
    originText({ ...here, driver: "d", dirty: true }),
    "Machine: a, d, 2 CPUs, s, r. Commit 0123456789 with uncommitted changes.",
  );
});

Deno.test("the slope of logs is the power that a value grows by", () => {
  const x = [1, 2, 5, 30];
  assert.ok(Math.abs(logSlope(x, x.map((value) => 3 * value ** 1.7)) - 1.7) < 1e-12);
  assert.throws(() => logSlope([1], [2]), /no slope of 1 values at 1 points/);
  assert.throws(() => logSlope(x, [1, 2]), /no slope/);
});

Deno.test("the page holds means, best values in bold and dashes for what was not run", () => {
  const page = renderMarkdown(
    "A title",
    [
      madeUpCell(),
      madeUpCell({ task: "wic", last: { accuracy: 0.7 }, best: { accuracy: 0.7 } }),
      madeUpCell({
        label: "BoRA",
        adapterParameters: 32768,
        adapterMultiplyAddsPerToken: 25,
        last: { accuracy: 0.55 },
        times: { compileSeconds: 1, trainSeconds: 11, wallSeconds: 12 },
      }),
    ],
    "Rates are these.",
    ["A section of its own"],
  );
  assert.match(page, /\n\nA section of its own\n\n## Cost/);
  const compact = page.replaceAll(/ +/g, " ");
  assert.match(compact, /\| LoRA r 8 \| 24,576 \| 50\.0 \(62\.5\) \| \*\*70\.0\*\* \(70\.0\) \| 60\.0 \|/);
  assert.match(compact, /\| BoRA \| 32,768 \| \*\*55\.0\*\* \(62\.5\) \| – \| – \|/);
  assert.match(compact, /\| BoRA \| 25 \| 2\.50 % \| 11\.0 \| 2 \| 0\.003 \|/);
  assert.match(page, /does not compare methods .* Rates are these\.\n/s);
  assert.match(page, /supersense, wic of the embedded suite: .* but not the paper's data or models/);
});

Deno.test("a correlation that rounds to 0 has no sign in any column", () => {
  const of = (pearson: number) => ({ last: { pearson }, best: { pearson } });
  const cells = [0, 1, 2].map((seed) => madeUpCell({ seed, headline: "pearson", ...of(-0.0001) }));
  const page = renderMarkdown("A table", cells, "", []);
  assert.match(page, /\*\*0\.0 ± 0\.0\*\* \(0\.0\) \| +0\.0 \|/);
  assert.doesNotMatch(page, /-0\.0/);
});

Deno.test("a mean amid two decimals is rounded alike in all columns", () => {
  const cells = [0.7194375, 0.72025, 0.7188125].map((accuracy, seed) =>
    madeUpCell({ seed, last: { accuracy }, best: { accuracy } })
  );
  assert.match(renderMarkdown("A table", cells, "", []), /\*\*72\.0 ± 0\.2\*\* \(72\.0\) \| +72\.0 \|/);
});

Deno.test("no mean is in bold where rows have other seeds: their means do not say which is best", () => {
  const bora = madeUpCell({ label: "BoRA", last: { accuracy: 0.55 } });
  const page = (cells: readonly Cell[]) => renderMarkdown("A title", cells, "Rates.", []);
  const [zero, one] = [madeUpCell(), madeUpCell({ seed: 1 })];
  assert.match(page([zero, bora]), /\| \*\*55\.0/);
  assert.match(page([zero, one, bora, { ...bora, seed: 1 }]), /\| \*\*55\.0/);
  assert.doesNotMatch(page([zero, one, bora]), /\| \*\*/);
  assert.doesNotMatch(page([one, bora]), /\| \*\*/);
  assert.match(page([zero, bora]), /, 1 seed, /);
  assert.match(page([zero, one, bora]), /, 1 to 2 seeds, .*The 3 cells took/s);
  assert.match(page([bora]), /The cell took/);
});

Deno.test("the chart has a labelled point a method, and a small one for each of several seeds", async () => {
  const cells = [
    madeUpCell(),
    madeUpCell({ seed: 1, last: { accuracy: 0.6 } }),
    madeUpCell({ label: "Head only", adapterParameters: 0 }),
  ];
  assert.deepEqual(pointsOf(cells), [
    { method: "LoRA r 8", parameters: 24576, score: 55 },
    { method: "Head only", parameters: 0, score: 50 },
  ]);
  const svg = await parameterChart("A chart", cells);
  assert.match(svg, /^<svg/);
  const said = ["LoRA r 8", "Head only", "A chart", "head not counted (none at 1,000)", "(small: each seed)"];
  for (const text of said) assert.ok(svg.includes(text), text);
  assert.doesNotMatch(await parameterChart("A chart", cells.slice(0, 2)), /none at/);
  const scoresOf = (svg: string) =>
    [...svg.matchAll(/; score: ([\d.]+);/g)].map(([, score]) => Number(score));
  assert.deepEqual(scoresOf(svg), [50, 60, 50, 55, 50]);
  const one = await parameterChart("A chart", [cells[0], cells[2]]);
  assert.deepEqual(scoresOf(one), [50, 50]);
  assert.ok(!one.includes("each seed"));
});

Deno.test("bars and curves name their rows and series", async () => {
  assert.ok((await barChart("Bars", [madeUpCell(), madeUpCell({ label: "BoRA" })])).includes("BoRA"));
  const points = [{ x: 1, y: 0.5, series: "r 8" }, { x: 2, y: 0.7, series: "r 16" }];
  const curves = await curveChart("Curves", { x: "b", y: "score", series: "rank" }, points);
  for (const text of ["r 8", "r 16", "rank", "score"]) assert.ok(curves.includes(text));
  const namesOfX = new Map([[1, "LoRA"], [2, "two"]]);
  const named = await curveChart("Curves", { x: "b", y: "score", series: "rank", namesOfX }, points);
  const ticks = (svg: string) => [...svg.matchAll(/<text[^>]*>([^<]*)/g)].map(([, text]) => text);
  assert.deepEqual(ticks(named).slice(0, 2), ["LoRA", "two"]);
  assert.notDeepEqual(ticks(curves).slice(0, 2), ["LoRA", "two"]);
});

/** A cell that predicts the first of its examples right, as many as `right` says, and the rest wrong. */
function scoring(label: string, seed: number, right: number, devExamples = 400): Cell {
  const labels = labelsOf(devExamples);
  return madeUpCell({
    ...{ label, seed, devExamples },
    last: { accuracy: right / devExamples },
    predictions: { dev: packNumbers(labels.map((own, i) => i < right ? own : own + 1)) },
  });
}

Deno.test("verdicts say better, worse or within ±0.5 where the interval does, and pair seeds and examples", () => {
  const rows = (label: string, right: readonly number[]) =>
    right.map((count, seed) => scoring(label, seed, count));
  const cells = [
    ...rows("LoRA r 8", [200, 210, 220]),
    ...rows("BoRA", [220, 230, 241]),
    ...rows("DoRA", [230, 190, 240]),
    ...rows("twin", [200, 210, 220]),
  ];
  const claim = (better: string, worse: string, of = cells) => claimsText([[better, worse]], of);
  assert.match(
    claim("BoRA", "LoRA r 8"),
    /^agrees\. BoRA is better than LoRA r 8 \(\+5\.1 ± \d\.\d, p [\d<. ]+\)\.$/,
  );
  assert.match(claim("LoRA r 8", "BoRA"), /^disagrees\. LoRA r 8 is worse than BoRA \(−5\.1/);
  assert.match(claim("DoRA", "LoRA r 8"), /^cannot tell\. DoRA cannot be told from/);
  assert.match(
    claim("twin", "LoRA r 8"),
    /^within ±0\.5\. twin is within ±0\.5 of LoRA r 8 \(0\.0 ± 0\.\d, p 1\.000\)\.$/,
  );
  assert.match(claim("HiRA", "LoRA r 8"), /was not run/);
  assert.match(
    claimsText([["BoRA", "LoRA r 8"], ["DoRA", "LoRA r 8"], ["BoRA", "HiRA"]], cells, [["twin", "DoRA"]]),
    /^agrees 1×, cannot tell 2×\. BoRA is better .*; DoRA cannot .*; BoRA or HiRA was not run; twin cannot /,
  );
  assert.match(
    claimsText([["twin", "LoRA r 8"], ["DoRA", "LoRA r 8"], ["LoRA r 8", "BoRA"]], cells),
    /^disagrees 1×, within ±0\.5 1×, cannot tell 1×\. twin is within /,
  );
  const one = cells.filter(({ seed }) => seed === 0);
  assert.match(
    claim("BoRA", "LoRA r 8", one),
    /BoRA is better than LoRA r 8 \(\+5\.0 ± .*, one seed: these two runs\)\.$/,
  );
  assert.match(compareTo("LoRA r 8", one), /One seed does not tell how seeds differ/);
  const compact = compareTo("LoRA r 8", cells).replaceAll(/ +/g, " ");
  assert.match(
    compact,
    /\| BoRA \| 24,576 \| 3 \| 57\.6 ± \d\.\d \| \+5\.1 ± \d\.\d \| .* \| better \| \d\.\d \|/,
  );
  assert.match(compact, /\| twin \| .* \| within ±0\.5 \| \d\.\d \|/);
  assert.doesNotMatch(compact, /One seed does not tell/);
  const foreign = rows("other", [1]).map((cell) => ({ ...cell, dataDigest: "0".repeat(64) }));
  assert.throws(() => compareTo("LoRA r 8", [...cells, ...foreign]), /other examples of supersense/);
});

Deno.test("among many rows better and worse go by Holm's p, and a row's own seeds and those in common are told apart", () => {
  const rows = (label: string, right: readonly number[]) =>
    right.map((count, seed) => scoring(label, seed, count));
  const [reference, ahead] = [rows("LoRA r 8", [200, 210, 220, 230]), rows("BoRA", [208, 216, 230])];
  const verdictOn = (others: number) => {
    const cells = [
      ...reference,
      ...ahead,
      ...Array.from({ length: others }, (_, i) => rows(`other ${i}`, [203, 208, 221])).flat(),
    ];
    return compareTo("LoRA r 8", cells).split("\n").find((line) => line.startsWith("| BoRA"))!.replaceAll(
      / +/g,
      " ",
    );
  };
  assert.match(verdictOn(0), /\| 3 \| .* \| better \|/);
  assert.match(verdictOn(40), /\| 3 \| .* \| cannot tell \|/);
  // A quarter of a point on 8,000 examples.
  const small = [0, 1, 2].flatMap((
    seed,
  ) => [scoring("LoRA r 8", seed, 5000, 8000), scoring("BoRA", seed, 5020, 8000)]);
  assert.match(
    compareTo("LoRA r 8", small).replaceAll(/ +/g, " "),
    /\| \+0\.3 ± 0\.1 \| .* \| better, within ±0\.5 \|/,
  );
  assert.match(
    claimsText([["BoRA", "LoRA r 8"]], small),
    /^agrees\. BoRA is better than LoRA r 8, within ±0\.5 \(/,
  );
  const mirrored = compareTo("BoRA", [...ahead, ...reference]).replaceAll(/ +/g, " ");
  assert.match(mirrored, /\| LoRA r 8 \| 24,576 \| 4 \(3 in common\) \| 53\.8 ± \d\.\d \| −2\.0 ± /);
});

Deno.test("of several tasks each has its own comparison beside that of the averages, judged by Holm's p over all of them", () => {
  const rows = (task: string, label: string, right: readonly number[]) =>
    right.map((count, seed) => ({ ...scoring(label, seed, count), task }));
  const one = [...rows("wic", "LoRA r 8", [200, 210, 220]), ...rows("wic", "BoRA", [220, 230, 241])];
  const other = [...rows("spam", "LoRA r 8", [300, 310, 320]), ...rows("spam", "BoRA", [260, 271, 281])];
  const [average, each, ...none] = comparisonSections("LoRA r 8", [...one, ...other]).map((section) =>
    section.replaceAll(/ +/g, " ")
  );
  assert.deepEqual(none, []);
  assert.match(
    average,
    /^## Compared with LoRA r 8\n[^]*\| BoRA \| 24,576 \| 3 \| 62\.6 ± 6\.\d \| −2\.4 ± \d\.\d \|/,
  );
  assert.match(each, /^## Compared with LoRA r 8 on each task\n/);
  assert.match(each, /\| LoRA r 8 \| wic \| 3 \| 52\.5 ± 6\.2 \| – \|/);
  assert.match(each, /\| BoRA \| wic \| 3 \| 57\.6 ± 6\.\d \| \+5\.1 ± \d\.\d \| .* \| better \|/);
  assert.match(each, /\| BoRA \| spam \| 3 \| 67\.7 ± 6\.\d \| −9\.8 ± \d\.\d \| .* \| worse \|/);
  assert.deepEqual(comparisonSections("LoRA r 8", one), [
    `## Compared with LoRA r 8\n\n${compareTo("LoRA r 8", one)}`,
  ]);
  // What is not certain among many comparisons is not called so.
  const many = ["a", "b", "c"].flatMap((task) => [
    ...rows(task, "LoRA r 8", [200, 210, 220, 230]),
    ...rows(task, "BoRA", [208, 216, 230]),
    ...Array.from({ length: 14 }, (_, i) => rows(task, `other ${i}`, [203, 208, 221])).flat(),
  ]);
  const [, ofMany] = comparisonSections("LoRA r 8", many);
  assert.match(ofMany.replaceAll(/ +/g, " "), /\| BoRA \| a \| 3 \| .* \| cannot tell \|/);
});

Deno.test("a seed that lacks a task is left out of means, tests and charts", () => {
  const cells = [
    ...[0, 1].flatMap((seed) => [
      madeUpCell({ seed, last: { accuracy: 0.5 } }),
      madeUpCell({ seed, task: "wic", last: { accuracy: 0.7 } }),
    ]),
    // Interrupted after the easier task of seed 1.
    madeUpCell({ label: "BoRA", last: { accuracy: 0.5 } }),
    madeUpCell({ label: "BoRA", task: "wic", last: { accuracy: 0.7 } }),
    madeUpCell({ label: "BoRA", seed: 1, task: "wic", last: { accuracy: 0.7 } }),
  ];
  assert.deepEqual([...scoresBySeed(cells, "BoRA").keys()], [0]);
  assert.match(claimsText([["BoRA", "LoRA r 8"]], cells), /\(0\.0 ± .*, one seed: these two runs\)\.$/);
  assert.equal(pointsOf(cells)[1].score, 60);
  const partial = cells.filter(({ label, task }) => label !== "BoRA" || task === "wic");
  assert.deepEqual(pointsOf(partial).map(({ method }) => method), ["LoRA r 8"]);
  assert.match(claimsText([["BoRA", "LoRA r 8"]], partial), /was not run/);
});

Deno.test("metrics, against values worked out by hand", () => {
  const labels = [0, 0, 1, 1, 1, 0];
  const predictions = [0, 1, 1, 1, 0, 0];
  const metrics = evaluateMetrics(["accuracy", "f1", "macroF1", "matthews"], predictions, labels);
  // One false positive and one false negative of six: precision = recall = 2/3 for both classes.
  assert.deepEqual(
    Object.values(metrics).map((value) => value.toFixed(12)),
    [2 / 3, 2 / 3, 2 / 3, 1 / 3].map((v) => v.toFixed(12)),
  );
  assert.ok(
    Math.abs(
      evaluateMetrics(["pearson"], [1, 2, 3, 5], [2, 4, 5, 4]).pearson! - 3.75 / Math.sqrt(8.75 * 4.75),
    ) < 1e-9,
  );
  assert.ok(
    Math.abs(evaluateMetrics(["spearman"], [1, 2, 2, 9], [10, 20, 30, 40]).spearman! - 0.9486832981) < 1e-9,
  );
  assert.equal(evaluateMetrics(["pearson"], [1, 1], [0, 3]).pearson, 0);
  assert.throws(() => evaluateMetrics(["accuracy"], [], []), /0 predictions for 0 labels/);
  assert.throws(() => evaluateMetrics(["accuracy"], [NaN], [1]), /prediction 0 is NaN/);
  assert.throws(() => evaluateMetrics(["pearson"], [1, 2], [1, NaN]), /label 1 is NaN/);
  assert.throws(() => evaluateMetrics(["acc" as "accuracy"], [1], [1]), /no metric "acc"; have accuracy, /);
  for (const metric of ["f1", "matthews"] as const) {
    const message = new RegExp(`${metric} is of two classes, 0 and 1, and there is 2`);
    assert.throws(() => evaluateMetrics([metric], [0, 1, 1], [0, 1, 2]), message);
  }
  assert.throws(() => evaluateMetrics(["perplexity"], [0], [0]), /perplexity is of tokens, and there are 0/);
});

Deno.test("decide takes the highest score, or the value itself", () => {
  const of = (name: "classification" | "regression" | "choice") =>
    objectives[name].of(tinyEncoder(), { texts: 2, classes: 3 });
  assert.equal(of("classification").decide(Float32Array.of(0.1, 2, -3)), 1);
  assert.equal(of("choice").decide(Float32Array.of(0.1, 0, 0.1)), 0);
  assert.equal(of("regression").decide(Float32Array.of(-1.5)), -1.5);
});

Deno.test("deno task report makes a page anew in place, and refuses two records that it cannot merge", async () => {
  const folder = await Deno.makeTempDir();
  const record = new URL("../results/costs.json", import.meta.url);
  for (const part of ["one/here", "two/here"]) {
    await Deno.mkdir(`${folder}/${part}`, { recursive: true });
    await Deno.copyFile(record, `${folder}/${part}/costs.json`);
  }
  const before = await Deno.readTextFile(`${folder}/one/here/costs.json`);
  const { code, stderr } = await runTask("report", [`${folder}/one/`, "--out", `${folder}/one`]);
  assert.equal(code, 0, stderr);
  assert.equal(await Deno.readTextFile(`${folder}/one/here/costs.json`), before);
  const page = await Deno.readTextFile(new URL("../results/costs.md", import.meta.url));
  assert.equal(await Deno.readTextFile(`${folder}/one/here/costs.md`), page);
  const two = await runTask("report", [`${folder}/one`, `${folder}/two`, "--out", `${folder}/both`]);
  assert.equal(two.code, 1);
  assert.match(two.stderr, /one\/here\/costs\.json and .*two\/here\/costs\.json cannot be merged/);
  await Deno.writeTextFile(`${folder}/one/here/costs.json`, before.replace('"goal"', '"gaol"'));
  const damaged = await runTask("report", [`${folder}/one`, "--out", `${folder}/one`]);
  assert.equal(damaged.code, 1);
  assert.match(damaged.stderr, /costs\.json: measured\.0\.goal: /);
  assert.equal(await Deno.readTextFile(`${folder}/one/here/costs.md`), page, "the page stays");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a page has the commit in ten digits, or in full the reason why it is not known", () => {
  const commit = "0123456789".repeat(4);
  assert.equal(commitText({ commit, dirty: false }), "0123456789");
  assert.equal(commitText({ commit, dirty: true }), "0123456789 with uncommitted changes");
  assert.equal(commitText({ commit: "unknown (no git)", dirty: false }), "unknown (no git)");
});
