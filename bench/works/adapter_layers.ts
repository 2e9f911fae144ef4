/**
 * One 768×768 layer with 512 tokens under every method, forward and backward: the whole layer, and the
 * adapter alone.
 */

import { attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { AdapterOptions, Method } from "../../lib/adapters/method.ts";
import { methods } from "../../lib/adapters/registry.ts";
import { constantWeights, startingWeights } from "../../lib/adapters/starting_weights.ts";
import { tracedParameters } from "../../lib/adapters/trace.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { grad } from "../../lib/graph/grad.ts";
import { Graph } from "../../lib/graph/graph.ts";
import { linear } from "../../lib/graph/ops/product/product.ts";
import { sumOfSquares } from "../../lib/graph/ops/sum_of_squares.ts";
import type { Model } from "../../lib/models/model.ts";
import { textless } from "../../lib/models/textless.ts";
import { ourRunner } from "../libraries/ours.ts";
import { type Group, type Input, randomInput, type Work } from "../work.ts";

const [width, texts] = [768, 8];
const path = "layer";
const weight = randomInput("W", [width, width], width ** -0.5);

/** A model with one linear layer. */
const model: Model = {
  name: "one layer",
  weights: new Map([[`${path}.weight`, weight]]),
  constants: new Map(),
  linears: [{ path, target: path, role: "other", m: width, n: width }],
  width,
  multiplyAddsPerToken: width * width,
  vocabulary: 1,
  ...textless,
  trace: () => {
    throw new Error("a layer alone is not an encoder");
  },
};

/** A method and its options. */
export interface Case {
  readonly label: string;
  readonly method: Method;
  readonly options: object;
}

const cases: readonly Case[] = methods.filter(({ peft }) => peft).flatMap((method) => {
  const defaults: AdapterOptions & { readonly r?: number; readonly blocks?: number | "auto" } =
    method.defaults;
  const options = defaults.blocks === "auto" ? { blocks: 16 } : {};
  const { r, blocks } = { ...defaults, ...options };
  const own = { label: `${method.name} r ${r}${blocks ? ` b ${blocks}` : ""}`, method, options };
  return method.name === "BoRA"
    ? [own, { label: "BoRA r 8 b auto", method, options: { blocks: "auto" } }]
    : [own];
});

/** True if the method computes with the frozen weight itself. Then its adapter cannot run alone. */
function readsWeight({ method, options }: Case): boolean {
  const adapter = attach(model, method, { ...options, target: [path] } as AttachOptions);
  const [adapted] = adapter.modules;
  const graph = new Graph();
  const [x, base] = [graph.input("x", [1, width]), graph.input("base", [1, width])];
  let isRead = false;
  method.forward({
    ...adapted,
    x,
    dropped: x,
    get weight() {
      isRead = true;
      return graph.weight(`${path}.weight`, weight.shape, false);
    },
    parameters: tracedParameters(graph, adapter, adapted),
    lengths: graph.input("lengths", [1], "u32"),
    base: () => base,
    product: () => base,
    addLoss: () => {},
  });
  return isRead;
}

/**
 * Forward and backward pass of one layer for 8 texts of `length` tokens; `alone` leaves out the frozen matrix
 * product.
 */
export function layer(gpu: Gpu, { label, method, options }: Case, alone: boolean, length = 64): Work {
  const tokens = texts * length;
  const adapter = attach(model, method, { ...options, target: [path] } as AttachOptions);
  const [adapted] = adapter.modules;
  const inputs: Record<string, Input> = {
    x: randomInput("x", [tokens, width]),
    ...(alone ? { base: randomInput("base", [tokens, width]) } : {}),
    ...Object.fromEntries([
      ...model.weights,
      ...startingWeights(model, adapter, 0),
      ...constantWeights(model, adapter),
    ]),
  };
  const { forward, backward, step } = method.cost(adapted.module, adapted.options);
  const frozen = alone ? 0 : 2 * width * width;
  return {
    name: `${label}${alone ? ", adapter alone" : ""}`,
    flops: 2 * (tokens * (frozen + forward + backward) + step),
    bytes: 4 * ((alone ? 0 : width * width) + 4 * tokens * width),
    ways: {
      "this library": () =>
        ourRunner(gpu, inputs, ({ x, base, [`${path}.weight`]: W }, graph) => {
          const y = method.forward({
            ...adapted,
            x,
            dropped: x,
            weight: W,
            parameters: tracedParameters(graph, adapter, adapted),
            lengths: graph.input("lengths", [texts], "u32"),
            base: () => alone ? base : linear(x, W),
            product: () => alone ? base : linear(x, W),
            addLoss: () => {},
          });
          const loss = sumOfSquares(y, 1);
          const targets = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) =>
            outputs[0]
          );
          return grad([loss], targets);
        }, {
          integers: { lengths: Uint32Array.from({ length: texts }, () => length) },
          trainable: ["x", ...adapter.parameters.keys()],
        }),
    },
  };
}

export const adapterLayers: Group = {
  name: "layers",
  title: "One 768×768 layer of 512 tokens, forward and backward, by method",
  works: (gpu) =>
    cases.flatMap((entry) => [
      layer(gpu, entry, false),
      ...readsWeight(entry) ? [] : [layer(gpu, entry, true)],
    ]),
};
