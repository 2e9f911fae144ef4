/** Adapters on whole encoders against PEFT itself: see fixtures/peft_encoders.py for how its side of the numbers was made. */

import assert from "node:assert/strict";
import type { Adapter } from "../lib/adapters/attach.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { withoutTrunk } from "../lib/adapters/peft_keys.ts";
import { headPathsOf, type Weight } from "../lib/models/model.ts";
import { readSafetensors, writeSafetensors } from "../lib/models/safetensors.ts";
import { classification } from "../lib/objectives/classification.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import reference from "./fixtures/peft_encoders.json" with { type: "json" };
import { testGpu } from "./support/ops.ts";
import { digestOfAdapterFile } from "./support/peft_digest.ts";
import { referenceAdapters, seededHead, texts, tinyEncoders } from "./support/peft_encoders.ts";

const encoders = await tinyEncoders(await Deno.makeTempDir());
const adapters = referenceAdapters(encoders);

/** The logits of the family's texts. */
async function logitsOf(family: string, adapter: Adapter, weights: Map<string, Weight>) {
  using adapted = new AdaptedModel(await testGpu(), encoders.get(family)!);
  adapted.add("it", adapter, weights);
  const outputs = (weights.get("classifier.bias") ?? weights.get("classifier.out_proj.bias"))!.shape[0];
  const examples = texts[family].map((ids) => ({ texts: [[...ids]], label: 0 }));
  return (await adapted.predict(
    classification.of(encoders.get(family)!, { texts: 1, classes: outputs }),
    examples,
  )).map((row) => [...row]);
}

function checkLogits(own: readonly number[][], theirs: readonly number[][]): void {
  const error = relativeError(own.flat(), theirs.flat());
  assert.ok(error < 1e-5, `relative error ${error}`);
}

/** A folder with these files. */
async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await Deno.makeTempDir();
  for (const [file, text] of Object.entries(files)) {
    await Deno.writeFile(`${folder}/${file}`, Uint8Array.fromBase64(text));
  }
  return folder;
}

/** A head that gives the texts' vectors themselves, or their tanh where it has two layers. */
function identityHead(family: string): Map<string, Weight> {
  const width = 16;
  const identity = Float32Array.from({ length: width ** 2 }, (_, i) => Number(i % (width + 1) === 0));
  return new Map(
    headPathsOf(encoders.get(family)!.head).flatMap((path): [string, Weight][] => [
      [`${path}.weight`, { shape: [width, width], data: identity }],
      [`${path}.bias`, { shape: [width], data: new Float32Array(width) }],
    ]),
  );
}

Deno.test("every reference adapter has been read by PEFT", () => {
  assert.deepEqual([...adapters.keys()].toSorted(), Object.keys(reference.read).toSorted());
});

for (const [name, { family, digests, logits }] of Object.entries(reference.read)) {
  Deno.test(`PEFT loaded this very folder into transformers' model, with our logits: ${name}`, async () => {
    const folder = await Deno.makeTempDir();
    const { adapter, weights } = adapters.get(name)!;
    await saveAdapter(folder, encoders.get(family)!, adapter, weights);
    for (const [file, digest] of Object.entries(digests)) {
      const own = await digestOfAdapterFile(`${folder}/${file}`);
      assert.equal(
        own,
        digest,
        `${file} is not what PEFT loaded: run tests/fixtures/peft_encoders.py again`,
      );
    }
    const again = await loadAdapter(folder, encoders.get(family)!);
    assert.deepEqual(again.adapter.modules, adapter.modules);
    assert.deepEqual([...again.weights].toSorted(), [...weights].toSorted());
    // If no head is saved, PEFT's model uses its base's head.
    const withHead = new Map([...seededHead(encoders.get(family)!), ...weights]);
    checkLogits(await logitsOf(family, adapter, withHead), logits);
  });
}

for (const [name, { family, files, layers, logits }] of Object.entries(reference.written)) {
  Deno.test(`a folder that PEFT wrote loads, on PEFT's layers and with its logits: ${name}`, async () => {
    const model = encoders.get(family)!;
    const folder = await folderOf(files);
    const { adapter, weights } = await loadAdapter(folder, model);
    const paths = adapter.modules.map(({ module }) => module.path);
    const bare = !layers[0].startsWith(family);
    const theirs = paths.map((path) => bare ? withoutTrunk(family, path) : path);
    assert.deepEqual(theirs.toSorted(), layers);
    const hasHead = weights.has("classifier.bias") || weights.has("classifier.out_proj.bias");
    assert.equal(hasHead, !bare);
    const whole = new Map([...weights, ...hasHead ? [] : identityHead(family)]);
    const tanh = bare && family === "roberta";
    checkLogits(
      await logitsOf(family, adapter, whole),
      tanh ? logits.map((row) => row.map(Math.tanh)) : logits,
    );
    await saveAdapter(`${folder}/again`, model, adapter, weights);
    const again = await loadAdapter(`${folder}/again`, model);
    assert.deepEqual(again.adapter.modules, adapter.modules);
    assert.deepEqual([...again.weights].toSorted(), [...weights].toSorted());
  });
}

