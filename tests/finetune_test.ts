/**
 * Users' own tables: fine-tuned and merged from the command line into folders that transformers and PEFT can
 * read.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { readLabels } from "../lib/adapters/labels.ts";
import { lora } from "../lib/adapters/lora.ts";
import { saveAdapter } from "../lib/adapters/peft.ts";
import { loadOwnTask, type OwnTaskOptions } from "../lib/data/own_task.ts";
import { readTable } from "../lib/data/table_file.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Weight } from "../lib/models/model.ts";
import { fromFloat32, type NamedTensor, readSafetensors, toFloat32 } from "../lib/models/safetensors.ts";
import { writeTensors } from "../lib/models/safetensors_writer.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { encodeExamples, type EpochScores } from "../lib/train/fine_tune.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { cases } from "./support/bert_reference.ts";
import { cardFields, cardScores } from "./support/card_fields.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { bytesIn, type CheckpointOptions, writeCheckpoint } from "./support/seeded_checkpoint.ts";

const task = (name: string, ...args: string[]) => runTask(name, args);

/** A folder with a base in `base`, for the time of `use`. */
async function withBase(
  name: string,
  options: CheckpointOptions,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    await writeCheckpoint(`${folder}/base`, cases[name].config, options);
    await use(folder);
  });
}

/** Forty texts over the checkpoint's few words: those with a c are "sea". */
const texts = Array.from(
  { length: 40 },
  (_, i) => `${"a b ".repeat(1 + i % 5)}${i % 2 ? "c" : "a,\na"} ${"b ".repeat(i % 7)}`.trim(),
);
const csv = `text,kind\n${texts.map((text, i) => `"${text}",${i % 2 ? "sea" : "land"}\n`).join("")}`;

const briefly = ["--learning-rate", "1e-2", "--batch-size", "8", "--epochs", "2", "--max-tokens", "16"];

/** Every tensor of a folder's files. */
async function tensorsIn(folder: string): Promise<Map<string, NamedTensor>> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
    name.endsWith(".safetensors")
  );
  const files = await Promise.all(names.map((name) => readSafetensors(`${folder}/${name}`)));
  return new Map(files.flatMap(({ tensors }) => [...tensors]));
}

