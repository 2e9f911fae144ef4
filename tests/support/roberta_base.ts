/**
 * A RoBERTa checkpoint of full size with seeded weights in the real layout, training steps on it, and PyTorch's on the same.
 *
 *     deno run -A tests/support/roberta_base.ts FOLDER [base|large]
 *
 * writes FOLDER unless it is there; trains steps of LoRA (r = 8, q and v, 8 texts of 128 tokens) and prints seconds and bytes
 * as JSON, `host` being the process's memory beyond the GPU's buffers (a software driver's lie in the same process); and, for
 * base, the largest relative errors against `fixtures/bert_reference.json`.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { lora } from "../../lib/adapters/lora.ts";
import { isFile } from "../../lib/files.ts";
import { loadEncoder } from "../../lib/models/load_encoder.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { FrozenWeights } from "../../lib/train/weights.ts";
import { errorsOf, fullSize, trainerFor } from "./bert_reference.ts";
import { testGpu } from "./ops.ts";
import { writeCheckpoint } from "./seeded_checkpoint.ts";

const sizes = {
  base: { hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 },
  large: { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 },
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

/** Bytes of this process's memory now, and the most so far. */
function processMemory(): { now: number; peak: number } {
  const status = Deno.readTextFileSync("/proc/self/status");
  const bytes = (field: string) => Number(status.match(new RegExp(`${field}:\\s+(\\d+) kB`))![1]) * 1024;
  return { now: bytes("VmRSS"), peak: bytes("VmHWM") };
}

const [folder, size = "base"] = Deno.args;
if (!folder || !Object.hasOwn(sizes, size)) {
  console.error("usage: deno run -A tests/support/roberta_base.ts FOLDER [base|large]");
  Deno.exit(2);
}
const config = { ...common, ...sizes[size as keyof typeof sizes] };
if (!await isFile(`${folder}/model.safetensors`)) {
  await writeCheckpoint(folder, config, { tokenizer: tokenizerFiles() });
  console.error(`written; run again to measure without what writing left in memory`);
  Deno.exit();
}

const seconds = async (work: () => Promise<unknown>) => {
  const start = performance.now();
  await work();
  return Number(((performance.now() - start) / 1000).toFixed(2));
};
using gpu = await testGpu();
const before = processMemory();
const model = await loadEncoder(folder);
const afterFiles = processMemory();
let uploaded: FrozenWeights | undefined;
const uploadSeconds = await seconds(async () => {
  uploaded = FrozenWeights.of(gpu, model);
  await gpu.settled();
});
using frozen = uploaded!;
const weightBytes = gpu.memory.bytes;
const afterUpload = processMemory();
const adapter = attach(model, lora, { r: 8, target: ["query", "value"], dropout: 0.05 });
const examples = Array.from({ length: 8 }, (_, i) => ({
  texts: [[0, ...Array.from({ length: 126 }, (_, t) => 4 + (i * 7919 + t * 104729) % 50260), 2]],
  label: i % 2,
}));
const head = { shape: "single", objective: "classification", texts: 1, outputs: 2 } as const;
const options = { learningRate: 3e-4, epochs: 3, batchSize: 8, warmupRatio: 0, seed: 0 };
using trainer = new Trainer(gpu, model, adapter, head, examples, options, frozen);
const compileSeconds = await seconds(() => trainer.prepare([]));
const losses: number[] = [];
const steps: number[] = [];
for (let epoch = 0; epoch < options.epochs; epoch++) {
  steps.push(await seconds(async () => losses.push((await trainer.epoch(epoch))[0].loss)));
}
const after = processMemory();
const { peakBytes } = gpu.memory;
const measured = {
  adapter: gpu.adapter.name,
  model: size,
  weightBytes,
  largestTensorBytes: Math.max(
    ...model.weights.values().map(({ shape }) => 4 * shape.reduce((a, b) => a * b, 1)),
  ),
  uploadSeconds,
  compileSeconds,
  stepSeconds: steps,
  losses,
  gpuPeakBytes: peakBytes,
  host: {
    before: before.now,
    afterReadingHeaders: afterFiles.now,
    peakWhileUploading: afterUpload.peak - weightBytes,
    peakInAll: after.peak - peakBytes,
  },
};
console.log(JSON.stringify(measured, null, 2));
if (size === "base") {
  using reference = await trainerFor(folder, fullSize);
  const errors = [...await errorsOf(reference, fullSize)];
  const [what, error] = errors.reduce((most, own) => own[1] > most[1] ? own : most);
  console.log(`largest relative error against PyTorch, of ${errors.length} tensors: ${error} (${what})`);
  if (error > 1e-4) Deno.exit(1);
}
