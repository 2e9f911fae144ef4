/** Cells that several tables, folders or commands share: trained once, merged, and chosen from. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { jsonFiles } from "../lib/files.ts";
import { readCells } from "../lib/report/cell_table.ts";
import type { Cell } from "../lib/report/schema.ts";
import learningRates from "../tasks/learning_rates.json" with { type: "json" };
import { isStudy, tablePage } from "../tasks/report_table.ts";
import { lockFor } from "../tasks/lock.ts";
import { defaultTarget } from "../tasks/targets.ts";
import { taskByName } from "../lib/data/registry.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { ablationTable } from "../tasks/tables/ablation.ts";
import { glueTable } from "../tasks/tables/glue.ts";
import { headlineTable } from "../tasks/tables/headline.ts";
import { tables } from "../tasks/tables/registry.ts";
import { ratesText, trainingAt, trainingOf } from "../tasks/training.ts";
import { cellFiles, madeUpCell, madeUpCells, storedCell, writeCellsTable } from "./support/cells.ts";
import { noAdapter, runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { smallEncoder } from "./support/small_encoder.ts";
import { tinyBert } from "./support/tiny_bert.ts";

/** Runs a command that must succeed, and gives what it printed. */
async function run(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(name, args);
  assert.equal(code, 0, stderr);
  return stdout;
}

Deno.test("tables that share a cell agree on whether it has its spectra: none replaces what another shows", () => {
  const made = tables.flatMap((table) => isStudy(table) ? [] : [table]);
  const cells = made.flatMap((table) =>
    Object.values(table.profiles).flatMap(({ tasks, train, dev, training }) =>
      table.rows.map(({ label, method, options, target = defaultTarget }) => ({
        name: `${table.name}: ${label}`,
        key: JSON.stringify([
          tasks,
          train,
          dev,
          training,
          method,
          Object.entries(options).toSorted(),
          target,
        ]),
        spectra: table.spectra?.includes(label) ?? false,
      }))
    )
  );
  for (const own of Map.groupBy(cells, ({ key }) => key).values()) {
    assert.equal(new Set(own.map(({ spectra }) => spectra)).size, 1, own.map(({ name }) => name).join("; "));
  }
});

Deno.test("a cell that three tables show, in one of them by another label, is trained once", () =>
  withFolder(async (out) => {
    const smoke = [...await smallEncoder(out, tinyBert), "--out", out];
    await run("reproduce", "granularity", ...smoke, "--method", "BoRA QV");
    const files = await cellFiles(out, "BoRA");
    assert.equal(files.length, 1);
    const trained = await Deno.readFile(files[0]);
    await run("reproduce", "headline", "ablation", ...smoke, "--method", "BoRA r 8 b 16", "--resume");
    assert.deepEqual(await cellFiles(out, "BoRA"), files);
    assert.deepEqual(await Deno.readFile(files[0]), trained);
    for (const table of ["headline", "ablation"]) {
      assert.ok(!existsSync(`${out}/${table}.log.jsonl`), "no step was run");
      const [cell, ...others] = await readCells(`${out}/${table}.json`);
      assert.deepEqual([cell.table, cell.label, others], [table, "BoRA r 8 b 16", []]);
      const [own] = await readCells(`${out}/granularity.json`);
      assert.deepEqual(storedCell(cell), storedCell(own));
      assert.match(await Deno.readTextFile(`${out}/${table}.md`), /\| BoRA r 8 b 16 +\|/);
    }
  }));

