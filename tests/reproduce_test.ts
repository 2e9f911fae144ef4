/** The command lines as users run them: reproducible, resumable, and clear about mistakes. */

import assert from "node:assert/strict";
import { suiteRows, writeGlueTsv } from "./support/glue_folders.ts";
import { cellFiles, writeCellsTable } from "./support/cells.ts";
import { outputOf, runTask, startTask } from "./support/command.ts";
import { withFiles, withFolder } from "./support/files.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { smallEncoder } from "./support/small_encoder.ts";
import { tinyBert } from "./support/tiny_bert.ts";
import { readCells, readCellTable, writeCellTable } from "../lib/report/cell_table.ts";
import { type Cell, metricsOnly } from "../lib/report/schema.ts";

const task = (name: string, ...args: string[]) => runTask(name, args);

/** MiniLM-L6's shape (384 wide, 12 heads, 1536 inside), two layers of it, over a few words. */
const miniLm = {
  ...tinyBert,
  hidden_size: 384,
  num_hidden_layers: 2,
  num_attention_heads: 12,
  intermediate_size: 1536,
};

const smoke = ["--profile", "smoke", "--method", "BoRA r 8 b 16"];

Deno.test("reproduce: two runs with one seed agree byte for byte; --resume runs nothing twice", async () => {
  const [first, second] = [await Deno.makeTempDir(), await Deno.makeTempDir()];
  for (const out of [first, second]) {
    const { code, stderr } = await task("reproduce", ...smoke, "--out", out);
    assert.equal(code, 0, stderr);
  }
  const cellsOf = (out: string) => readCells(`${out}/first-table.json`);
  const [cells, again] = [await cellsOf(first), await cellsOf(second)];
  assert.equal(cells.length, 1);
  assert.equal(JSON.stringify(metricsOnly(cells)), JSON.stringify(metricsOnly(again)));

  assert.equal((await task("reproduce", ...smoke, "--out", first, "--resume", "--seeds", "2")).code, 0);
  const resumed = await cellsOf(first);
  assert.deepEqual(resumed[0], cells[0], "the finished cell is kept, times and all");
  assert.deepEqual(resumed.map(({ seed }) => seed), [0, 1]);
  assert.notEqual(JSON.stringify(resumed[1].epochs), JSON.stringify(resumed[0].epochs));

  const log = (await Deno.readTextFile(`${first}/first-table.log.jsonl`)).trim().split("\n").map((line) =>
    JSON.parse(line)
  );
  assert.deepEqual(log.map(({ step }) => step), [0, 1, 0, 1]);
  assert.ok(log.every(({ loss, gradientNorm }) => loss > 0 && gradientNorm > 0));

  const foreign = resumed.map((cell) => ({ ...cell, golden: "0".repeat(64) }));
  await writeCellsTable(`${second}/first-table.json`, foreign);
  const mixed = await task("reproduce", ...smoke, "--out", second, "--resume");
  assert.equal(mixed.code, 1);
  assert.match(
    mixed.stderr,
    /holds "BoRA r 8 b 16" with .*"bits":"000000000000"}, this run has .*move the file away/,
  );
  await Deno.remove(`${second}/cells`, { recursive: true });
  const bare = await task("reproduce", ...smoke, "--out", second, "--resume");
  assert.match(bare.stderr, /holds "BoRA r 8 b 16" made otherwise than this run would: move the file away/);

  // Only the later cell is left, as after a kill in a run with other seeds: it survives the run that fills the gap.
  const record = await readCellTable(`${first}/first-table.json`);
  const rows = record.rows.map((row) => ({ ...row, seeds: [1] }));
  await writeCellTable(`${first}/first-table.json`, { ...record, rows });
  await Deno.remove((await cellFiles(first, "BoRA"))[0]);
  assert.equal((await task("reproduce", ...smoke, "--out", first, "--resume", "--seeds", "1")).code, 0);
  const filled = await cellsOf(first);
  assert.equal(metricsOnly(filled), metricsOnly(resumed));
  assert.deepEqual(filled[1], resumed[1]);

  const page = await Deno.readTextFile(`${first}/first-table.md`);
  assert.match(page, /\| BoRA r 8 b 16 +\|/);
  assert.match(page, /first-table\.svg/);
  assert.match(await Deno.readTextFile(`${first}/first-table.svg`), /^<svg/);
});

