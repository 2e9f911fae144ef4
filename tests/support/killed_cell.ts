/**
 * One small cell that saves itself into the folder given, for tests that kill it; writes
 * `cell.json` and `adapter.safetensors` there at its end. Goes on where it was stopped.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { bora } from "../../lib/adapters/bora.ts";
import { writeWhole } from "../../lib/files.ts";
import { openGpu } from "../../lib/gpu/device.ts";
import { writeSafetensors } from "../../lib/models/safetensors.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { fineTune } from "../../lib/train/fine_tune.ts";
import { tinyEncoder } from "../../tasks/conformance/tiny_encoder.ts";
import { letters, splitOfLetters } from "./letters.ts";

const [folder] = Deno.args;
using gpu = await openGpu();
const model = tinyEncoder();
using frozen = FrozenWeights.forTraining(gpu, model);
const adapter = attach(model, bora, { r: 2, blocks: 4, dropout: 0.1, target: ["query", "value"] });
const options = { learningRate: 1e-2, epochs: 8, batchSize: 1, warmupRatio: 0.1, seed: 1 };
const { trained, epochs, best, last } = await fineTune({
  gpu,
  model,
  frozen,
  adapter,
  task: { ...letters, maxTokens: 4 },
  split: splitOfLetters(20),
  ...options,
  checkpointing: { path: `${folder}/cell.checkpoint`, every: 2, cell: "tiny" },
});
await writeSafetensors(`${folder}/adapter.safetensors`, trained);
await writeWhole(`${folder}/cell.json`, JSON.stringify({ epochs, best, last }));