Deno.test("reproduce --tune: a cell a rate, in the store of --out; with --resume nothing is trained again", () =>
  withFolder(async (out) => {
    const args = ["--tune", "--profile", "smoke", "--method", "Head only", "--out", out];
    const chosen = async (...more: string[]) => {
      const stdout = await run("reproduce", ...args, ...more);
      return JSON.parse(stdout.slice(stdout.indexOf("\n{\n")));
    };
    const { "USE-lite": { supersense: first, ...tasks }, ...others } = await chosen();
    assert.deepEqual([tasks, others], [{}, {}]);
    assert.match(
      first.chosenBy[0],
      /--tune --profile smoke: supersense, 64 examples, 1 seed\(s\), 32 held out of train/,
    );
    const scores: number[] = first.heldOutScores["Head only"];
    assert.equal(scores.length, learningRates.grids.encoders.length);
    assert.ok(scores.every((score) => score > 0 && score < 1), `${scores}`);
    assert.equal(first.rates["Head only"], learningRates.grids.encoders[scores.indexOf(Math.max(...scores))]);

    const files = await jsonFiles(out);
    assert.equal((await cellFiles(out, "head-only")).length, learningRates.grids.encoders.length);
    assert.ok(!existsSync(`${out}/first-table.json`), "tuning is no table");
    const kept = [...files, `${out}/first-table-tuning.log.jsonl`];
    const bytesOf = () => Promise.all(kept.map((path) => Deno.readFile(path)));
    const before = await bytesOf();
    assert.deepEqual((await chosen("--resume"))["USE-lite"].supersense, first);
    assert.deepEqual(await jsonFiles(out), files);
    assert.deepEqual(await bytesOf(), before);
  }));

/** Two folders: the tables headline and ablation, which share a cell, one of each. */
async function writeTwo(folder: string): Promise<{ readonly headline: Cell[]; readonly ablation: Cell[] }> {
  const of = (table: string, label: string, seed = 0) => madeUpCell({ table, label, seed });
  const headline = [
    of("headline", "LoRA r 8"),
    of("headline", "LoRA r 8", 1),
    of("headline", "BoRA r 8 b 16"),
  ];
  const ablation = [of("ablation", "LoRA r 8"), of("ablation", "without Exp")];
  await writeCellsTable(`${folder}/one/headline.json`, headline);
  await writeCellsTable(`${folder}/two/ablation.json`, ablation);
  return { headline, ablation };
}

Deno.test("--tune of a published protocol tries rates in its place, with all else as the protocol says", () => {
  const [profile, model] = [glueTable.profiles.paper, tinyEncoder()];
  const task = { ...taskByName("sentiment"), name: "RTE" };
  const published = trainingOf(profile, glueTable.rows[0], task, model);
  assert.deepEqual(trainingAt(profile, 0.25, task, model), { ...published, learningRate: 0.25 });
  assert.ok(published.epochs > 1 && published.learningRate !== 0.25);
});

Deno.test("deno task report: the stores of two folders become one, which holds the cells and labels of both's tables", () =>
  withFolder(async (folder) => {
    const { headline, ablation } = await writeTwo(folder);
    await run("report", `${folder}/one`, `${folder}/two`, "--out", `${folder}/both`);
    assert.deepEqual(await readCells(`${folder}/both/headline.json`), headline);
    assert.deepEqual(await readCells(`${folder}/both/ablation.json`), ablation);
    const namesIn = async (name: string) =>
      (await jsonFiles(`${folder}/${name}/cells`)).map((path) => path.slice(`${folder}/${name}`.length));
    const union = new Set([...await namesIn("one"), ...await namesIn("two")]);
    assert.equal(union.size, 5, "four cells, and the labels that all share");
    assert.deepEqual(await namesIn("both"), [...union].toSorted());
  }));

