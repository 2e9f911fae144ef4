/** The models whose training steps are raced, and how the peers compute their class scores. */

import type { Model, Weight } from "../../lib/models/model.ts";
import { loadUseLite } from "../../lib/models/use_lite.ts";
import type { JaxArray } from "../libraries/jax.ts";
import type { tf } from "../libraries/tfjs.ts";
import { jaxDecoderScores, tfjsDecoderScores } from "./peer_decoders.ts";
import { type BatchShape, jaxScores, positionsOf, tfjsScores } from "./peer_encoders.ts";
import { jaxUseLiteScores, tfjsUseLiteScores, useLiteShape } from "./peer_use_lite.ts";
import { rmsEpsilon, shapedDecoder } from "./shaped_decoder.ts";
import { epsilon, type ShapedEncoder } from "./shaped_encoder.ts";

/** A model to train, and how the peers compute its class scores. */
export interface Trainee {
  readonly model: Model;
  readonly layers: number;
  /** The target modules of the adapters. */
  readonly target: readonly string[];
  /** Multiply-adds per token of all layers' attention in the forward pass. */
  readonly attention: number;
  /**
   * Multiply-adds per token of the layers whose input needs no gradient, because nothing below them is
   * trained.
   */
  readonly untrainedBelow: number;
  tfjsScores(weights: ReadonlyMap<string, tf.Tensor>, ids: tf.Tensor1D): tf.Tensor;
  /** Consumes none of the weights, which include the ids and `jaxConstants`. */
  jaxScores(weights: Record<string, JaxArray>): JaxArray;
  readonly jaxConstants: Readonly<Record<string, Weight>>;
  /** The function of `pytorch.py` that computes the scores, and its arguments besides the number of texts. */
  readonly torch: { readonly scores: "encode" | "encode_use_lite" | "decode"; readonly shape: object };
}

/** Multiply-adds of the first layer's query, key and value. */
function firstProjections({ linears }: Model): number {
  return linears
    .filter(({ path, role }) => path.startsWith("layer.0.") && ["query", "key", "value"].includes(role))
    .reduce((sum, { m, n }) => sum + m * n, 0);
}

/** An encoder of RoBERTa-base's shape with adapters on query and value. */
export function encoderTrainee(model: ShapedEncoder, batch: BatchShape): Trainee {
  const { layers, heads, width } = model;
  return {
    model,
    layers,
    target: ["query", "value"],
    attention: 2 * batch.length * width * layers,
    untrainedBelow: firstProjections(model),
    tfjsScores: (weights, ids) => tfjsScores(model, weights, ids, batch),
    jaxScores: (weights) => jaxScores(model, weights, batch),
    jaxConstants: { placed: positionsOf(model, batch.length) },
    torch: { scores: "encode", shape: { layers, heads, epsilon } },
  };
}

/** A decoder of LLaMA's shape with adapters on query, key and value, as in the paper. */
export function decoderTrainee(layers: number, vocabulary: number, batch: BatchShape): Trainee {
  const model = shapedDecoder(layers, vocabulary, batch.length);
  const { heads, kvHeads, width } = model;
  return {
    model,
    layers,
    target: ["query", "key", "value"],
    // A token attends to half of the others on average.
    attention: (batch.length + 1) * width * layers,
    untrainedBelow: firstProjections(model),
    tfjsScores: (weights, ids) => tfjsDecoderScores(model, weights, ids, batch),
    jaxScores: (weights) => jaxDecoderScores(model, weights, batch),
    jaxConstants: { rotary: model.constants.get("rotary")! },
    torch: { scores: "decode", shape: { layers, heads, kvHeads, epsilon: rmsEpsilon } },
  };
}

/** The embedded suite's encoder with adapters on query and value. */
export async function useLiteTrainee(batch: BatchShape): Promise<Trainee> {
  const model = await loadUseLite();
  const inputs = model.linears.filter(({ role }) => role === "query").map(({ n }) => n);
  const { shape: [m, n] } = model.weights.get("layer.0.residual.weight")!;
  return {
    model,
    layers: useLiteShape.layers,
    target: ["query", "value"],
    attention: 2 * batch.length * inputs.reduce((sum, input) => sum + input, 0),
    untrainedBelow: firstProjections(model) + m * n,
    tfjsScores: (weights, ids) => tfjsUseLiteScores(weights, ids, batch),
    jaxScores: (weights) => jaxUseLiteScores(weights, batch),
    jaxConstants: { placed: positionsOf(model, batch.length) },
    torch: { scores: "encode_use_lite", shape: useLiteShape },
  };
}
