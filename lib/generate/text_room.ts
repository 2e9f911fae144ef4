/** How many texts a device can write at a time, reckoned from their sizes before anything is allocated. */

import { bytesOf } from "../graph/graph.ts";
import { bucketOfLength } from "../run/batches.ts";
import { roomOn } from "../run/room.ts";
import type { DecodingParts } from "./decoding.ts";

/** Bytes of a token's keys, or values, in a layer. */
export function tokenBytes({ cache, model }: Pick<DecodingParts, "cache" | "model">): number {
  return bytesOf({ shape: [model.language.cached.width], dtype: cache });
}

/** Bytes of a text of `capacity` tokens, in all buffers that stay between calls: keys, values, logits, and where texts are put aside. */
export function textBytes(parts: Pick<DecodingParts, "cache" | "model">, capacity: number): number {
  const { language: { cached }, vocabulary } = parts.model;
  return (2 * cached.layers + 1) * capacity * tokenBytes(parts) + 4 * vocabulary;
}

/**
 * The most texts of `capacity` tokens, whose prompts have up to `longest`, that the device has room for. Three kinds of buffer grow
 * with their number: a layer's keys, [texts · capacity, width]; a layer's widest rows of the prompts, [texts · length, outputs] f32;
 * and the logits, [texts, vocabulary] f32. Each must fit into one binding, and on a software driver keys, values and logits into
 * memory together: what is free, and `idle` bytes that can be freed.
 */
export function mostTexts(parts: DecodingParts, capacity: number, longest: number, idle = 0): number {
  const { gpu, model: { linears, vocabulary } } = parts;
  const { bufferBytes = Infinity, memoryBytes = Infinity } = roomOn(gpu);
  const keys = capacity * tokenBytes(parts);
  const widest = Math.max(...linears.flatMap(({ m, n }) => [m, n]));
  const rows = 4 * Math.min(bucketOfLength(longest), capacity) * widest;
  const inBuffers = bufferBytes / Math.max(keys, rows, 4 * vocabulary);
  return Math.floor(Math.min(inBuffers, (memoryBytes + idle) / textBytes(parts, capacity)));
}