Deno.test("reproduce glue: a folder of GLUE's layout and an encoder folder, both of MNLI's dev files scored", async () => {
  const folder = await Deno.makeTempDir();
  await writeCheckpoint(`${folder}/minilm`, miniLm);
  await writeGlueTsv(`${folder}/data`, "MNLI", await suiteRows("MNLI", 64, 40));
  const rows = ["--method", "LoRA r 8", "--method", "BoRA r 8 b 16"];
  const sources = ["--model", `${folder}/minilm`, "--data", `${folder}/data`, "--task", "MNLI"];
  const { code, stderr } = await task(
    ...["reproduce", "glue", "--profile", "smoke", ...sources, ...rows, "--out", `${folder}/out`] as const,
  );
  assert.equal(code, 0, stderr);
  const cells = await readCells(`${folder}/out/glue.json`);
  assert.deepEqual(cells.map(({ label }) => label), ["LoRA r 8", "BoRA r 8 b 16"]);
  for (const { model, task, trainExamples, devExamples, last } of cells) {
    assert.deepEqual([model, task, trainExamples, devExamples], ["minilm", "MNLI", 64, 40]);
    assert.deepEqual(Object.keys(last), ["accuracy", "accuracy mismatched"]);
  }
  assert.equal(cells[1].adapterParameters, 4 * 8 * (2 * 384 + 16 * 16));
  assert.match(await Deno.readTextFile(`${folder}/out/glue.md`), /model minilm, 1 seed, MNLI of GLUE/);
});

Deno.test("reproduce --shard: the merged parts are the whole; what does not belong together is refused", async () => {
  const folder = await Deno.makeTempDir();
  const at = (name: string) => `${folder}/${name}`;
  const encoder = await smallEncoder(folder, tinyBert);
  for (const [out, ...shard] of [["whole"], ["one", "--shard", "1/2"], ["two", "--shard", "2/2"]]) {
    const { code, stderr } = await task("reproduce", ...encoder, ...shard, "--out", at(out));
    assert.equal(code, 0, stderr);
  }
  const cellsOf = (out: string) => readCells(`${at(out)}/first-table.json`);
  assert.deepEqual((await cellsOf("two")).map(({ label }) => label), ["BoRA r 8 b 16"]);
  const { code, stderr } = await task("report", at("two"), at("one"), "--out", at("merged"));
  assert.equal(code, 0, stderr);
  const [whole, merged] = [await cellsOf("whole"), await cellsOf("merged")];
  assert.equal(metricsOnly(merged), metricsOnly(whole));
  const scores = async (out: string) =>
    (await Deno.readTextFile(`${at(out)}/first-table.md`)).split("## Every metric")[1];
  assert.equal(await scores("merged"), await scores("whole"));

  const write = (cells: Cell[]) => writeCellsTable(`${at("two")}/first-table.json`, cells);
  await write([{ ...merged[0], last: { ...merged[0].last, accuracy: 0.001 } }]);
  const other = await task("report", at("one"), at("two"), "--out", at("merged"));
  assert.equal(other.code, 1);
  assert.match(other.stderr, /supersense \/ LoRA r 8, seed 0: .*one.* and .*two.* have other scores/);
  await write([{ ...merged[0], seed: 1, trainExamples: 7 }]);
  const mixed = await task("report", at("one"), at("two"), "--out", at("merged"));
  assert.match(mixed.stderr, /LoRA r 8 was made in two ways: .*"trainExamples":64.*"trainExamples":7/);
  assert.equal(metricsOnly(await cellsOf("merged")), metricsOnly(whole), "nothing is overwritten");
  assert.match(
    (await task("report", at("nowhere"))).stderr,
    /nowhere is no folder: give one that --out of another command named/,
  );
});