Deno.test("deno task report: cells that only the output folder's record names are not lost, nor other records there", () =>
  withFolder(async (folder) => {
    const of = (seed: number, model = "tiny") => madeUpCell({ table: "headline", seed, model });
    const [all, one, alien] = ["all", "one", "alien"].map((name) => `${folder}/${name}`);
    await writeCellsTable(`${all}/headline.json`, [of(0), of(1)]);
    await writeCellsTable(`${one}/headline.json`, [of(2)]);
    await writeCellsTable(`${alien}/headline.json`, [of(0, "another")]);
    const record = await Deno.readTextFile(`${all}/headline.json`);
    for (const from of [one, alien]) {
      const { code, stderr } = await runTask("report", [from, "--out", all]);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /all\/headline\.json holds what the given folders do not: give its folder as well/,
      );
    }
    assert.equal(await Deno.readTextFile(`${all}/headline.json`), record);
    assert.ok(!existsSync(`${all}/headline.json.lock`) && !existsSync(`${all}/headline.lock`));
    // With its folder they are merged, and again: a shard that is merged twice changes nothing.
    await run("report", one, all, "--out", all);
    const merged = await Deno.readTextFile(`${all}/headline.json`);
    assert.deepEqual((await readCells(`${all}/headline.json`)).map(({ seed }) => seed), [0, 1, 2]);
    await run("report", one, all, "--out", all);
    assert.equal(await Deno.readTextFile(`${all}/headline.json`), merged);

    const costs = await Deno.readTextFile(new URL("../results/costs.json", import.meta.url));
    await Deno.writeTextFile(`${all}/costs.json`, costs.replace("\n", "\n "));
    await Deno.writeTextFile(`${one}/costs.json`, costs);
    await Deno.remove(`${one}/headline.json`);
    const other = await runTask("report", [one, "--out", all]);
    assert.match(other.stderr, /all\/costs\.json holds what the given folders do not/);
  }));