Deno.test("finetune on a .csv, then merge: the merged folder's logits are those of base and adapter, all else the base's bytes", () =>
  withBase("RoBERTa", { shards: 3 }, async (folder) => {
    const [data, base, adapter, merged] = ["data.csv", "base", "adapter", "merged"].map((name) =>
      `${folder}/${name}`
    );
    await Deno.writeTextFile(data, csv);
    const columns = ["--text", "text", "--label", "kind"];
    const trained = await task(
      "finetune",
      "--model",
      base,
      "--train",
      data,
      ...columns,
      ...briefly,
      "--out",
      `${folder}/none/../adapter/`,
    );
    assert.equal(trained.code, 0, trained.stderr);
    assert.match(trained.stdout, /^36 examples to train on, 4 to evaluate on; classes land, sea$/m);
    assert.deepEqual(
      trained.stdout.match(/^epoch \d: loss [\d.]+, accuracy [\d.]+, macroF1 [\d.]+$/gm)?.length,
      2,
    );
    const made = await task("merge", "--model", base, "--adapter", adapter, "--out", `${merged}/`);
    assert.equal(made.code, 0, made.stderr);

    const gpu = await testGpu();
    const own = await loadOwnTask({ train: data, text: "text", label: "kind", maxTokens: 16 });
    const { train } = await own.load();
    const model = await loadEncoder(base);
    const objective = objectiveOf(model, own, train[0]);
    const examples = encodeExamples(model, own, train);
    using adapted = new AdaptedModel(gpu, model);
    await adapted.load("own", adapter);
    const expected = await adapted.predict(objective, examples);
    const another = objectiveOf(model, { ...own, labels: [...own.labels, "air"] }, train[0]);
    const shapes = /"[\w.]+" of the active adapter "own" is \[2.*the objective wants \[3.*call setActive/;
    await assert.rejects(() => adapted.predict(another, examples), shapes);
    adapted.disable();
    await assert.rejects(() => adapted.predict(another, examples), shapes);
    const bare = await adapted.predict(objective, examples);

    const whole = await loadEncoder(merged);
    const tensors = await tensorsIn(merged);
    const { module } = whole.head;
    const headWeights = [...tensors].filter(([name]) => name.startsWith(`${module}.`)).map((
      [name, tensor],
    ): [string, Weight] => [name, { shape: tensor.shape, data: toFloat32(tensor) }]);
    using alone = new AdaptedModel(gpu, whole);
    alone.add("head", attach(whole, headOnly, { target: "all-linear" }), new Map(headWeights));
    const found = await alone.predict(objective, encodeExamples(whole, own, train));
    for (const [i, logits] of expected.entries()) {
      assert.ok(relativeError(found[i], logits) < 1e-4, `example ${i}: ${found[i]} and ${logits}`);
    }
    assert.ok(
      expected.some((logits, i) => relativeError(bare[i], logits) > 1e-2),
      "the adapter changes something",
    );

    const before = await tensorsIn(base);
    const changed = [...before].filter(([name, { dtype, shape, data }]) => {
      const after = tensors.get(name)!;
      assert.deepEqual([after.dtype, after.shape], [dtype, shape], name);
      return !data.every((byte, at) => byte === after.data[at]);
    });
    assert.deepEqual(
      changed.map(([name]) => name).toSorted(),
      [0, 1].flatMap((i) =>
        ["query", "value"].map((name) => `roberta.encoder.layer.${i}.attention.self.${name}.weight`)
      ),
    );
    assert.equal(tensors.size, before.size + 4, "the head's four are all that is new");
    const config = JSON.parse(await Deno.readTextFile(`${merged}/config.json`));
    assert.deepEqual(config, {
      ...cases.RoBERTa.config,
      architectures: ["RobertaForSequenceClassification"],
      problem_type: "single_label_classification",
      id2label: { 0: "land", 1: "sea" },
      label2id: { land: 0, sea: 1 },
    });
    assert.deepEqual(
      [...Deno.readDirSync(merged)].map(({ name }) => name).toSorted(),
      ["README.md", "config.json", "model.safetensors", "vocab.txt"],
    );
    const { library_name, pipeline_tag } = cardFields(await Deno.readTextFile(`${merged}/README.md`));
    assert.deepEqual([library_name, pipeline_tag], ["transformers", "text-classification"]);
  }));

/** What `finetune` says of a base on forty texts, with more options, and the folder that it wrote. */
async function finetuned(folder: string, name: string, ...options: string[]) {
  const [data, out] = [`${folder}/data.csv`, `${folder}/${name}`];
  await Deno.writeTextFile(data, csv);
  const columns = ["--text", "text", "--label", "kind", "--max-tokens", "16", "--batch-size", "8"];
  const source = ["--model", `${folder}/base`, "--train", data, ...columns];
  return { out, ...await task("finetune", ...source, ...options, "--out", out) };
}

Deno.test("finetune --keep best writes the epoch with the first best score, --keep last the last", () =>
  withBase("RoBERTa", {}, async (folder) => {
    const run = async (keep: string) => {
      const options = ["--epochs", "6", "--learning-rate", "1e-2", "--warmup-steps", "2"];
      const { out, code, stdout, stderr } = await finetuned(folder, keep, ...options, "--keep", keep);
      assert.equal(code, 0, stderr);
      const accuracies = [...stdout.matchAll(/^epoch \d: .*accuracy ([\d.]+)/gm)].map(([, score]) => +score);
      const weights = await Deno.readFile(`${out}/adapter_model.safetensors`);
      return { accuracies, weights, said: stdout.match(/^kept: .*$/m)?.[0] };
    };
    const [best, last] = [await run("best"), await run("last")];
    assert.deepEqual(best.accuracies, last.accuracies);
    const first = best.accuracies.indexOf(Math.max(...best.accuracies));
    assert.ok(first < 5, `accuracies ${best.accuracies}: the best is not the last`);
    assert.equal(best.said, `kept: epoch ${first + 1} of 6, the best by accuracy`);
    assert.equal(last.said, undefined);
    assert.notDeepEqual(best.weights, last.weights);
  }));

Deno.test("finetune: how it warms up changes the adapter; mistakes and a run that diverges leave no folder", () =>
  withBase("RoBERTa", {}, async (folder) => {
    const adapter = async (name: string, ...options: string[]) => {
      const { out, code, stderr } = await finetuned(folder, name, "--epochs", "1", ...options);
      assert.equal(code, 0, stderr);
      return await Deno.readFile(`${out}/adapter_model.safetensors`);
    };
    // 36 examples in batches of 8 are five steps, and 0.03 of them one.
    const usual = await adapter("usual");
    assert.deepEqual(await adapter("one", "--warmup-steps", "1"), usual);
    const json = await finetuned(folder, "json", "--epochs", "2", "--json");
    assert.equal(json.code, 0, json.stderr);
    const { epochs, kept, labels, examples, method } = JSON.parse(json.stdout);
    assert.deepEqual([method, kept, labels, examples], ["BoRA", 1, ["land", "sea"], { train: 36, dev: 4 }]);
    const card = await Deno.readTextFile(`${json.out}/README.md`);
    const { accuracy, macroF1 } = epochs[kept].metrics;
    assert.deepEqual(cardScores(card), {
      Accuracy: Number(accuracy.toFixed(6)),
      "F1, mean over classes": Number(macroF1.toFixed(6)),
    });
    assert.match(card, /^On the held-out tenth of data\.csv, 4 examples, after that epoch:$/m);
    const said = [...json.stderr.matchAll(/^epoch \d: loss ([\d.]+), accuracy ([\d.]+)/gm)];
    assert.deepEqual(
      epochs.map((own: EpochScores) => [own.trainLoss.toFixed(4), own.metrics.accuracy!.toFixed(4)]),
      said.map(([, loss, accuracy]) => [loss, accuracy]),
    );
    assert.notDeepEqual(await adapter("three", "--warmup-steps", "3"), usual);
    for (
      const [code, message, ...options] of [
        [2, /--keep wants best or last, not "first"/, "--keep", "first"],
        [2, /--warmup-steps wants a whole number from 0, not 1\.5/, "--warmup-steps", "1.5"],
        [
          1,
          /^Step \d+: loss .* Nothing is written to .*none\.$/m,
          "--learning-rate",
          "1e30",
          "--epochs",
          "9",
        ],
      ] as const
    ) {
      const ended = await finetuned(folder, "none", ...options);
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr, message);
      await assert.rejects(() => Deno.stat(ended.out), Deno.errors.NotFound);
    }
  }));

Deno.test("a bare trunk in BF16, pairs and a regression: names get their prefix, merged weights and the head are rounded to BF16", () =>
  withBase(
    "BERT on pairs",
    { dtype: "BF16", rename: (name) => name.replace("bert.", "") },
    async (folder) => {
      const [data, base, adapter, merged] = ["data.jsonl", "base", "adapter", "merged"].map((name) =>
        `${folder}/${name}`
      );
      const lines = texts.map((first, i) =>
        JSON.stringify({ first, second: texts[(i * 7) % 40], score: i % 5 / 2 })
      );
      await Deno.writeTextFile(data, lines.join("\n"));
      const columns = ["--text", "first", "--pair", "second", "--label", "score", "--regression"];
      const { code, stdout, stderr } = await task(
        "finetune",
        ...[
          "--model",
          base,
          "--train",
          data,
          "--dev",
          data,
          ...columns,
          ...briefly,
          "--method",
          "LoRA",
          "--r",
          "2",
        ],
        ...["--target", "output.dense", "--out", adapter],
      );
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^epoch 2: loss [\d.]+, pearson -?[\d.]+, spearman -?[\d.]+$/m);
      const made = await task("merge", "--model", base, "--adapter", adapter, "--out", merged);
      assert.equal(made.code, 0, made.stderr);

      using adapted = new AdaptedModel(await testGpu(), await loadEncoder(base));
      await adapted.load("own", adapter);
      await adapted.merge();
      const expected = adapted.mergedWeights();
      const [before, after] = [await tensorsIn(base), await tensorsIn(merged)];
      assert.deepEqual(
        [...after.keys()].toSorted(),
        [...[...before.keys()].map((name) => `bert.${name}`), "classifier.bias", "classifier.weight"]
          .toSorted(),
      );
      for (const [name, { dtype, data }] of after) {
        assert.equal(dtype, "BF16");
        if (!name.startsWith("classifier.")) {
          assert.deepEqual(data, bytesIn("BF16", expected.get(name)!.data), name);
        }
      }
      const { tensors } = await readSafetensors(`${adapter}/adapter_model.safetensors`);
      const objective = toFloat32(tensors.get("base_model.model.classifier.weight")!).slice();
      assert.deepEqual(after.get("classifier.weight")!.data, bytesIn("BF16", objective));
      const { problem_type, id2label } = JSON.parse(await Deno.readTextFile(`${merged}/config.json`));
      assert.deepEqual({ problem_type, id2label }, {
        problem_type: "regression",
        id2label: { 0: "LABEL_0" },
      });
    },
  ));

