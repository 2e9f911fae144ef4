/** `deno task decoders`: weights that are made, a step and tokens with them, and the record of the runs. */

import assert from "node:assert/strict";
import { publishedDecoder } from "../lib/models/published_configs.ts";
import { unpack } from "../lib/models/packing.ts";
import { madeWeights } from "../tasks/decoders/made_weights.ts";
import { estimateDecoder, measureDecoder } from "../tasks/decoders/measure.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";

const llama = publishedDecoder("HuggingFaceTB/SmolLM2-135M")!;

Deno.test("made weights: mean 0 and deviation 0.02 in both packings, by seed and name; norms change nothing", () => {
  for (const packing of ["int4", "int8"] as const) {
    const made = madeWeights(llama, 0);
    const valuesOf = (name: string) => unpack(made.packed(name, [512, 640], packing)).data;
    const values = valuesOf("a");
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const square = values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
    assert.ok(Math.abs(mean) < 2e-4 && Math.abs(Math.sqrt(square) - 0.02) < 2e-4, `${mean} ${square}`);
    assert.deepEqual(valuesOf("a"), values);
    assert.notDeepEqual(valuesOf("b"), values);
    assert.notDeepEqual(unpack(madeWeights(llama, 1).packed("a", [512, 640], packing)).data, values);
  }
  const norm = (config: typeof llama) => madeWeights(config, 0).dense("model.norm.weight", [4]).data;
  assert.deepEqual([...norm(llama)], [1, 1, 1, 1]);
  assert.deepEqual([...norm(publishedDecoder("google/gemma-2b")!)], [0, 0, 0, 0]);
});

Deno.test("a step on made weights loses about ln V, and takes the memory that is estimated", async () => {
  const gpu = await testGpu();
  for (
    const id of ["HuggingFaceTB/SmolLM2-135M", "google/gemma-2b", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-0.6B"]
  ) {
    const sizes = { layers: 2, width: 256, inner: 512, heads: 4, kvHeads: 2, headSize: 64, vocabulary: 1024 };
    const config = { ...publishedDecoder(id)!, ...sizes, frequencies: llama.frequencies, embeddingScale: 1 };
    const work = { config, packing: "int4", tokens: 32, newTokens: 3 } as const;
    const run = await measureDecoder(gpu, id, work);
    const { parameters, weightBytes, stepPeakBytes } = await estimateDecoder(gpu.traits, id, work);
    assert.deepEqual([run.parameters, run.weightBytes], [parameters, weightBytes]);
    // The estimate has a checkpoint's copies of the adapter.
    assert.ok(run.stepPeakBytes <= stepPeakBytes && run.stepPeakBytes > 0.9 * stepPeakBytes, id);
    assert.ok(Math.abs(run.loss - Math.log(1024)) < 0.3, `${id}: ${run.loss}`);
    assert.ok(run.tokenSeconds > 0 && run.firstTokenSeconds > 0 && run.hostPeakBytes > 0);
  }
});

Deno.test("deno task decoders keeps the runs of other layers, replaces its own, and names mistakes", () =>
  withFolder(async (out) => {
    const model = "HuggingFaceTB/SmolLM2-135M";
    const small = ["--model", model, "--new-tokens", "2", "--out", out];
    for (const [layers, tokens] of [["1", "8"], ["2", "8"], ["1", "12"]]) {
      const { code, stderr } = await runTask("decoders", [...small, "--layers", layers, "--tokens", tokens]);
      assert.equal(code, 0, stderr);
    }
    const { runs } = JSON.parse(await Deno.readTextFile(`${out}/decoders.json`));
    assert.deepEqual(runs.map(({ layers }: { layers: number }) => layers), [2, 1]);
    assert.equal(runs[0].whole.parameters, 134_515_008);
    const page = await Deno.readTextFile(`${out}/decoders.md`);
    assert.match(page, /\| HuggingFaceTB\/SmolLM2-135M +\| +1 of 30 \|/);
    assert.match(page, /on a text of 8 \(HuggingFaceTB\/SmolLM2-135M, 1 of 30 layers: 12\) tokens/);
    assert.match(page, /; then 2 tokens written after a prompt/);
    for (
      const [args, message] of [
        [["--model", "gpt2"], /no decoder "gpt2"; have meta-llama\/Llama-2-7b-hf/],
        [["--model", model, "--layers", "31"], /--layers wants a whole number from 1 to 30, not "31"/],
        [["--tokens", "1"], /--tokens wants a whole number from 2 to 512, not "1"/],
      ] as const
    ) {
      const { code, stderr } = await runTask("decoders", args);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  }));