Deno.test("deno task report: while a run writes the table, nothing is merged into it", () =>
  withFolder(async (folder) => {
    const { headline } = await writeTwo(folder);
    await writeCellsTable(`${folder}/out/headline.json`, headline);
    using _ = await lockFor(`${folder}/out/headline`);
    const { code, stderr } = await runTask("report", [`${folder}/one`, "--out", `${folder}/out`]);
    assert.equal(code, 1);
    assert.match(stderr, /another run is writing .*out\/headline \(process \d+ on /);
  }));

Deno.test("deno task report: a cell that is lacking is told with its row before anything is written", () =>
  withFolder(async (folder) => {
    await writeTwo(folder);
    const [first] = await cellFiles(`${folder}/one`, "LoRA");
    await Deno.remove(first);
    const { code, stderr } = await runTask("report", [`${folder}/one`, "--out", `${folder}/both`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /one\/cells has no cell of .* on supersense with seed \d, which .*headline\.json names: run/,
    );
    assert.ok(!existsSync(`${folder}/both/headline.json`));
  }));

Deno.test("a page that is rendered from its record compares with the reference at the sizes that it was run at", () =>
  withFolder(async (folder) => {
    const path = `${folder}/headline.json`;
    const labels = ["LoRA r 16", "BoRA r 16 b 16"];
    const size = { tasks: ["supersense"], seeds: 3, devExamples: 100 };
    await writeCellsTable(path, madeUpCells({ table: "headline", labels, ...size }));
    const page = (await tablePage(headlineTable).rendered(path))[".md"];
    assert.match(page, /^## Compared with LoRA r 16$/m);
    assert.match(page, /Learning rates \(\S+\) – another row's: LoRA r 16, BoRA r 16 b 16\./);
    assert.match(page, /^\| BoRA r 16 b 16 \| +24,576 \| +3 \| [^|]+ \| +[+−]\d/m);
  }));

Deno.test("one table is of one model, one profile and one length of training", () =>
  withFolder(async (folder) => {
    const headline = (labels: readonly string[]) =>
      madeUpCells({ table: "headline", labels, tasks: ["supersense"], seeds: 1, devExamples: 40 });
    const [lora, bora] = [headline(["LoRA r 8"]), headline(["BoRA r 8 b 16"])];
    await writeCellsTable(`${folder}/lora/headline.json`, lora);
    const merged = async (cells: readonly Cell[]) => {
      await writeCellsTable(`${folder}/bora/headline.json`, cells);
      const { code, stderr } = await runTask("report", [
        ...[`${folder}/lora`, `${folder}/bora`, "--out", `${folder}/both`],
      ]);
      await Deno.remove(`${folder}/bora`, { recursive: true });
      assert.equal(existsSync(`${folder}/both/headline.json`), code === 0);
      if (code === 0) await Deno.remove(`${folder}/both`, { recursive: true });
      return `${code} ${stderr}`;
    };
    const changed = (fields: Partial<Cell>) => merged(bora.map((cell) => ({ ...cell, ...fields })));
    assert.match(await changed({}), /^0/);
    assert.match(
      await changed({ profile: "other" }),
      /^1 .*lora\/headline\.json is of the profile .* of other: leave/s,
    );
    const refused = /^1 .*LoRA r 8" and .*BoRA r 8 b 16" are of two experiments/s;
    assert.match(await changed({ model: "MiniLM", modelDigest: "1".repeat(64) }), refused);
    assert.match(await changed({ training: { ...bora[0].training, epochs: 7 } }), refused);
  }));

Deno.test("a page says where its learning rates are from, and has a finding where the profile's rows are there", () =>
  withFolder(async (folder) => {
    const labels = [
      "LoRA r 8",
      "MELoRA r 8 b 16",
      "without Exp",
      "σ's fan r",
      "BoRA r 8 b 16",
      "without Norm",
      "σ's fan n",
    ];
    const table = { table: "ablation", tasks: ["supersense"], seeds: 1, devExamples: 40 };
    const rated = madeUpCells({ ...table, labels }).map((cell) => ({
      ...cell,
      model: "USE-lite",
      profile: "default",
    }));
    const at = (cells: readonly Cell[], rate: number) =>
      cells.map((cell) => ({ ...cell, training: { ...cell.training, learningRate: rate } }));
    const text = (cells: readonly Cell[]) => ratesText(ablationTable, cells);
    assert.match(
      text(at(rated, 0.003)),
      /chosen on examples held out of train: LoRA r 8, BoRA r 8 b 16; another row's: σ's fan r, σ's fan n; not chosen by row: without Exp, without Norm\.$/,
    );
    assert.match(text(at(rated, 0.1)), /not chosen by row: LoRA r 8, BoRA r 8 b 16, without Exp/);
    const tuned = at(rated, 0.01);
    assert.match(
      ratesText(headlineTable, tuned),
      /chosen on examples held out of train, at an end of the grid, .*: MELoRA r 8 b 16/,
    );
    const other = at(rated, 0.003).map((cell) => ({ ...cell, model: "<Mini>" }));
    assert.match(text(other), /All are those of USE-lite: none was chosen on &lt;Mini&gt;\.$/);
    const onTask = (task: string) => at(rated, 0.003).map((cell) => ({ ...cell, task }));
    assert.match(
      text(onTask("STS-B")),
      /– chosen on examples held out of supersense: LoRA r 8, BoRA r 8 b 16; /,
    );
    assert.equal(
      ratesText(glueTable, rated.map((cell) => ({ ...cell, profile: "paper" }))),
      "Learning rates are the protocol's.",
    );
    const { profiles: { default: { rows } } } = glueTable;
    const page = async (labels: readonly string[]) => {
      await writeCellsTable(
        `${folder}/glue.json`,
        madeUpCells({ ...table, table: "glue", labels }).map((cell) => ({ ...cell, profile: "default" })),
      );
      return (await tablePage(glueTable).rendered(`${folder}/glue.json`))[".md"];
    };
    assert.match(await page(rows!), /\*\*Here:\*\* (agrees|disagrees|within|cannot)/);
    assert.match(await page(rows!.slice(1)), /\*\*Here:\*\* 1 of 4 rows were not run\./);
  }));

Deno.test("a task with rates of its own is trained with them, rows that lack one with those of the model's first task, and the page says so", () => {
  const models: Record<string, Record<string, unknown>> = learningRates.models;
  const chosen = (label: string, rate: number, scores: number[]) => ({
    ...{ chosenBy: ["a test"], rates: { [label]: rate }, heldOutScores: { [label]: scores } },
  });
  models["two tasks"] = {
    supersense: chosen("LoRA r 8", 0.003, [0.6, 0.7, 0.5]),
    "STS-B": chosen("LoRA r 32", 0.001, [0.8, 0.7, 0]),
  };
  try {
    const model = { ...tinyEncoder(), name: "two tasks" };
    const { rows, profiles } = glueTable;
    const rateOf = (label: string, task: string) => {
      const row = rows.find((own) => own.label === label)!;
      return trainingOf(profiles.default, row, { ...taskByName("supersense"), name: task }, model)
        .learningRate;
    };
    assert.deepEqual(["SST-2", "STS-B"].map((task) => rateOf("LoRA r 8", task)), [0.003, 0.003]);
    assert.deepEqual(["SST-2", "STS-B"].map((task) => rateOf("LoRA r 32", task)), [0.003, 0.001]);
    assert.equal(
      rateOf("Head only", "STS-B"),
      learningRates.models["USE-lite"].supersense.rates["Head only"],
    );

    const labels = ["LoRA r 8", "LoRA r 32"];
    const cells = madeUpCells({
      table: "glue",
      tasks: ["SST-2", "STS-B"],
      seeds: 1,
      devExamples: 40,
      labels,
    });
    const trained = cells.map((cell) => ({
      ...{ ...cell, model: model.name, profile: "default" },
      training: { ...cell.training, learningRate: rateOf(cell.label, cell.task) },
    }));
    assert.equal(
      ratesText(glueTable, trained),
      "Learning rates (tasks/learning_rates.json) – on SST-2 chosen on examples held out of supersense: LoRA r 8; " +
        "not chosen by row: LoRA r 32. Those on STS-B chosen on examples held out of train, at an end of the grid, beyond which " +
        "another may be better: LoRA r 32; not chosen by row: LoRA r 8.",
    );
  } finally {
    delete models["two tasks"];
  }
});

Deno.test("deno task cells: the list has every table of cells but the first and math, with what is done and what there will be", async () => {
  const printed = await withFolder(async (data) => {
    await Deno.mkdir(`${data}/glue`);
    const printed = await run("cells", "--list", "--data", data);
    assert.match(
      printed,
      new RegExp(`^results/commonsense-smollm2: .*; left out, for want of ${data}/llm-adapters$`, "m"),
    );
    assert.doesNotMatch(printed, new RegExp(`for want of ${data}/glue$`, "m"));
    return printed;
  });
  const listed = [
    ...printed.matchAll(
      /^results\/(?:(?:minilm|prompted)\/)?([a-z]+)(?:-smollm2)?: (\d+) of (\d+) cells(?:; left out, .+)?$/gm,
    ),
  ];
  assert.equal(listed.length, printed.trim().split("\n").length, printed);
  const made = new Set(tables.filter((table) => !isStudy(table)).map(({ name }) => name));
  for (const name of ["first-table", "math"]) assert.ok(made.delete(name));
  assert.deepEqual(new Set(listed.map(([, name]) => name)), made);
  assert.match(printed, /^results\/commonsense-smollm2: \d+ of 5 cells;/m);
  assert.match(printed, /^results\/prompted\/commonsense-smollm2: \d+ of 5 cells;/m);
  for (const [line, , done, all] of listed) assert.ok(Number(done) <= Number(all) && Number(all) > 0, line);
  assert.match(printed, /^results\/headline: \d+ of 45 cells$/m);
  assert.match(printed, /^results\/minilm\/headline: \d+ of 45 cells/m);
  assert.match(await run("cells", "--list"), /^(?!.*glue)/s);
  // Before anything is trained: without an adapter nothing is, whatever it does.
  const { code, stderr } = await runTask("cells", ["--data", "nowhere"], noAdapter);
  assert.match(
    stderr,
    /^nowhere has neither a folder glue nor llm-adapters: give the folder that holds them, or leave --data out/,
  );
  assert.equal(code, 2);
});