Deno.test("reproduce rank: an analysis table holds its spectra, and says which rows were not run", async () => {
  const out = await Deno.makeTempDir();
  // Wide enough for BoRA's rank of 8 · 16, and no wider: singular values take long.
  const encoder = { ...miniLm, hidden_size: 256, num_attention_heads: 8, intermediate_size: 256 };
  const rows = [...await smallEncoder(out, encoder), "--method", "LoRA r 8", "--method", "BoRA r 8 b 16"];
  const { code, stderr } = await task("reproduce", "rank", ...rows, "--out", out);
  assert.equal(code, 0, stderr);
  const cells = await readCells(`${out}/rank.json`);
  assert.deepEqual(cells.map(({ label }) => label), ["LoRA r 8", "BoRA r 8 b 16"]);
  const ranks = cells.map(({ spectra }) =>
    spectra!.map(({ singularValues }) =>
      singularValues.filter((value) => value > 1e-5 * singularValues[0]).length
    )
  );
  assert.deepEqual(ranks[0], [8, 8, 8, 8]);
  assert.ok(ranks[1].every((rank) => rank > 100), `${ranks[1]}`);
  const page = await Deno.readTextFile(`${out}/rank.md`);
  assert.match(page, /\*\*Here:\*\* 4 of 6 rows were not run/);
  assert.match(page, /\| BoRA r 8 b 16 +\| .*\| +128 \| +yes \|/);
});

Deno.test("reproduce --r --b: rows at other sizes, at their own α/r and learning rate, beside those of an earlier run", async () => {
  const out = await Deno.makeTempDir();
  const rows = [...await smallEncoder(out, tinyBert), "--method", "LoRA r 8", "--method", "BoRA"];
  const at = (...sizes: string[]) => task("reproduce", ...rows, ...sizes, "--out", out);
  const plain = await at();
  assert.equal(plain.code, 0, plain.stderr);
  const { code, stderr } = await at("--r", "4", "--r", "8", "--b", "32", "--resume");
  assert.equal(code, 0, stderr);
  const cells = await readCells(`${out}/first-table.json`);
  const sizes = cells.map(({ label, options: { r, alpha, blocks } }) => ({ label, r, alpha, blocks }));
  assert.deepEqual(sizes, [
    { label: "LoRA r 8", r: 8, alpha: 16, blocks: undefined },
    { label: "BoRA r 8 b 16", r: 8, alpha: 16, blocks: 16 },
    { label: "LoRA r 4", r: 4, alpha: 8, blocks: undefined },
    { label: "BoRA r 4 b 32", r: 4, alpha: 8, blocks: 32 },
    { label: "BoRA r 8 b 32", r: 8, alpha: 16, blocks: 32 },
  ]);
  // r(m + n) for LoRA and r(m + n + b²) for BoRA, of the only query and value, 64 × 64.
  const parameters = Object.fromEntries(cells.map((cell) => [cell.label, cell.adapterParameters]));
  assert.equal(parameters["LoRA r 4"], parameters["LoRA r 8"] / 2);
  assert.equal(parameters["BoRA r 8 b 32"], 2 * 8 * (64 + 64 + 32 * 32));
  const rates = Object.fromEntries(cells.map((cell) => [cell.label, cell.training.learningRate]));
  assert.equal(rates["LoRA r 4"], rates["LoRA r 8"]);
  assert.equal(rates["BoRA r 4 b 32"], rates["BoRA r 8 b 16"]);
  const page = await Deno.readTextFile(`${out}/first-table.md`);
  for (const { label } of cells) assert.match(page, new RegExp(`\\| ${label} +\\|`));

  const uneven = await at("--b", "7");
  assert.equal(uneven.code, 1);
  assert.match(uneven.stderr, /blocks 7 do not divide .*use 4 or 8/);
});

Deno.test("reproduce: a damaged result file is named and left alone", async () => {
  const out = await Deno.makeTempDir();
  await Deno.writeTextFile(`${out}/first-table.json`, '{"half": ');
  const { code, stderr } = await task("reproduce", ...smoke, "--out", out, "--resume");
  assert.equal(code, 1);
  assert.match(stderr, /first-table\.json is not JSON, or is cut short.*run without --resume/);
  assert.equal(await Deno.readTextFile(`${out}/first-table.json`), '{"half": ');
});