Deno.test("merge refuses a method that depends on the input, a folder that exists and other labels; finetune, mistakes before it trains", () =>
  withBase("RoBERTa", {}, async (folder) => {
    const [data, base, adapter, merged] = ["data.csv", "base", "adapter", "merged"].map((name) =>
      `${folder}/${name}`
    );
    await Deno.writeTextFile(data, csv);
    const columns = ["--model", base, "--train", data, "--text", "text", "--label", "kind"];
    const refused = async (code: number, message: RegExp, name: string, ...args: string[]) => {
      const result = await task(name, ...args);
      assert.match(result.stderr, message);
      assert.equal(result.code, code, result.stderr);
    };
    const mixture = await task("finetune", ...columns, ...briefly, "--method", "HydraLoRA", "--out", adapter);
    assert.equal(mixture.code, 0, mixture.stderr);
    const merge = ["--model", base, "--adapter", adapter, "--out"];
    await refused(1, /HydraLoRA cannot be merged/, "merge", ...merge, merged);
    await refused(2, /base exists: move it away/, "merge", ...merge, base);
    await refused(2, /--model, --adapter and --out/, "merge", "--model", base);
    await refused(2, /adapter exists: move it away/, "finetune", ...columns, "--out", adapter);
    await refused(2, /--out is missing/, "finetune", "--model", base, "--train", data);
    const onTexts = ["--model", base, "--train", data, "--out", merged];
    await refused(2, /--text is missing/, "finetune", ...onTexts, "--label", "kind");
    await refused(2, /is no decoder: name the table's columns by --text and --label/, "finetune", ...onTexts);
    await refused(
      2,
      /--epochs wants a whole number from 1, not 0\.5/,
      "finetune",
      ...columns,
      "--out",
      merged,
      "--epochs",
      "0.5",
    );
    // The model does not exist either, but the error comes before it is read.
    const elsewhere = ["--model", `${folder}/none`, "--out", `${folder}/a/b/c`];
    for (
      const [option, value, message] of [
        ["--loss", "all", /--loss is for texts, and a table's labels have a loss of their own: leave it out/],
        ["--seed", "4294967296", /seed is 4294967296: use a whole number below 2³²/],
        ["--learning-rate", "1e39", /learningRate is 1e\+39: use a number from 0 that a float32 holds/],
      ] as const
    ) {
      await refused(2, message, "finetune", ...columns, ...elsewhere, option, value);
    }
    await refused(1, /none/, "finetune", ...columns, ...elsewhere);
    assert.ok(!existsSync(`${folder}/a`), "the folders above --out are gone again");
    // The table does not exist either, but the error comes before it is read.
    await refused(
      2,
      /--max-tokens is 4096, and base has positions for 38 tokens: use 38 or fewer/,
      "finetune",
      ...columns,
      "--train",
      `${folder}/none.csv`,
      "--out",
      merged,
      "--max-tokens",
      "4096",
    );
    await refused(
      2,
      /LoRA has no option "blocks"/,
      "finetune",
      ...columns,
      "--out",
      merged,
      "--method",
      "LoRA",
      "--blocks",
      "4",
    );
    await refused(
      2,
      /GRALORA wants a number .* not "auto"/,
      "finetune",
      ...columns,
      "--out",
      merged,
      "--method",
      "GraLoRA",
      "--blocks",
      "auto",
    );
    await refused(
      1,
      /data\.csv line 1 has no column "class"; it has "text", "kind"/,
      "finetune",
      ...columns,
      "--label",
      "class",
      "--out",
      merged,
    );
    await assert.rejects(() => Deno.stat(merged), Deno.errors.NotFound);
    await assert.rejects(() => Deno.stat(`${merged}.part`), Deno.errors.NotFound);

    await assert.rejects(
      () => readLabels(adapter, 3),
      /labels\.json: id2label has the ids 0, 1, and the head has 3/,
    );
    assert.equal(await readLabels(base, 3), undefined);
  }));

Deno.test("a method's own defaults hold unless an option says otherwise", () =>
  withBase("RoBERTa", {}, async (folder) => {
    await Deno.writeTextFile(`${folder}/data.csv`, csv);
    const configOf = async (method: string, ...more: string[]) => {
      const out = `${folder}/${method} ${more.join(" ")}`;
      const { code, stderr } = await task(
        ...["finetune", "--model", `${folder}/base`, "--train", `${folder}/data.csv`] as const,
        ...["--text", "text", "--label", "kind", ...briefly, "--epochs", "1"],
        ...["--method", method, ...more, "--out", out],
      );
      assert.equal(code, 0, stderr);
      return JSON.parse(await Deno.readTextFile(`${out}/adapter_config.json`));
    };
    const { r, randlora_alpha, randlora_dropout } = await configOf("RandLoRA");
    assert.deepEqual([r, randlora_alpha, randlora_dropout], [32, 640, 0.05]);
    const gra = await configOf("GraLoRA", "--r", "4", "--dropout", "0");
    assert.deepEqual([gra.r, gra.alpha, gra.gralora_k, gra.gralora_dropout], [4, 16, 2, 0]);
  }));

Deno.test("a merge that cannot be finished leaves nothing: no objective, and weights beyond F16", () =>
  withBase("RoBERTa", { dtype: "F16" }, async (folder) => {
    const [base, adapter, merged] = ["base", "adapter", "merged"].map((name) => `${folder}/${name}`);
    const model = await loadEncoder(base);
    const plan = attach(model, lora, { r: 1, target: ["value"] });
    const filled = (shape: readonly number[]): Weight => ({
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1000),
    });
    const layers = [...plan.parameters].map(([name, { shape }]): [string, Weight] => [name, filled(shape)]);
    const refused = async (weights: Map<string, Weight>, message: RegExp) => {
      await saveAdapter(adapter, model, plan, weights);
      await assert.rejects(async () => saveMerged(await testGpu(), base, adapter, merged), message);
      assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).toSorted(), ["adapter", "base"]);
    };
    await refused(new Map(layers), /adapter has no head/);
    const head = Object.entries({
      "dense.weight": [32, 32],
      "dense.bias": [32],
      "out_proj.weight": [2, 32],
      "out_proj.bias": [2],
    });
    const whole = [
      ...layers,
      ...head.map(([name, shape]): [string, Weight] => [`classifier.${name}`, filled(shape)]),
    ];
    await refused(new Map(whole), /"roberta\..*value\.weight" holds values that are not finite as F16/);
  }));

