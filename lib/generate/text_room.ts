/** The room that texts take, and how many a device can write at a time, reckoned from their sizes before anything is allocated. */

import { bytesOf } from "../graph/graph.ts";
import { bucketOfLength } from "../run/batches.ts";
import { roomOn } from "../run/room.ts";
import type { Decoder } from "../models/model.ts";
import type { DecodingParts, DecodingSize } from "./decoding.ts";
import { checkPrompts } from "./prompts.ts";

/** The room that a call wants. */
export interface WantedRoom {
  readonly size: DecodingSize;
  /** Tokens of the longest prompt. */
  readonly longest: number;
  /** What the texts are, for error messages. */
  readonly what: string;
}

/** There is no room for the texts that are asked for; fewer or shorter ones may have it. */
export class NoRoomError extends Error {}

/**
 * Room for prompts, or `beams` texts of each, and so many new tokens of its own for each. Throws as `checkPrompts` does.
 */
export function roomFor(
  model: Decoder,
  prompts: readonly (readonly number[])[],
  newTokensOf: (prompt: number) => number,
  beams?: number,
): WantedRoom {
  checkPrompts(model, prompts, newTokensOf);
  const wanted = Math.max(64, ...prompts.map(({ length }, i) => length + newTokensOf(i)));
  const count = prompts.length;
  return {
    size: {
      texts: count * (beams ?? 1),
      capacity: Math.min(model.maxTokens!, 2 ** Math.ceil(Math.log2(wanted))),
    },
    longest: Math.max(...prompts.map(({ length }) => length)),
    what: beams === undefined
      ? `${count} prompts`
      : `${beams} beams${count === 1 ? "" : ` of each of ${count} prompts`}`,
  };
}

/** What writes, as far as its room depends on it. */
type RoomParts = Pick<DecodingParts, "gpu" | "model" | "cache">;

/** Bytes of a token's keys, or values, in a layer. */
export function tokenBytes({ cache, model }: Omit<RoomParts, "gpu">): number {
  return bytesOf({ shape: [model.language.cached.width], dtype: cache });
}

/** Bytes of a text of `capacity` tokens, in all buffers that stay between calls: keys, values, logits, and where texts are put aside. */
export function textBytes(parts: Omit<RoomParts, "gpu">, capacity: number): number {
  const { language: { cached }, vocabulary } = parts.model;
  return (2 * cached.layers + 1) * capacity * tokenBytes(parts) + 4 * vocabulary;
}

/**
 * The most texts of `capacity` tokens, whose prompts have up to `longest`, that the device has room for. Three kinds of buffer grow
 * with their number: a layer's keys, [texts · capacity, width]; a layer's widest rows of the prompts, [texts · length, outputs] f32;
 * and the logits, [texts, vocabulary] f32. Each must fit into one binding, and on a software driver keys, values and logits into
 * memory together: what is free, and `idle` bytes that can be freed.
 */
export function mostTexts(parts: RoomParts, capacity: number, longest: number, idle = 0): number {
  const { gpu, model: { linears, vocabulary } } = parts;
  const { bufferBytes = Infinity, memoryBytes = Infinity } = roomOn(gpu);
  const keys = capacity * tokenBytes(parts);
  const widest = Math.max(...linears.flatMap(({ m, n }) => [m, n]));
  const rows = 4 * Math.min(bucketOfLength(longest), capacity) * widest;
  const inBuffers = bufferBytes / Math.max(keys, rows, 4 * vocabulary);
  return Math.floor(Math.min(inBuffers, (memoryBytes + idle) / textBytes(parts, capacity)));
}

/** Throws a NoRoomError that says how many texts have room where these have none, even with `idle` bytes freed. */
export function checkTexts(parts: RoomParts, { size, longest, what }: WantedRoom, idle = 0): void {
  const { texts, capacity } = size;
  const most = mostTexts(parts, capacity, longest, idle);
  if (most === 0) {
    throw new NoRoomError(
      `a text of up to ${capacity} tokens has no room here: take a shorter prompt, fewer new tokens, or a cache of f16`,
    );
  }
  if (texts > most) {
    throw new NoRoomError(
      `${what} are too many here: at most ${most} texts of up to ${capacity} tokens have room at a time; ` +
        "take fewer, or fewer new tokens",
    );
  }
}