const reasons: Readonly<Record<string, RegExp>> = {
  "BERT, an adapter on the head":
    /not expected \[.*classifier\.lora_A.*\]: it has an adapter on the head, which is trained and saved whole here/,
  "RoBERTa, an adapter in the head":
    /not expected \[.*classifier\.dense\.lora_A.*\]: it has an adapter on the head, which is trained and saved whole here/,
  "RoBERTa, an adapter in the head, out_proj saved": /it has an adapter on the head/,
  "RoBERTa, out_proj alone saved":
    /of roberta's head it has classifier\.out_proj\.weight, classifier\.out_proj\.bias and not classifier\.dense\.weight, classifier\.dense\.bias/,
  "RoBERTa, a bare trunk with a pooler": /pooler\.dense\.lora_A.*: roberta has no pooler here/,
  "BERT, a head of tokens": /task_type is "TOKEN_CLS", and heads here are those of whole texts/,
  "BERT, a head of tokens, no task": /the adapter is of a BertForTokenClassification, and heads here are/,
  "BERT, PiSSA":
    /init_lora_weights "pissa" changes the base's weights.*path_initial_model_for_weight_conversion/,
  "BERT, PiSSA by iterations": /init_lora_weights "pissa_niter_4" changes the base's weights/,
  "BERT, OLoRA": /init_lora_weights "olora" changes the base's weights/,
};

for (const [name, files] of Object.entries(reference.refused)) {
  Deno.test(`a folder that PEFT wrote is refused with why: ${name}`, async () => {
    const family = name.startsWith("BERT") ? "bert" : "roberta";
    await assert.rejects(
      async () => await loadAdapter(await folderOf(files), encoders.get(family)!),
      reasons[name],
    );
  });
}

const first = Object.keys(reference.written)[0] as keyof typeof reference.written;

/** The first written folder with its configuration and its tensors changed. */
async function changed(
  config: object,
  change: (tensors: Map<string, Weight>) => void = () => {},
): Promise<string> {
  const folder = await folderOf(reference.written[first].files);
  const [configPath, path] = [`${folder}/adapter_config.json`, `${folder}/adapter_model.safetensors`];
  await Deno.writeTextFile(
    configPath,
    JSON.stringify({ ...JSON.parse(await Deno.readTextFile(configPath)), ...config }),
  );
  const tensors = new Map<string, Weight>();
  for (const [key, { shape, data }] of (await readSafetensors(path)).tensors) {
    tensors.set(key, { shape, data: new Float32Array(data.slice().buffer) });
  }
  change(tensors);
  await writeSafetensors(path, tensors);
  return folder;
}

const bert = encoders.get("bert")!;
const key = (name: string) => `base_model.model.${name}`;
const filled = (...shape: number[]): Weight => ({
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1),
});

Deno.test("of the layers' numbers those that are there count, as in PEFT; if none is, they are refused", async () => {
  const all = await loadAdapter(await changed({}), bert);
  const some = await loadAdapter(await changed({ layers_to_transform: [0, 5] }), bert);
  assert.deepEqual(some.adapter.modules, all.adapter.modules);
  // The pooler is in no layer, whatever the number.
  const target_modules = ["query", "value", "pooler.dense"];
  const below = await loadAdapter(await changed({ target_modules, layers_to_transform: [-1, 0] }), bert);
  assert.deepEqual(below.adapter.modules, all.adapter.modules);
  await assert.rejects(
    async () => await loadAdapter(await changed({ layers_to_transform: [5] }), bert),
    /bert has no layer 5 with these targets; it has 0/,
  );
});

Deno.test("a bare trunk has no head, whatever modules_to_save names", async () => {
  const { files } = reference.written["BERT, a bare trunk"];
  const folder = await folderOf(files);
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const { adapter, weights } = await loadAdapter(folder, bert);
  await Deno.writeTextFile(path, JSON.stringify({ ...config, modules_to_save: ["classifier"] }));
  const again = await loadAdapter(folder, bert);
  assert.deepEqual(again.adapter.modules, adapter.modules);
  assert.deepEqual([...again.weights], [...weights]);
});