/** Writes a table and reads it as a task. */
function readOwn(
  folder: string,
  name: string,
  content: string | Uint8Array<ArrayBuffer>,
  more: Partial<OwnTaskOptions> = {},
) {
  const path = `${folder}/${name}`;
  if (typeof content === "string") Deno.writeTextFileSync(path, content);
  else Deno.writeFileSync(path, content);
  return loadOwnTask({ train: path, text: "text", label: "label", maxTokens: 8, ...more });
}

Deno.test("tables: .tsv takes quotes as they are, .csv and .jsonl as their standards have them, to the same rows", () =>
  withFolder(async (folder) => {
    const read = async (name: string, text: string) => {
      await Deno.writeTextFile(`${folder}/${name}`, text);
      return (await readTable(`${folder}/${name}`, ["b", "a"])).map((
        { where, cells },
      ) => [where.split("/").at(-1), ...cells]);
    };
    assert.deepEqual(await read("t.tsv", '\ufeffa\tx\tb\r\n"q\t1\tü,\r\n'), [["t.tsv line 2", "ü,", '"q']]);
    assert.deepEqual(await read("t.csv", '\ufeffa,x,b\r\n"say ""q""\nnow",1,"ü,"\r\n\r\nlast,,0'), [
      ["t.csv line 3", "ü,", 'say "q"\nnow'],
      ["t.csv line 5", "0", "last"],
    ]);
    assert.deepEqual(await read("t.jsonl", '{"b": 1.5, "a": "x\\ny"}\n\n{"a": true, "b": "", "c": null}'), [
      ["t.jsonl line 1", "1.5", "x\ny"],
      ["t.jsonl line 3", "", "true"],
    ]);
  }));

