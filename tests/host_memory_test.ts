/** Weights go from disk to the GPU piece by piece: the host never holds the whole checkpoint. */

import assert from "node:assert/strict";
import { decoderConfigOf } from "../lib/models/decoder_config.ts";
import { decoderShapes } from "../lib/models/llama.ts";
import { cases, type DecoderCase, writeDecoder } from "./support/decoder_reference.ts";
import type { MemoryOfLoading } from "./support/memory_of_loading.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

const mib = 2 ** 20;

/** Six layers of RoBERTa-large's shape: 288 MiB and more, the largest tensor 16 MiB. */
const config = {
  model_type: "roberta",
  hidden_size: 1024,
  num_hidden_layers: 6,
  num_attention_heads: 16,
  intermediate_size: 4096,
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  vocab_size: 300,
  max_position_embeddings: 40,
  type_vocab_size: 1,
  pad_token_id: 1,
};
const largest = 4 * 1024 * 4096;

async function memoryOfLoading(folder: string, ...packing: string[]): Promise<MemoryOfLoading> {
  const script = new URL("support/memory_of_loading.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", script, folder, ...packing],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

for (const dtype of ["F32", "F16"] as const) {
  Deno.test(`a checkpoint in ${dtype}, eighteen times its largest tensor, loads in 1.2 × that tensor and 40 MiB`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await writeCheckpoint(folder, config, { hollow: true, dtype });
      const { gpuBytes, hostBytes } = await memoryOfLoading(folder);
      assert.ok(gpuBytes > 18 * largest, `${gpuBytes} bytes on the GPU`);
      assert.ok(hostBytes < 1.2 * largest + 40 * mib, `${hostBytes / mib} MiB of host memory`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** 960 MiB in float32, 255 MiB in int8; each of the two tables has 96 MiB in float32. */
const decoder: DecoderCase = {
  ...cases["LLaMA 2"],
  config: {
    model_type: "llama",
    hidden_size: 1024,
    num_hidden_layers: 12,
    num_attention_heads: 16,
    intermediate_size: 4096,
    vocab_size: 24576,
    tie_word_embeddings: false,
  },
};

Deno.test("a decoder of 960 MiB is packed on its way in 80 MiB, a third of what it has packed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const shapes = decoderShapes(decoderConfigOf("config.json", decoder.config));
    const tensors = Object.fromEntries([...shapes].map(([name, shape]) => [name, { shape, sha256: "" }]));
    await writeDecoder(folder, { ...decoder, tensors }, { hollow: true, dtype: "F16" });
    const { gpuBytes, hostBytes } = await memoryOfLoading(folder, "int8");
    assert.ok(gpuBytes > 250 * mib && gpuBytes < 270 * mib, `${gpuBytes} bytes on the GPU`);
    assert.ok(hostBytes < 80 * mib, `${hostBytes / mib} MiB of host memory`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
