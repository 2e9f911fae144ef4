/** A forward pass of an encoder's layers with the bare model's weights, or with an adapter's merged into them. */

import { attach } from "../../lib/adapters/attach.ts";
import { headOnly } from "../../lib/adapters/base_only.ts";
import { lora } from "../../lib/adapters/lora.ts";
import type { Weight } from "../../lib/models/model.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import { initialise } from "../../lib/adapters/initialise.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import { AdaptedModel } from "../../lib/train/adapted_model.ts";
import { batchInputs } from "../../lib/train/batches.ts";
import { headParameters, traceStep } from "../../lib/train/step.ts";
import { FrozenWeights } from "../../lib/train/weights.ts";
import type { Runner, Work } from "../work.ts";
import { examples, head, length, texts } from "./lora_step.ts";
import type { ShapedEncoder } from "./shaped_encoder.ts";

/** The weights of `model` with a fresh LoRA's merged into them. */
async function mergedWeights(gpu: Gpu, model: ShapedEncoder): Promise<ReadonlyMap<string, Weight>> {
  using adapted = new AdaptedModel(gpu, model);
  const adapter = attach(model, lora, { r: 8, target: ["query", "value"] });
  adapted.add("lora", adapter, startingWeights(model, adapter, 0));
  await adapted.merge();
  return adapted.mergedWeights();
}

async function runnerOf(gpu: Gpu, model: ShapedEncoder, merged: boolean): Promise<Runner> {
  using owned = new DisposableStack();
  const bare = attach(model, headOnly, { target: "all-linear" });
  const { predictions } = traceStep(model, bare, head, { examples: texts, length }, false);
  const own = [...headParameters(model, head)].map(
    ([name, spec]): [string, Weight] => [name, initialise(name, spec, 0)],
  );
  const weights = merged ? await mergedWeights(gpu, model) : model.weights;
  const frozen = owned.use(new FrozenWeights(gpu, [...weights, ...model.constants, ...own]));
  const compiled = owned.use(
    await compile(gpu, [predictions], { label: "predict", weights: (name) => frozen.view(name)! }),
  );
  const batch = { length, indices: [...examples.keys()] };
  const data = batchInputs(model, head, texts, batch, examples);
  for (const [name, { buffer }] of compiled.inputs) gpu.upload(buffer, data[name as keyof typeof data]);
  const { buffer, offset, bytes } = compiled.view(predictions);
  const all = owned.move();
  return {
    async results() {
      compiled.program.replay();
      return [new Float32Array(await gpu.read(buffer, bytes, offset))];
    },
    async lap(times) {
      for (let i = 0; i < times; i++) compiled.program.replay();
      await gpu.read(buffer, 4, offset);
    },
    dispose: () => all.dispose(),
  };
}

/** One batch of predictions. */
export function forwardPass(gpu: Gpu, model: ShapedEncoder, weights: "bare" | "merged"): Work {
  return {
    name: `forward pass, ${weights}`,
    flops: 2 * texts * length * model.multiplyAddsPerToken,
    bytes: 4 * model.multiplyAddsPerToken,
    ways: { "this library": () => runnerOf(gpu, model, weights === "merged") },
  };
}
