/**
 * SmolLM2-135M-Instruct, a real model in GGUF's blocks, against transformers on the same values. It is not run where
 * `deno task models smollm2` was not: .ci/run fetches it.
 */

import assert from "node:assert/strict";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { isFetched, packagedModel } from "../lib/models/packaged_models.ts";
import reference from "./fixtures/smollm2_reference.json" with { type: "json" };
import { testGpu } from "./support/ops.ts";

const ignore = !await isFetched(packagedModel("smollm2")!);
if (ignore) console.warn("smollm2 is not here (deno task models smollm2): it is not tested");

/** Two logits are as good as equal up to here. */
const tie = 1e-3;

/** Prompts that are continued, and tokens that are written: the fixture has 20 of 48, which take a minute. */
const [prompts, tokens] = [4, 16];

Deno.test({
  name: "SmolLM2 reads prompts as the same ids as transformers, and goes on with the same tokens",
  ignore,
  fn: async () => {
    using writer = new Writer({ gpu: await testGpu(), model: await loadDecoder("smollm2") });
    for (const { prompt, ids } of reference.rows) assert.deepEqual(writer.idsOf(prompt), ids);
    for (const { prompt, new: expected, margins } of reference.rows.slice(0, prompts)) {
      const [{ ids }] = await writer.write([prompt], { maxTokens: tokens });
      const differs = ids.findIndex((id, i) => id !== expected[i]);
      assert.ok(differs < 0 || margins[differs] < tie, `"${prompt}" differs at token ${differs}`);
      assert.ok(differs >= 0 || ids.length === tokens || expected[ids.length - 1] === ids.at(-1));
    }
  },
});

Deno.test({
  name: "SmolLM2's perplexity of a text is transformers'",
  ignore,
  fn: async () => {
    using writer = new Writer({ gpu: await testGpu(), model: await loadDecoder("smollm2") });
    const [first, ...rest] = writer.idsOf(await Deno.readTextFile(new URL("../LICENSE", import.meta.url)));
    const [[score]] = await writer.score([[first]], [rest]);
    const perplexity = Math.exp(-score / rest.length);
    assert.ok(Math.abs(perplexity / reference.perplexity - 1) < 1e-3, `${perplexity}`);
  },
});

Deno.test({
  name: "a token of SmolLM2 takes eight launches a layer",
  ignore,
  fn: async () => {
    const model = await loadDecoder("smollm2");
    using writer = new Writer({ gpu: await testGpu(), model });
    const pass = GPUComputePassEncoder.prototype;
    const launch = pass.dispatchWorkgroups;
    let launches = 0;
    using _ = {
      [Symbol.dispose]() {
        pass.dispatchWorkgroups = launch;
      },
    };
    pass.dispatchWorkgroups = function (...grid) {
      launches++;
      return launch.apply(this, grid);
    };
    const of = async (maxTokens: number) => {
      launches = 0;
      await writer.write(["Water boils at"], { maxTokens });
      return launches;
    };
    // Before and after the layers: the look-up, the last norm and the head.
    assert.equal(await of(3) - await of(2), 8 * model.language.cached.layers + 3);
  },
});
