/**
 * A forward pass through an encoder's layers with the bare model's weights, or with an adapter merged into
 * them.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { headOnly } from "../../lib/adapters/base_only.ts";
import { initialise } from "../../lib/adapters/initialise.ts";
import { lora } from "../../lib/adapters/lora.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { compile } from "../../lib/graph/compile.ts";
import type { Weight } from "../../lib/models/model.ts";
import { AdaptedModel } from "../../lib/train/adapted_model.ts";
import { batchInputs } from "../../lib/run/batches.ts";
import { traceStep } from "../../lib/run/step.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { jax, jaxRunner } from "../libraries/jax.ts";
import { onnxRunner } from "../libraries/onnx.ts";
import { torchRunner, torchWays } from "../libraries/pytorch.ts";
import { tf, tfjsRunner, tfjsWays } from "../libraries/tfjs.ts";
import type { Group, Runner, Ways, Work } from "../work.ts";
import { examples, ids as tokenIds, length, objective, texts, vocabulary } from "./batch.ts";
import { jaxScores, onnxScores, positionsOf, scale, tfjsScores } from "./peer_encoders.ts";
import { epsilon, type ShapedEncoder, shapedEncoder } from "./shaped_encoder.ts";

/** The weights of `model` with a new LoRA adapter merged in. */
async function mergedWeights(gpu: Gpu, model: ShapedEncoder): Promise<ReadonlyMap<string, Weight>> {
  using adapted = new AdaptedModel(gpu, model);
  const adapter = attach(model, lora, { r: 8, target: ["query", "value"] });
  adapted.add("lora", adapter, startingWeights(model, adapter, 0));
  await adapted.merge();
  return adapted.mergedWeights();
}

function headWeights(model: ShapedEncoder): [string, Weight][] {
  return [...objective(model).parameters].map(([name, spec]) => [name, initialise(name, spec, 0)]);
}

async function runnerOf(gpu: Gpu, model: ShapedEncoder, merged: boolean): Promise<Runner> {
  using owned = new DisposableStack();
  const bare = attach(model, headOnly, { target: "all-linear" });
  const { predictions } = traceStep(
    model,
    bare,
    objective(model),
    { examples: texts, length, rows: 0 },
    false,
  );
  const weights = merged ? await mergedWeights(gpu, model) : model.weights;
  const ofHead = headWeights(model);
  const frozen = owned.use(new FrozenWeights(gpu, [...weights, ...model.constants, ...ofHead]));
  const compiled = owned.use(
    await compile(gpu, [predictions], { label: "predict", weights: (name) => frozen.view(name)! }),
  );
  const batch = { length, indices: [...examples.keys()] };
  const data = batchInputs(model, objective(model), { examples: texts, length, rows: 0 }, batch, examples);
  compiled.upload(data);
  const all = owned.move();
  return {
    async results() {
      compiled.run();
      return [await compiled.read(predictions)];
    },
    async lap(times) {
      for (let i = 0; i < times; i++) compiled.run();
      await compiled.read(predictions, 1);
    },
    dispose: () => all.dispose(),
  };
}

/** The bare model in the peers. */
function peerWays(model: ShapedEncoder): Ways {
  const shape = { texts, length };
  const weights = new Map([...model.weights, ...model.constants, ...headWeights(model)]);
  const inputs = Object.fromEntries(weights);
  return {
    ...tfjsWays((backend) =>
      tfjsRunner(backend, inputs, (tensors) => {
        return [
          tfjsScores(model, new Map(Object.entries(tensors)), tf.tensor1d([...tokenIds], "int32"), shape),
        ];
      })
    ),
    "jax-js": () =>
      jaxRunner({ ...inputs, placed: positionsOf(model, length) }, (arrays) => {
        const ids = jax.numpy.array(Int32Array.from(tokenIds), { dtype: jax.numpy.int32 });
        return [jaxScores(model, { ...arrays, ids }, shape)];
      }),
    "onnxruntime-node": () => onnxRunner({}, (graph) => [onnxScores(graph, model, weights, tokenIds, shape)]),
    ...torchWays((device) =>
      torchRunner(device, "encoder", inputs, {
        ids: tokenIds,
        shape: { texts, layers: model.layers, heads: model.heads, epsilon, scale },
      })
    ),
  };
}

/** Predicts one batch. */
export function forwardPass(gpu: Gpu, model: ShapedEncoder, weights: "bare" | "merged"): Work {
  return {
    name: `forward pass, ${weights}`,
    flops: 2 * texts * length * model.multiplyAddsPerToken,
    bytes: 4 * model.multiplyAddsPerToken,
    ways: {
      "this library": () => runnerOf(gpu, model, weights === "merged"),
      ...(weights === "bare" ? peerWays(model) : {}),
    },
    cannot: { "doppler-gpu": "runs only the model families it converts" },
  };
}

export const inference: Group = {
  name: "inference",
  title: "A forward pass through layers of RoBERTa-base's shape, 8 texts of 64 tokens",
  works: (gpu) => [forwardPass(gpu, shapedEncoder(1, vocabulary, length), "bare")],
};
