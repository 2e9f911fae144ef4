/** Fitting an update: a method reaches what it can express and does not reach what it cannot. */

import assert from "node:assert/strict";
import { lora } from "../lib/adapters/lora.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { bestLowRankError, singularValues } from "../lib/analysis/spectrum.ts";
import { fitUpdate } from "../lib/train/fit_update.ts";
import { testGpu } from "./support/ops.ts";
import { randomValues } from "../tasks/conformance/op_errors.ts";
import { attachPooled } from "./support/pool.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";

const model = tinyEncoder();
const size = 16;
const options = { learningRate: 1e-2, steps: 400, seed: 0 };

/** Σ of outer products: a 16×16 matrix of the given rank with entries of about 0.01, as fine-tuning's are. */
function updateOfRank(rank: number): Float64Array {
  const [u, v] = [randomValues("u", size * rank), randomValues("v", size * rank)];
  return Float64Array.from({ length: size * size }, (_, at) => {
    let sum = 0;
    for (let c = 0; c < rank; c++) sum += u[Math.floor(at / size) * rank + c] * v[(at % size) * rank + c];
    return 0.01 * sum;
  });
}

Deno.test("LoRA of rank 2 fits an update of rank 2; of rank 1 it comes near the SVD's error and no further", async () => {
  const update = updateOfRank(2);
  const fit = async (r: number) => {
    const adapter = attachPooled(model, lora, ["query"], { r });
    return await fitUpdate(await testGpu(), model, adapter, update, options);
  };
  assert.ok(await fit(2) < 1e-4);
  const optimum = bestLowRankError(singularValues(update, size, size), 1);
  const error = await fit(1);
  assert.ok(error > 0.999 * optimum && error < 1.02 * optimum, `${error}, optimum ${optimum}`);
});

Deno.test("blocks: an update in one diagonal block is MELoRA's, not one that crosses them", async () => {
  const melora = attachPooled(model, methodByName("MELoRA"), ["query"], { r: 2, blocks: 4 });
  const inBlock = (j: number, k: number) => {
    const whole = updateOfRank(2);
    return whole.map((value, at) =>
      Math.floor(at / size / 4) === j && Math.floor(at % size / 4) === k ? value : 0
    );
  };
  const gpu = await testGpu();
  assert.ok(await fitUpdate(gpu, model, melora, inBlock(2, 2), options) < 1e-3);
  assert.ok(await fitUpdate(gpu, model, melora, inBlock(1, 2), options) > 0.9);
  const bora = attachPooled(model, methodByName("BoRA"), ["query"], { r: 2, blocks: 4 });
  assert.ok(await fitUpdate(gpu, model, bora, inBlock(1, 2), options) < 0.1);
});

for (const method of methods.filter(({ mergeable, peft }) => mergeable && peft)) {
  Deno.test(`${method.name}: fitting lowers the error from 1`, async () => {
    const adapter = attachPooled(model, method, ["query"]);
    const error = await fitUpdate(await testGpu(), model, adapter, updateOfRank(4), {
      ...options,
      steps: 100,
    });
    assert.ok(error < 0.98, String(error));
  });
}
