/** Model cards of adapters' and merged folders: the front matter that the hub reads, and whose cards are written over. */

import assert from "node:assert/strict";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { labelsOf } from "../lib/adapters/labels.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { lora } from "../lib/adapters/lora.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { adapterCard, type CardNotes } from "../lib/adapters/card/adapter_card.ts";
import { cardText, isUnedited } from "../lib/adapters/card/card.ts";
import { mergedCard } from "../lib/adapters/card/merged_card.ts";
import type { CardTraining } from "../lib/adapters/card/training.ts";
import { decoderConfigOf } from "../lib/models/decoder_config.ts";
import { encoderConfigOf, withPooling } from "../lib/models/hugging_face_config.ts";
import type { Model, Weight } from "../lib/models/model.ts";
import { packModel } from "../lib/models/packing.ts";
import { unloadedDecoder } from "../lib/models/unloaded_decoder.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { objectives } from "../lib/objectives/registry.ts";
import { cardFields } from "./support/card_fields.ts";
import { cases } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const decoder = unloadedDecoder("tiny", decoderConfigOf("tiny", cases["LLaMA 2"].config));
const bert = unloadedEncoder("tiny bert", encoderConfigOf("tiny", tinyBert));
const pooled = unloadedEncoder("pooled", withPooling(encoderConfigOf("tiny", tinyBert), "mean"));
const onHub = (model: Model, hubId = "acme/base"): Model => ({ ...model, hubId });

const training: CardTraining = {
  data: "train.csv",
  dev: "dev.csv",
  examples: { train: 1200, dev: 30 },
  options: { learningRate: 3e-4, epochs: 3, batchSize: 8, seed: 7, warmupRatio: 0.03 },
  kept: { epoch: 1, metrics: { accuracy: 1 / 3, macroF1: 1e-7, "accuracy mismatched": 0.5 } },
  keep: "best",
};

const classes = { objective: "classification", labels: ["no", "yes"] } as const;

/** The card of a method on `model`, and that of the model with it merged in. */
function cardOf(model: Model, name: string, notes: CardNotes = {}, head = false) {
  const method = methods.find((own) => own.name === name)!;
  const target = model.language ? ["q_proj"] : ["query"];
  const adapter = attach(model, method, { target } as AttachOptions);
  const objective = objectives.classification.of(model, { texts: 1, classes: 2 });
  const weights = new Map<string, Weight>(
    head
      ? [...objective.parameters].map(([name, { shape }]) => [name, { shape, data: new Float32Array() }])
      : [],
  );
  const subject = { model, adapter, weights, labels: head ? labelsOf(classes) : undefined };
  const text = cardText(adapterCard(subject, notes));
  return {
    text,
    fields: cardFields(text),
    merged: cardFields(cardText(mergedCard(model, subject, "transformers"))),
  };
}

Deno.test("a trained encoder's card has the fields that the hub reads, and its text says the same", () => {
  const { text, fields, merged } = cardOf(onHub(bert), "LoRA", { training }, true);
  const title = "LoRA adapter of acme/base";
  assert.deepEqual(fields, {
    base_model: "acme/base",
    base_model_relation: "adapter",
    library_name: "peft",
    pipeline_tag: "text-classification",
    tags: ["lora", "bora-webgpu"],
    metrics: ["accuracy", "f1"],
    "model-index": [{
      name: title,
      results: [{
        task: { type: "text-classification" },
        dataset: { name: "dev.csv", type: "custom" },
        metrics: [
          { type: "accuracy", name: "Accuracy", value: 0.333333 },
          { type: "f1", name: "F1, mean over classes", value: 0, args: { average: "macro" } },
          { type: "accuracy", name: "Accuracy mismatched", value: 0.5 },
        ],
      }],
    }],
  });
  for (
    const said of [
      `# ${title}`,
      "An adapter for [acme/base](https://huggingface.co/acme/base), written by @bora/webgpu ",
      "- Method: LoRA, `y = W x + s·B A x, s = α/r (Hu et al. 2022)`",
      "- Options: `r 8`, `alpha 16`, `dropout 0`",
      "- Target modules: `query` (1 layer)",
      "- Trainable parameters: 1,024, and those of a head for 2 outputs: no, yes",
      'base = "acme/base"',
      'AutoModelForSequenceClassification.from_pretrained(base, **json.load(open(f"{folder}/labels.json")))',
      "- Data: `train.csv`, 1,200 examples",
      "- Epochs: 3; the weights are those of epoch 2, the best by Accuracy on dev",
      "- AdamW with a learning rate of 0.0003, a warm-up over 3 % of the steps and a linear decay; batches of 8",
      "- Seed: 7",
      "On dev.csv, 30 examples, after that epoch:",
      "| Accuracy | 0.3333 |",
      "The epoch was chosen by these scores, so they flatter it.",
      "## What was not tested",
    ]
  ) assert.ok(text.includes(said), `${said}\n\nis not in\n\n${text}`);
  assert.deepEqual(merged, {
    base_model: "acme/base",
    base_model_relation: "finetune",
    library_name: "transformers",
    pipeline_tag: "text-classification",
    tags: ["bora-webgpu"],
  });
});

