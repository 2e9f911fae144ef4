/** Exported adapters against PEFT and Python's gguf: see fixtures/peft_exports.py for how their side of the numbers was made. */

import assert from "node:assert/strict";
import { loadAdapter, saveAdapter, type SavedAdapter } from "../lib/adapters/peft.ts";
import type { Model } from "../lib/models/model.ts";
import { readGgufHeader } from "../lib/models/gguf/header.ts";
import { inHalves } from "../lib/models/gguf/row_order.ts";
import { readSafetensorsHeader } from "../lib/models/safetensors.ts";
import { StoredWeight } from "../lib/models/stored_weight.ts";
import { exportAdapter } from "../lib/train/export_folder.ts";
import { AdaptedModel } from "../lib/train/adapted_model.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import fixture from "./fixtures/peft_exports.json" with { type: "json" };
import { cardFields } from "./support/card_fields.ts";
import { runTask } from "./support/command.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import { rows } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { objective, texts } from "./support/peft_encoders.ts";
import { exportBases, exportCases, trainedCase } from "./support/peft_exports.ts";

/** What PEFT and gguf make of an export. */
interface Reference {
  readonly config: string;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly logits: readonly (readonly number[])[];
  readonly error?: number;
  readonly gguf?: {
    readonly fields: Readonly<Record<string, string | number>>;
    readonly tensors: Readonly<Record<string, { readonly shape: readonly number[]; readonly sum: number }>>;
  };
}

const references: Readonly<Record<string, Reference>> = fixture.cases;
const folder = await Deno.makeTempDir();
const bases = await exportBases(folder);

async function logitsWith(model: Model, saved: SavedAdapter): Promise<number[]> {
  const gpu = await testGpu();
  const { language } = model;
  if (language) {
    const ids = rows.map(({ ids }) => [...ids]);
    return (await logitsOf(gpu, { ...model, language }, ids, undefined, saved)).flatMap((row) => [...row]);
  }
  using adapted = new AdaptedModel(gpu, model);
  adapted.add("it", saved.adapter, new Map(saved.weights));
  const examples = texts.bert.map((ids) => ({ texts: [[...ids]], label: 0 }));
  return (await adapted.predict(objective(model), examples)).flatMap((row) => [...row]);
}

/** Saves the case's adapter, exports it, and gives the export's folder. */
async function exported(name: string, format: "peft" | "gguf", at: string): Promise<string> {
  const { base, rank } = exportCases[name];
  const { adapter, weights } = trainedCase(name, bases);
  await saveAdapter(`${at}/adapter`, bases.get(base)!, adapter, weights);
  const [model, out] = [`${folder}/${base}`, `${at}/export`];
  await exportAdapter({ gpu: await testGpu(), model, adapter: `${at}/adapter`, format, out, rank });
  return out;
}

function checkClose(own: ArrayLike<number>, theirs: readonly number[]): void {
  const error = relativeError(own, theirs);
  assert.ok(error < 1e-5, `relative error ${error}`);
}

Deno.test("PEFT has read every export", () => {
  assert.deepEqual(Object.keys(references).toSorted(), Object.keys(exportCases).toSorted());
});

for (const [name, { config, shapes, logits, error }] of Object.entries(references)) {
  Deno.test(`PEFT loaded this export, with our logits: ${name}`, () =>
    withFolder(async (at) => {
      const out = await exported(name, "peft", at);
      const bytes = await Deno.readFile(`${out}/adapter_config.json`);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      assert.equal(digest, config, "not what PEFT loaded: run tests/fixtures/peft_exports.py again");
      const { places } = await readSafetensorsHeader(`${out}/adapter_model.safetensors`);
      assert.deepEqual(
        Object.fromEntries([...places].map(([key, { shape }]) => [key, [...shape]])),
        shapes,
      );
      const model = bases.get(exportCases[name].base)!;
      checkClose(await logitsWith(model, await loadAdapter(out, model)), logits.flat());
      const record = JSON.parse(await Deno.readTextFile(`${out}/export.json`));
      assert.equal(record.exact, error === undefined);
      if (error === undefined) {
        checkClose(await logitsWith(model, trainedCase(name, bases)), logits.flat());
      } else {
        assert.ok(error > 0.05, "an export that loses nothing shows nothing");
        assert.ok(Math.abs(record.error - error) < 1e-5 * error, `${record.error}, in PEFT ${error}`);
      }
    }));
}