Deno.test("starts that leave the base as it is load, others are refused with what to do", async () => {
  for (const init of [true, false, "gaussian", "Gaussian", "orthogonal", "eva", "mica"]) {
    assert.equal(
      (await loadAdapter(await changed({ init_lora_weights: init }), bert)).adapter.modules.length,
      2,
    );
  }
  const refused = async (init: unknown, message: RegExp) =>
    await assert.rejects(
      async () => await loadAdapter(await changed({ init_lora_weights: init }), bert),
      message,
    );
  for (const init of ["pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "lora_ga"]) {
    await refused(init, /changes the base's weights, and the folder does not hold.*path_initial_model/);
  }
  await refused("loftq", /"loftq" changes the base's weights.*merge the adapter in PEFT/);
  await refused(
    "new_start",
    /init_lora_weights is "new_start", and whether that changes .* is not known here/,
  );
});

Deno.test("a head of another shape than the model's or the labels' is refused by name, loaded or saved", async () => {
  const refused = async (change: (tensors: Map<string, Weight>) => void, message: RegExp) => {
    const folder = await changed({}, change);
    await assert.rejects(() => loadAdapter(folder, bert), message);
  };
  const set = (name: string, ...shape: number[]) => (tensors: Map<string, Weight>) =>
    tensors.set(key(name), filled(...shape));
  await refused(
    set("classifier.bias", 2),
    /"classifier\.bias" is \[2\], and a head of 3 outputs on bert has \[3\]/,
  );
  await refused(set("classifier.weight", 3, 12), /"classifier\.weight" is \[3,12\].*has \[3,16\]/);
  await refused(set("classifier.weight", 48), /"classifier\.weight" is \[48\]/);
  await refused(set("classifier.weight", 0, 16), /"classifier\.weight" has no outputs/);
  await refused((tensors) => tensors.delete(key("classifier.bias")), /missing \[.*classifier\.bias\]/);
  const labelled = await changed({});
  const names = { id2label: { 0: "a", 1: "b" }, label2id: { a: 0, b: 1 } };
  await Deno.writeTextFile(
    `${labelled}/labels.json`,
    JSON.stringify({ problem_type: "single_label_classification", ...names }),
  );
  await assert.rejects(
    () => loadAdapter(labelled, bert),
    /id2label has the ids 0, 1, and the head has 3 outputs/,
  );

  const { adapter, weights } = await loadAdapter(await changed({}), bert);
  const parent = await Deno.makeTempDir();
  const notSaved = async (change: (weights: Map<string, Weight>) => void, message: RegExp) => {
    const changed = new Map(weights);
    change(changed);
    await assert.rejects(() => saveAdapter(`${parent}/adapter`, bert, adapter, changed), message);
    assert.deepEqual([...Deno.readDirSync(parent)], []);
  };
  await notSaved((own) => own.set("classifier.bias", filled(4)), /"classifier\.bias" is \[4\].*has \[3\]/);
  await notSaved((own) => own.set("classifier.weight", filled(3, 8)), /"classifier\.weight" is \[3,8\]/);
  await notSaved(
    (own) => own.delete("classifier.bias"),
    /it has classifier\.weight and not classifier\.bias/,
  );
  const B = "bert.encoder.layer.0.attention.self.query.B";
  await notSaved((own) => own.set(B, filled(16, 3)), /query\.B" is \[16,3\], and the adapter's is \[16,2\]/);
  await notSaved((own) => own.set("head.weight", filled(3, 16)), /"head\.weight" is no tensor of this LoRA/);
});

Deno.test("only a head that is wanted is missed; other tensors are not expected; a pickle is told from a folder without weights", async () => {
  const bodiless = (tensors: Map<string, Weight>) => {
    for (const part of ["weight", "bias"]) tensors.delete(key(`classifier.${part}`));
  };
  const missed = await changed({}, bodiless);
  await assert.rejects(
    () => loadAdapter(missed, bert),
    /missing \[.*classifier\.weight, .*classifier\.bias\]/,
  );
  const without = await loadAdapter(await changed({ task_type: null }, bodiless), bert);
  assert.ok(!without.weights.has("classifier.weight"));
  const more = await changed(
    {},
    (tensors) => tensors.set(key("bert.pooler.dense.lora_A.weight"), filled(2, 16)),
  );
  await assert.rejects(() => loadAdapter(more, bert), /not expected \[.*pooler\.dense\.lora_A\.weight\]$/);
  await Deno.rename(`${missed}/adapter_model.safetensors`, `${missed}/adapter_model.bin`);
  await assert.rejects(() => loadAdapter(missed, bert), /adapter_model\.bin is a pickle.*save_pretrained/);
});

Deno.test("a head that is saved whole and layer by layer is refused: PEFT computes with a copy that it does not save", async () => {
  const folder = await Deno.makeTempDir();
  const roberta = encoders.get("roberta")!;
  const { adapter, weights } = adapters.get("RoBERTa, dense")!;
  await saveAdapter(folder, roberta, adapter, weights);
  const path = `${folder}/adapter_config.json`;
  const config = JSON.parse(await Deno.readTextFile(path));
  const saved = async (modules_to_save: readonly string[]) => {
    await Deno.writeTextFile(path, JSON.stringify({ ...config, modules_to_save }));
    return await loadAdapter(folder, roberta);
  };
  assert.equal((await saved(["classifier", "score"])).weights.size, weights.size);
  await assert.rejects(
    saved(["classifier.dense", "classifier.out_proj", "classifier", "score"]),
    /modules_to_save names "classifier" and classifier\.dense, classifier\.out_proj in it, and PEFT does not save/,
  );
});