Deno.test("options that patterns give to some layers are said as well", () => {
  const adapter = attach(bert, lora, {
    ...{ r: 8, target: ["query", "value", "key"] },
    ...{ rankPattern: { "query|key": 4 }, alphaPattern: { query: 2, key: 16 } },
  });
  const text = cardText(adapterCard({ model: bert, adapter, weights: new Map() }, {}));
  const said = "- Options: `r 8`, `alpha 16`, `dropout 0`; otherwise `r 4` (2 layers), `alpha 2` (1 layer)\n";
  assert.ok(text.includes(said), text);
});

Deno.test("a data set of the hub's is named by its id, and what was not measured is not said", () => {
  const { fields } = cardOf(
    onHub(bert),
    "LoRA",
    { training: { ...training, dataset: "nyu-mll/glue" } },
    true,
  );
  assert.deepEqual(fields.datasets, ["nyu-mll/glue"]);
  assert.match(
    JSON.stringify(fields["model-index"]),
    /"dataset":\{"name":"dev.csv","type":"nyu-mll\/glue"\}/,
  );
  const { text, fields: plain } = cardOf(decoder, "LoRA");
  assert.deepEqual(plain, {
    library_name: "peft",
    pipeline_tag: "text-generation",
    tags: ["lora", "bora-webgpu"],
  });
  assert.match(text, /a model called `tiny`, whose id on the hub is not known/);
  assert.match(text, /does not say how the adapter was trained\. Nothing was measured/);
  assert.match(text, /deno task generate --model BASE --adapter DIR/);
  const origin = "It was made from an adapter of BoRA.";
  assert.match(cardOf(decoder, "LoRA", { origin }).text, /weights\. It was made from an adapter of BoRA\./);
});

Deno.test("PEFT is named where it has the method, and the base and its head are transformers'", async () => {
  const loads = (model: Model, head = false) =>
    methods.filter(({ peft }) => peft).filter(({ name }) =>
      cardOf(model, name, {}, head).fields.library_name === "peft"
    ).map(({ name }) => name);
  const ofPeft = ["LoRA", "rsLoRA", "DoRA", "HiRA", "GraLoRA"];
  assert.deepEqual(loads(decoder), ofPeft);
  assert.deepEqual(loads(bert, true), ofPeft);
  assert.deepEqual(loads(pooled, true), []);
  // A head on a decoder is this library's own.
  assert.deepEqual(loads(decoder, true), []);
  assert.deepEqual(loads(await loadUseLite(), true), []);
  assert.match(
    cardOf(decoder, "BoRA").text,
    /does not know BoRA\. But its update is exactly a LoRA, which `deno task export` writes/,
  );
  assert.match(
    cardOf(decoder, "KronA").text,
    /does not know KronA\. But .*`deno task export --rank` the nearest LoRA/,
  );
  assert.match(
    cardOf(decoder, "HydraLoRA").text,
    /Its update depends on the input: only @bora\/webgpu computes it/,
  );
  assert.match(cardOf(pooled, "BoRA", {}, true).text, /does not know BoRA\. `deno task merge`/);
});

Deno.test("a base in a GGUF file of the hub's is loaded from it", () => {
  const { text, fields } = cardOf({ ...onHub(decoder), name: "acme/base/parts/q4.gguf" }, "LoRA");
  assert.equal(fields.base_model, "acme/base");
  assert.match(text, /^model = AutoModelForCausalLM\.from_pretrained\(base, gguf_file="parts\/q4\.gguf"\)$/m);
  assert.match(text, /^tokenizer = AutoTokenizer\.from_pretrained\(base, gguf_file="parts\/q4\.gguf"\)$/m);
  assert.match(text, /--model acme\/base\/parts\/q4\.gguf --adapter DIR/);
});