for (const [name, { gguf }] of Object.entries(references)) {
  if (!gguf) continue;
  Deno.test(`Python's gguf read this export, with our values: ${name}`, () =>
    withFolder(async (at) => {
      const out = await exported(name, "gguf", at);
      assert.deepEqual(cardFields(await Deno.readTextFile(`${out}/README.md`)), {
        library_name: "llama.cpp",
        pipeline_tag: "text-generation",
        tags: ["lora", "gguf", "bora-webgpu"],
      });
      const { metadata, places } = await readGgufHeader(`${out}/adapter.gguf`);
      const fields = [...metadata.values].map(([key, { value }]) => [key, value]);
      assert.deepEqual(Object.fromEntries(fields), gguf.fields);
      assert.deepEqual([...places.keys()].toSorted(), Object.keys(gguf.tensors).toSorted());
      for (const [tensor, { shape, sum }] of Object.entries(gguf.tensors)) {
        const place = places.get(tensor)!;
        assert.deepEqual(place.shape, shape, tensor);
        const [, side] = /attn_([qk])\.weight\.lora_b$/.exec(tensor) ?? [];
        const ordered = side ? inHalves(place, side === "q" ? 6 : 2) : place;
        const own = new StoredWeight(ordered).data.reduce((total, value, i) => total + value * i, 0);
        assert.ok(Math.abs(own - sum) < 1e-4 * Math.max(1, Math.abs(sum)), `${tensor}: ${own}, ${sum}`);
      }
    }));
}

Deno.test("the command says what it made, which rank vLLM wants, and what it refuses", () =>
  withFolder(async (at) => {
    const run = async (name: string, ...args: string[]) => {
      const { adapter, weights } = trainedCase(name, bases);
      const model = exportCases[name].base;
      await saveAdapter(`${at}/${name}`, bases.get(model)!, adapter, weights);
      const from = ["--model", `${folder}/${model}`, "--adapter", `${at}/${name}`];
      return await runTask("export", [...from, "--out", `${at}/${name}-export`, ...args]);
    };
    const bora = await run("Decoder, BoRA b auto r 4");
    assert.equal(bora.code, 0, bora.stderr);
    const out = `${at}/Decoder, BoRA b auto r 4-export`;
    assert.deepEqual(bora.stdout.trimEnd().split("\n").slice(0, 3), [
      "the same update as BoRA's",
      "rank 32 in 4 layers, less in 4 that are narrower (model.layers.0.self_attn.k_proj, …)",
      "vLLM: --max-lora-rank 32 (it allows 1, 8, 16, 32, 64, 128, 256, 320, 512)",
    ]);
    assert.match(bora.stdout, new RegExp(`^exported: ${out}$`, "m"));
    const card = await Deno.readTextFile(`${out}/README.md`);
    assert.equal(cardFields(card).library_name, "peft");
    assert.match(
      card,
      /It was made from an adapter of BoRA, and computes the same update, as a LoRA of rank 32\./,
    );
    const dora = await run("BERT, DoRA, rank 3");
    assert.deepEqual([dora.code, dora.stdout], [1, ""]);
    assert.match(dora.stderr, /^DoRA's update is no LoRA: give a rank, such as 16/m);
    const nearest = await run("BERT, DoRA, rank 3", "--rank", "3");
    assert.match(
      nearest.stdout,
      /^the nearest LoRA to DoRA, relative error 0\.\d+ \(layers 0\.\d+ to 0\.\d+\)\nrank 3 in \d layers\n/,
    );
    assert.ok(!nearest.stdout.includes("vLLM"));
    assert.match(
      await Deno.readTextFile(`${at}/BERT, DoRA, rank 3-export/README.md`),
      /It is the LoRA of rank 3 that is nearest to an adapter of DoRA: the norm of what is missing is 0\.\d+ of the update's\./,
    );
    const encoder = await run("BERT, MELoRA", "--format", "gguf");
    assert.match(
      encoder.stderr,
      /bert is no decoder, and llama\.cpp applies LoRAs to decoders: export it for PEFT/,
    );
    assert.equal((await run("BERT, MELoRA", "--format", "onnx")).code, 2);
    assert.deepEqual(
      [...Deno.readDirSync(at)].map(({ name }) => name).filter((name) => name.endsWith("-export")).toSorted(),
      ["BERT, DoRA, rank 3-export", "Decoder, BoRA b auto r 4-export"],
    );
  }));