Deno.test("reproduce: Ctrl-C ends it within steps, not at the next checkpoint or epoch's end", async () => {
  const out = await Deno.makeTempDir();
  const args = ["--task", "supersense", "--method", "LoRA r 8", "--seeds", "1", "--out", out];
  const { code, stderr } = await outputOf(startTask("reproduce", args, { preload: "interrupt" }));
  assert.equal(code, 130, stderr);
  assert.match(stderr, /Stopped\. The same command with --resume goes on from the last finished cell\./);
  const steps = stderr.match(/^step \d+$/gm)!;
  assert.ok(
    steps.length < 11,
    `${steps.length} steps, two of them golden, and Ctrl-C came after the fifth of 125`,
  );
});

Deno.test("reproduce, report and flops: a mistake on the command line lists what there is", async () => {
  for (
    const [name, args, message] of [
      [
        "reproduce",
        ["--profile", "paper"],
        /^first-table has no profile "paper"; it has smoke, default$/m,
      ],
      [
        "reproduce",
        ["approximation", "--profile", "huge"],
        /no profile "huge"; it has smoke, default, full$/m,
      ],
      ...["glue", "commonsense"].map((table): [string, string[], RegExp] => [
        "reproduce",
        [table, "--profile", "huge"],
        /no profile "huge"; it has smoke, default, full, paper$/m,
      ]),
      ["reproduce", ["--task", "cola"], /cola.*supersense/],
      ["reproduce", ["--method", "QLoRA"], /no system "QLoRA"; have Head only/],
      ["reproduce", ["approximation", "--tune"], /tunes its own learning rates/],
      ["reproduce", ["tables"], /no table "tables"; have first-table, headline, methods, ablation/],
      ["reproduce", ["glue"], /glue wants --data DIR: the folder with GLUE's folders/],
      [
        "reproduce",
        ["headline", "--data", "nowhere", "--list"],
        /^no --data is read by headline; it is for glue, commonsense, math: leave it out$/m,
      ],
      [
        "reproduce",
        ["glue", "--data", "nowhere", "--task", "CB"],
        /no task "CB" is read from a folder; those are CoLA/,
      ],
      ["reproduce", ["glue", "--data", "nowhere"], /nowhere has no SST-2: neither SST-2\/train.tsv/],
      ["reproduce", ["--shard", "3/2"], /--shard wants I\/N with 1 ≤ I ≤ N, such as 2\/4, not "3\/2"/],
      ["reproduce", ["approximation", "--shard", "1/2"], /not made of cells; leave --shard out/],
      ["report", ["--in", "results"], /Unknown option '--in'/],
      ["reproduce", ["--r", "0"], /--r wants a whole number from 1, not "0"/],
      ["reproduce", ["--b", "half"], /--b wants a whole number from 1, or "auto", not "half"/],
      ["reproduce", ["approximation", "--r", "4"], /its own ranks and blocks; leave --r and --b out/],
      ["reproduce", ["--seeds", "0"], /--seeds wants a whole number from 1 to 999999, not "0"/],
      [
        "reproduce",
        ["--seeds", "1000000000"],
        /--seeds wants a whole number from 1 to 999999, not "1000000000"/,
      ],
      [
        "reproduce",
        ["decoders", "--task", "sentiment", "--list"],
        /the table decoders for decoders has no task "sentiment"; it has kinds/,
      ],
      [
        "reproduce",
        ["--checkpoint-every", "0"],
        /--checkpoint-every wants a whole number from 1 to 999999, not "0"/,
      ],
      ["reproduce", ["--epochs", "3"], /Unknown option '--epochs'/],
      ["reproduce", ["--list", "--tune"], /^--tune runs what --list would only print: give one of them$/m],
      ["reproduce", ["--tune", "--estimate"], /^--tune runs what --estimate would only print/m],
      ["reproduce", ["--list", "--estimate", "--json"], /--json prints the estimate alone: leave --list out/],
      ["reproduce", ["--tune", "--shard", "1/2"], /--tune compares all rates of a row: leave --shard out/],
      ["reproduce", ["--tune", "--task", "wic", "--task", "spam"], /--tune chooses by one task/],
      ["reproduce", ["--tune", "--r", "16"], /leave --r and --b out/],
      [
        "reproduce",
        ["ablation", "--tune", "--method", "σ's fan r"],
        /^ablation: these rows have another row's rate, or none; leave --tune out$/m,
      ],
      ["reproduce", ["approximation", "--seeds", "3"], /its own tasks, rows and seeds; leave --seeds out/],
      [
        "reproduce",
        ["approximation", "--method", "LoRA"],
        /its own tasks, rows and seeds; leave --method out/,
      ],
      [
        "reproduce",
        ["headline", "ablation", "--method", "without Exp"],
        /headline has none of the rows that --method names: leave the table out; it has Head only, LoRA r 8/,
      ],
      [
        "reproduce",
        ["--model", "smollm2"],
        /first-table is for encoders, and smollm2 is a decoder; .*decoders, /,
      ],
      ["reproduce", ["--model", ""], /--model is empty: name a model, or leave it out/],
      [
        "reproduce",
        ["--task", "kinds", "--list"],
        /first-table is for encoders, and kinds a task for decoders/,
      ],
      ["reproduce", ["glue", "--data", "", "--list"], /--data is empty: name a folder, or leave it out/],
      ["reproduce", ["--rate", ""], /--rate goes with --estimate/],
      ["flops", ["--model", "GPT-2"], /no model "GPT-2"; have USE-lite, minilm, RoBERTa-base/],
    ] as const
  ) {
    const { code, stderr } = await task(name, ...args);
    // Missing files are only noticed when the folder is read.
    assert.equal(code, message.source.includes("nowhere has no") ? 1 : 2, stderr);
    assert.match(stderr, message);
  }
  const twice = ["first-table", "first-table"];
  for (const tasks of [["--task", "wic"], ["--task", "wic", "--task", "wic"]]) {
    const { code, stdout } = await task("reproduce", ...twice, "--list", ...tasks, "--seeds", "2");
    assert.equal(code, 0);
    assert.equal(stdout.trim().split("\n").length, 10);
  }
});

Deno.test("reproduce --shard: a part beyond the last cell has nothing to do, and says so", () =>
  withFolder(async (folder) => {
    const part = ["--profile", "smoke", "--shard", "9/10", "--out", `${folder}/shard-9`];
    const decoders = ["decoders", "--method", "LoRA r 8", "--estimate"];
    for (const table of [["first-table"], ["first-table", "--estimate"], decoders]) {
      const { code, stderr, stdout } = await task("reproduce", ...table, ...part);
      assert.match(stderr, new RegExp(`^${table[0]}.*: none of its cells is in part 9/10\n$`));
      assert.deepEqual([code, stdout], [0, ""]);
    }
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  }));

Deno.test("reproduce and explain: a model's config.json that is none is named", () =>
  withFiles({ "config.json": "null" }, async (folder) => {
    for (const [name, content] of [["reproduce", "null"], ["explain", '{ "model_type": ']]) {
      await Deno.writeTextFile(`${folder}/config.json`, content);
      const { code, stderr } = await task(
        name,
        "--model",
        folder,
        ...name === "explain" ? ["--device", "gpu"] : ["--list"],
      );
      assert.notEqual(code, 0);
      assert.match(stderr, /config\.json: .*: download or write it again$/m);
    }
  }));

Deno.test("reproduce --list: the cells of tables on the user's data, without the data", async () => {
  const { code, stdout, stderr } = await task("reproduce", "commonsense", "math", "--list", "--seeds", "1");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^commonsense \/ openbookqa \/ LoRA r 32 \/ seed 0$/m);
  assert.match(
    stdout,
    /^math \/ math_10k, tested on gsm8k, SVAMP, AddSub, mawps \/ BoRA r 8 b 16 \/ seed 0$/m,
  );
});
