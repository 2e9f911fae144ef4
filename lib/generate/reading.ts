/**
 * Traces what a decoder reads of a batch of texts, over the keys and values of their earlier tokens, which are states of the
 * graph.
 */

import type { Adapter } from "../adapters/attach.ts";
import { tracer } from "../adapters/trace.ts";
import { type DType, Graph, type Tensor } from "../graph/graph.ts";
import { attention } from "../graph/ops/attention.ts";
import { cachedAttention } from "../graph/ops/cached_attention.ts";
import { lastToken } from "../graph/ops/last_token.ts";
import { matmul } from "../graph/ops/product/product.ts";
import { isRotatable, rotary } from "../graph/ops/rotary.ts";
import { vocabularyLoss } from "../graph/ops/vocabulary_loss.ts";
import { writeTokens } from "../graph/ops/write_tokens.ts";
import type { Cache, Decoder, Tokens, Tracer } from "../models/model.ts";
import { partsOfRows } from "../objectives/language.ts";
import { tokenInputs } from "../run/step.ts";

/** Whole prompts, a token more of each text, or tokens whose probabilities are asked for. */
export type ReadingKind = "start" | "next" | "judge";

/** What is read. */
export interface Reading {
  readonly kind: ReadingKind;
  /** Tokens of each text that are read. */
  readonly length: number;
  readonly texts: number;
  /** Tokens of each text that the cache has room for. */
  readonly capacity: number;
  /** f32 by default. */
  readonly cache?: CacheStorage;
}

/** How the cache's keys and values are stored. */
export type CacheStorage = "f32" | "f16";

/** The states that hold a layer's keys and values, [texts · capacity, width of both]. */
export const keysOf = (path: string): string => `keys of ${path}`;
export const valuesOf = (path: string): string => `values of ${path}`;

/**
 * Logits of each text's next token, in pieces of the vocabulary: [texts, tokens] each; or, of what is judged, −log p of every
 * label: [texts · length]. Inputs by name: those of `Tokens`, at (each text's tokens before, [texts] u32), and of what is judged
 * labels, weights and all rows. `storage` is as in `TraceContext`.
 */
export function traceReading(
  model: Decoder,
  adapter: Adapter,
  reading: Reading,
  storage?: (name: string) => DType,
): Tensor[] {
  const { kind, length, texts } = reading;
  const graph = new Graph();
  const tokens: Tokens = { ...tokenInputs(graph, texts, length), cache: cacheOf(graph, model, reading) };
  const own = tracer(graph, model, adapter, { lengths: tokens.lengths, storage });
  const hidden = model.trace(own, tokens);
  if (kind === "judge") return [nllOf(model, own, hidden)];
  return logitsOf(model, own, length === 1 ? hidden : lastToken(hidden, tokens.lengths));
}

/** The cache as a graph sees it. What is judged is not kept. */
function cacheOf(graph: Graph, model: Decoder, { kind, texts, capacity, cache }: Reading): Cache {
  const at = graph.input("at", [texts], "u32");
  const lengths = graph.input("lengths", [texts], "u32");
  const { width } = model.language.cached;
  const state = (name: string) => graph.state(name, [texts * capacity, width], cache);
  return {
    attend(path, q, tokens, { rotation, ...options }) {
      const { table, places } = rotation;
      const turned = (rows: Tensor) => rotary(rows, table, places);
      // One launch rotates and keeps the keys; prompts' attention reads rotated rows, and so do heads that vec4 do not fit.
      const isOnTheWay = kind !== "start" && isRotatable(q, rotation);
      const [queries, keys] = isOnTheWay ? [q, tokens.keys] : [turned(q), turned(tokens.keys)];
      const before = { keys: state(keysOf(path)), values: state(valuesOf(path)) };
      const after = writeTokens(before, { ...tokens, keys }, at, isOnTheWay ? rotation : undefined);
      graph.update(before.keys, after.keys);
      graph.update(before.values, after.values);
      if (kind === "start") {
        return attention(queries, keys, tokens.values, lengths, { ...options, causal: true });
      }
      const own = isOnTheWay ? { ...options, rotation: table } : options;
      return cachedAttention(queries, after, places, { texts, ...own });
    },
  };
}

/** The logits of the tokens after these rows, in pieces of the vocabulary. */
function logitsOf({ language: { output } }: Decoder, own: Tracer, rows: Tensor): Tensor[] {
  return own.graph.scope(
    output,
    () => own.table(output).map(({ weight }) => matmul(rows, weight, { transposeB: true })),
  );
}

/** −log p of a label for each row. */
function nllOf({ language: { output, tokenizer } }: Decoder, own: Tracer, hidden: Tensor): Tensor {
  const { graph } = own;
  const [rows] = hidden.shape;
  const all = graph.input("all rows", [rows], "u32");
  return graph.scope(output, () =>
    vocabularyLoss(partsOfRows(hidden, all, all), own.table(output), {
      labels: graph.input("labels", [rows], "u32"),
      weights: graph.input("weights", [rows]),
      limit: tokenizer.size,
    }).nll);
}
