/**
 * A RoBERTa checkpoint of full size with seeded weights in the real layout, training steps on it, and PyTorch's on the same.
 *
 *     deno run -A tests/support/roberta_base.ts FOLDER [base|large-2]
 *
 * writes FOLDER unless it is there; else trains steps of LoRA (r = 8, q and v, 8 texts of 128 tokens) and prints their seconds
 * and bytes as JSON, and the largest relative error against `fixtures/bert_reference.json`; it fails where that is above 1e-4.
 * `large-2` is two layers of RoBERTa-large. `roberta_page.ts` makes the page of both.
 */

import { cpuUsage } from "node:process";
import { attach } from "../../lib/adapters/attach.ts";
import { lora } from "../../lib/adapters/lora.ts";
import { isFile } from "../../lib/files.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { loadEncoder } from "../../lib/models/load_encoder.ts";
import { classification } from "../../lib/objectives/classification.ts";
import { describeEnvironment } from "../../lib/report/environment.ts";
import { processStatus } from "../../lib/report/process_status.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import type { RobertaFigures } from "../../tasks/pages/roberta_base.ts";
import { type Case, cases, errorsOf, fullSize, trainerFor } from "./bert_reference.ts";
import { testGpu } from "./ops.ts";
import { writeCheckpoint } from "./seeded_checkpoint.ts";

const sizes = {
  base: { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 },
  "large-2": { hidden_size: 1024, num_hidden_layers: 2, num_attention_heads: 16, intermediate_size: 4096 },
};

const common = {
  architectures: ["RobertaForMaskedLM"],
  model_type: "roberta",
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  vocab_size: 50265,
  max_position_embeddings: 514,
  type_vocab_size: 1,
  pad_token_id: 1,
};

/** As many tokens as RoBERTa has: its marks, then words that are no text's, in its two files' format. */
function tokenizerFiles(): Record<string, string> {
  const words = Array.from({ length: 50260 }, (_, i) => i < 26 ? String.fromCharCode(97 + i) : `word${i}`);
  const tokens = ["<s>", "<pad>", "</s>", "<unk>", ...words, "<mask>"];
  return {
    "vocab.json": JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id]))),
    "merges.txt": "#version: 0.2\n",
  };
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return Number(((performance.now() - start) / 1000).toFixed(2));
}

/** Seconds of CPU time that this process has had. */
function cpuSeconds(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1e6;
}

/** Steps on the checkpoint in `folder`. */
async function measure(gpu: Gpu, folder: string): Promise<Omit<RobertaFigures, "agreement">> {
  const before = processStatus();
  const model = await loadEncoder(folder);
  const afterFiles = processStatus();
  let uploaded: FrozenWeights | undefined;
  const uploadSeconds = await secondsOf(async () => {
    uploaded = FrozenWeights.forTraining(gpu, model);
    await gpu.settled();
  });
  using frozen = uploaded!;
  const weightBytes = gpu.memory.bytes;
  const afterUpload = processStatus();
  const adapter = attach(model, lora, { r: 8, target: ["query", "value"], dropout: 0.05 });
  const examples = Array.from({ length: 8 }, (_, i) => ({
    texts: [[0, ...Array.from({ length: 126 }, (_, t) => 4 + (i * 7919 + t * 104729) % 50260), 2]],
    label: i % 2,
  }));
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const options = { learningRate: 3e-4, epochs: 4, batchSize: 8, warmupRatio: 0, seed: 0 };
  using trainer = new Trainer({ gpu, model, adapter, objective, examples, frozen, ...options });
  const compileSeconds = await secondsOf(() => trainer.prepare([]));
  const losses: number[] = [];
  const stepSeconds: number[] = [];
  const [cpu, start] = [cpuSeconds(), performance.now()];
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    stepSeconds.push(await secondsOf(async () => losses.push((await trainer.epoch())[0].loss)));
  }
  const cpusHad = (cpuSeconds() - cpu) / ((performance.now() - start) / 1000);
  const { peakBytes } = gpu.memory;
  return {
    environment: await describeEnvironment(gpu),
    weightBytes,
    largestTensorBytes: Math.max(
      ...model.weights.values().map(({ shape }) => 4 * shape.reduce((a, b) => a * b, 1)),
    ),
    uploadSeconds,
    compileSeconds,
    stepSeconds,
    losses,
    cpusHad: Number(cpusHad.toFixed(2)),
    gpuPeakBytes: peakBytes,
    hostBytes: {
      before: before.residentBytes,
      afterReadingHeaders: afterFiles.residentBytes,
      peakWhileUploading: afterUpload.peakResidentBytes - weightBytes,
      peakInAll: processStatus().peakResidentBytes - peakBytes,
    },
  };
}

/** How far logits, loss and gradients on the checkpoint in `folder` are from PyTorch's. */
async function agreementOn(folder: string, expected: Case): Promise<RobertaFigures["agreement"]> {
  using trainer = await trainerFor(folder, expected);
  const errors = [...await errorsOf(trainer, expected)];
  const [tensor, error] = errors.reduce((most, own) => own[1] > most[1] ? own : most);
  return { tensors: errors.length, largestRelativeError: error, of: tensor };
}

const [folder, size = "base"] = Deno.args;
if (!folder || !Object.hasOwn(sizes, size)) {
  console.error("usage: deno run -A tests/support/roberta_base.ts FOLDER [base|large-2]");
  Deno.exit(2);
}
// The reference has all of RoBERTa-base, and two layers of RoBERTa-large over a small vocabulary.
const expected = size === "base" ? fullSize : cases["RoBERTa-large's layers"];
const referenceFolder = size === "base" ? folder : `${folder}/few-words`;
if (!await isFile(`${folder}/model.safetensors`)) {
  const config = { ...common, ...sizes[size as keyof typeof sizes] };
  if (referenceFolder !== folder) await writeCheckpoint(referenceFolder, expected.config);
  await writeCheckpoint(folder, config, { tokenizer: tokenizerFiles() });
  console.error(`written; run again to measure without what writing left in memory`);
  Deno.exit();
}
using gpu = await testGpu();
const figures = await measure(gpu, folder);
const agreement = await agreementOn(referenceFolder, expected);
console.log(JSON.stringify({ ...figures, agreement }));
if (agreement.largestRelativeError > 1e-4) Deno.exit(1);