Deno.test("a held-out tenth separates no equal texts and does not depend on the rows' order; classes are sorted, numbers by size", () =>
  withFolder(async (folder) => {
    const rows = Array.from({ length: 63 }, (_, i) => `t${i % 21},${i % 21 % 11}\n`);
    const split = async (lines: readonly string[]) => {
      const own = await readOwn(folder, "t.csv", `text,label\n${lines.join("")}`);
      assert.deepEqual(own.labels, Array.from({ length: 11 }, (_, i) => String(i)));
      const { train, dev } = await own.load();
      return [train, dev].map((side) => side.map(({ texts, label }) => `${texts[0]},${own.labels[label]}\n`));
    };
    const [train, dev] = await split(rows);
    // Each text occurs three times; a cut after 56 of 63 would separate one text's copies.
    assert.deepEqual([train.length, dev.length], [54, 9]);
    assert.deepEqual([...train, ...dev].toSorted(), rows.toSorted());
    assert.ok(dev.every((row) => !train.includes(row)));
    assert.deepEqual(await split(rows.toReversed()), [train, dev]);
  }));

Deno.test("bad tables are refused with the file and the line", () =>
  withFolder(async (folder) => {
    const objective = "text,label\n";
    const good = `${objective}x,1\ny,2\n`;
    const dev = `${folder}/dev.csv`;
    await Deno.writeTextFile(dev, `${objective}x,1\nz,3\n`);
    const refusals: [RegExp, string, string | Uint8Array<ArrayBuffer>, Partial<OwnTaskOptions>?][] = [
      [/t\.txt is no table .* must end in \.tsv, \.csv or \.jsonl/, "t.txt", good],
      [/t\.csv line 1 has no column "lable"; it has "text", "label"/, "t.csv", good, { label: "lable" }],
      [/t\.csv line 1 has the column "text" twice/, "t.csv", "text,text,label\na,b,c\n"],
      [/t\.csv: the file is empty/, "t.csv", ""],
      [/t\.tsv: the file is empty/, "t.tsv", ""],
      [/t\.csv has no records/, "t.csv", objective],
      [/t\.jsonl has no records/, "t.jsonl", "\n"],
      [/t\.csv line 3: "label" is empty/, "t.csv", `${objective}x,1\ny, \n`],
      [/t\.csv line 2: "text" is empty/, "t.csv", `${objective},1\ny,2\n`],
      [/t\.csv line 3 has 3 cells, and the header 2/, "t.csv", `${objective}x,1\ny,2,3\n`],
      [/t\.csv line 3 has a quote that nothing closes/, "t.csv", `${objective}x,1\n"y,2\n`],
      [/t\.tsv line 3 has 1 cells, and the header 2/, "t.tsv", "text\tlabel\nx\t1\ny\n"],
      [/t\.csv is not text in UTF-8 \(line 1\)/, "t.csv", Uint8Array.of(0x74, 0xff, 0x0a)],
      [/t\.tsv is not text in UTF-8 \(line 2\)/, "t.tsv", Uint8Array.of(0x74, 0x0a, 0xff, 0x0a)],
      [/t\.jsonl line 2 is not JSON/, "t.jsonl", '{"text": "x", "label": 1}\n{"text": "x", "la'],
      [/t\.jsonl line 1 is no JSON object/, "t.jsonl", "[1]"],
      [/t\.jsonl line 1 has no "label"; it has "text"/, "t.jsonl", '{"text": "x"}'],
      [/t\.jsonl line 1: "label" is null/, "t.jsonl", '{"text": "x", "label": null}'],
      [/dev\.csv line 3 has the label "3", and .*t\.csv has only 1, 2/, "t.csv", good, { dev }],
      [
        /dev\.csv line 2 has the label "1", and .*t\.csv line 2 "1 ": spaces make them two classes/,
        "t.csv",
        `${objective}x,1 \ny,3\n`,
        { dev },
      ],
      [/t\.csv line 3 has the label "two": regression wants/, "t.csv", `${objective}x,1\ny,two\n`, {
        regression: true,
      }],
      [
        /t\.csv line 4 has the label " b", and .*t\.csv line 2 "b": spaces make them two classes/,
        "t.csv",
        `${objective}x,b\ny,a\nz, b\n`,
      ],
      [/t\.csv: all examples to train on have one label/, "t.csv", `${objective}x,1\ny,1\nz,1\n`],
      [/t\.csv: all examples to train on have one label/, "t.csv", `${objective}x,1\ny,1.0\n`, {
        regression: true,
        dev,
      }],
      [/t\.csv has too few different texts/, "t.csv", `${objective}x,1\nx,2\n`],
    ];
    for (const [message, name, content, more] of refusals) {
      await assert.rejects(() => readOwn(folder, name, content, more), message);
    }
  }));

Deno.test("values that a dtype cannot hold, and a tensor of other bytes than its shape takes, are not written", () =>
  withFolder(async (folder) => {
    assert.throws(
      () => fromFloat32("w", "F16", Float32Array.of(1, 70000)),
      /"w" holds values that are not finite as F16/,
    );
    assert.throws(() => fromFloat32("w", "I8", Float32Array.of(1)), /"w" cannot be written as I8/);
    const short = {
      name: "w",
      dtype: "F32",
      shape: [2],
      async *pieces() {
        yield await Promise.resolve(new Uint8Array(4));
      },
    } as const;
    await assert.rejects(() => writeTensors(`${folder}/t`, [short]), /t: "w" takes 8 bytes, and there are 4/);
  }));