Deno.test("a packed base is said to be, and a packaged one to be fetched", () => {
  const packed = onHub({ ...packModel(bert, "int8"), name: "minilm" });
  const { text } = cardOf(packed, "LoRA", {}, true);
  assert.match(text, /^The base's matrices were packed \(int8\): .* differ by rounding\.$/m);
  assert.match(text, /^deno task models minilm {3}# fetches the base, once$/m);
  assert.match(text, /^const model = await loadModel\("minilm"\);$/m);
  assert.doesNotMatch(cardOf(onHub(bert), "LoRA").text, /were packed|deno task models/);
});

Deno.test("names of files and classes stay names: no markup, no other value of YAML", () => {
  for (
    const data of [
      "no",
      "1e-3",
      "2026-01-01",
      "a: b # c",
      "`<b>|x\n---\n",
      "- y",
      "'\"",
      "~",
      "0x1F",
      "=",
      "ü\u202e",
    ]
  ) {
    const { text, fields } = cardOf(
      onHub(bert),
      "LoRA",
      { training: { ...training, data, dev: data } },
      true,
    );
    const [{ results: [{ dataset }] }] = fields["model-index"] as { results: { dataset: unknown }[] }[];
    assert.deepEqual(dataset, { name: data, type: "custom" });
    const body = text.slice(text.indexOf("\n# "));
    assert.doesNotMatch(body.replaceAll(/`[^`\n]*`/g, ""), /<b>/, "it is markup outside of code");
    assert.ok(!body.includes("\u202e"));
  }
});

Deno.test("a card is written anew unless somebody wrote or edited it; that one stays, and is told of", () =>
  withFolder(async (parent) => {
    const model = await loadUseLite();
    const folder = `${parent}/adapter`;
    const save = async (r: number) => {
      const adapter = attach(model, lora, { r, target: ["query"] });
      const told: string[] = [];
      const report = (line: string) => void told.push(line);
      await saveAdapter(folder, model, adapter, startingWeights(model, adapter, 0), undefined, { report });
      return told;
    };
    const card = () => Deno.readTextFile(`${folder}/README.md`);
    assert.deepEqual(await save(2), []);
    const first = await card();
    assert.match(first, /`r 2`/);
    assert.deepEqual(await save(3), []);
    assert.match(await card(), /`r 3`/);
    const edits = [
      "# Mine\n",
      first.replace("r 2", "r 1"),
      `${first}More.\n`,
      "",
      first.replaceAll("\n", "\r\n"),
    ];
    for (const edited of edits) {
      assert.ok(!isUnedited(edited));
      await Deno.writeTextFile(`${folder}/README.md`, edited);
      assert.deepEqual(await save(4), [
        `${folder}/README.md was written or edited by somebody: it stays, and no new card is written`,
      ]);
      assert.equal(await card(), edited);
      const { adapter } = await loadAdapter(folder, model);
      assert.equal((adapter.options as { r: number }).r, 4, "the adapter itself is the new one");
    }
    assert.ok(isUnedited(first));
  }));

Deno.test("a card that says how an adapter was trained stays where that adapter is saved again, and no longer", () =>
  withFolder(async (folder) => {
    const model = await loadUseLite();
    const adapter = attach(model, lora, { r: 2, target: ["query"] });
    const weights = startingWeights(model, adapter, 0);
    const isTrained = async () => /## Training\n/.test(await Deno.readTextFile(`${folder}/README.md`));
    const save = async (labels: typeof classes | undefined, more: Parameters<typeof saveAdapter>[5] = {}) => {
      const again = await loadAdapter(folder, model);
      await saveAdapter(folder, model, again.adapter, again.weights, labels, more);
      return await isTrained();
    };
    await saveAdapter(folder, model, adapter, weights, undefined, { training });
    assert.ok(await save(undefined));
    assert.ok(!await save(undefined, { origin: "It was made." }), "what is said anew counts");
    await save(undefined, { training });
    assert.ok(!await save(classes), "the labels are others");
    await save(undefined, { training });
    const others = startingWeights(model, adapter, 1);
    await saveAdapter(folder, model, adapter, others);
    assert.ok(!await isTrained(), "the weights are others");
  }));

Deno.test("the options of training that a card says are those of the run", () => {
  const { options } = training;
  const said = (more: object) =>
    cardOf(bert, "LoRA", { training: { ...training, keep: undefined, options: { ...options, ...more } } })
      .text;
  assert.match(said({}), /epoch 2, the last$/m);
  assert.doesNotMatch(said({}), /flatter/);
  assert.match(said({ warmupRatio: undefined, warmupSteps: 12 }), /a warm-up of 12 steps and/);
  assert.match(said({ warmupRatio: 0 }), /no warm-up and/);
  assert.match(said({ accumulationSteps: 4 }), /batches of 8, 4 batches a step$/m);
  for (
    const [loss, words] of [["all", "prompts and answers are"], [
      "completion",
      "only the answers are",
    ]] as const
  ) {
    const { text } = cardOf(decoder, "LoRA", { training: { ...training, loss } });
    assert.ok(text.includes(`1,200 examples (${words} learnt)`));
  }
});
