/** `deno task explain`: which kernel a product gets, on this device or another kind, and what it refuses. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { choiceText } from "../lib/graph/plan.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { classification } from "../lib/objectives/classification.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { writeTinyDecoder } from "./support/tiny_decoder.ts";

Deno.test("explain: alike products together, each with its kernel, its rule and what else fits, by device", async () => {
  const small = ["--model", "roberta-base", "--method", "LoRA", "--batch", "2", "--length", "32"];
  const lines = async (kind: string) => {
    const { code, stdout } = await runTask("explain", [...small, "--device", kind]);
    assert.equal(code, 0);
    return stdout.split("\n");
  };
  const [software, gpu] = [await lines("software"), await lines("gpu")];
  const after = (text: readonly string[], module: string) => text[text.indexOf(module) + 1];
  const key = "12 × roberta.encoder.layer.0.attention.self.key (product)";
  assert.match(
    after(software, key),
    /^ {4}NT 64×768×768 of f32 in panels by subgroup 32×8: default for a dense layer in the table of/,
  );
  assert.match(
    after(gpu, key),
    /NT 64×768×768 of f32 by workgroup 32×32 by 4×4, k in 6 parts: .*few tiles.*GPUs.*; not another/,
  );
  const { stdout } = await runTask("explain", [...small, "--device", "gpu", "--json"]);
  const { traits, products } = JSON.parse(stdout);
  assert.deepEqual(traits, { subgroupSize: 32, software: false });
  const found = products.find(({ module }: { module: string }) => key.endsWith(module));
  assert.deepEqual([found.count, found.kernel], [12, "workgroup 32×32 by 4×4, k in 6 parts"]);
});

Deno.test("explain: the kernels that a trainer's programs have on this device", async () => {
  const gpu = await testGpu();
  const model = await loadUseLite();
  for (const [method, options] of [["BoRA", {}], ["ReLoRA", {}], ["Full fine-tuning", {}]] as const) {
    const adapter = attach(model, methodByName(method), { target: ["query", "value"], ...options });
    const objective = classification.of(model, { texts: 1, classes: 2 });
    const examples = [{ texts: [[1, 2, 3]], label: 0 }];
    const run = { learningRate: 1e-3, epochs: 1, batchSize: 16, warmupRatio: 0, seed: 0 };
    using trainer = new Trainer({ gpu, model, adapter, objective, examples, ...run });
    const { code, stdout } = await runTask("explain", ["--method", method, "--json"]);
    assert.equal(code, 0);
    const explained = new Set(JSON.parse(stdout).products.map(choiceText));
    const dumped = (await trainer.dump(64)).split("\n").filter((line) => / by .*: .*; not /.test(line));
    assert.deepEqual(explained, new Set(dumped.map((line) => line.trim())));
  }
});

Deno.test("explain: a decoder's layers and its vocabulary, of a published shape and of a folder", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(folder);
    for (
      const [model, [q, vocabulary]] of [
        ["HuggingFaceTB/SmolLM2-135M", ["30 × NT 64×576×576 of f32", "1 × NT 64×49152×576 of f32"]],
        [folder, ["1 × NT 64×64×64 of f32", "1 × NT 64×640×64 of f32"]],
      ] as const
    ) {
      const args = [
        "--model",
        model,
        "--method",
        "LoRA",
        "--batch",
        "2",
        "--length",
        "32",
        "--device",
        "gpu",
      ];
      const { code, stdout, stderr } = await runTask("explain", [...args, "--json"]);
      assert.equal(code, 0, stderr);
      const { products } = JSON.parse(stdout);
      const shapes = (module: RegExp) =>
        products.filter((own: { module: string }) => module.test(own.module)).map((
          { count, problem }: { count: number; problem: string },
        ) => `${count} × ${problem}`);
      assert.ok(shapes(/^model\.layers\.0\.self_attn\.q_proj \(product\)/).includes(q));
      assert.ok(shapes(/^(model\.embed_tokens|lm_head)\.weight \(product\)/).includes(vocabulary));
      assert.ok(shapes(/v_proj/).some((own: string) => / NT 64×8×\d+ of f32/.test(own)), "v_proj has a LoRA");
    }
  }));

Deno.test("explain: what it cannot be asked", async () => {
  for (
    const [args, message] of [
      [
        ["--model", "roberta-base", "--length", "600"],
        /^--length is 600, and roberta-base reads 512 tokens at most$/m,
      ],
      [["--device", "phone"], /--device is "phone": give here, software or gpu/],
      [["--device", "toString"], /--device is "toString": give/],
      [["--device", "gpu", "--batch", "0"], /--batch wants a whole number from 1, not 0/],
      [
        ["--device", "gpu", "--model", "nowhere"],
        /there is no folder nowhere, .* roberta-base, .* Qwen\/Qwen3-8B/,
      ],
      [["--device", "gpu", "--method", "LoRE"], /no method "LoRE"; have/],
    ] as const
  ) {
    const { code, stderr } = await runTask("explain", args);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.notEqual(code, 0);
  }
});
