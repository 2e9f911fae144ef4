/** Damaged files from a seed, and what readers make of them. */

import assert from "node:assert/strict";
import { randomBits } from "../../lib/graph/random.ts";

/** A whole number below a bound. */
export type Pick = (below: number) => number;

/** A source of whole numbers below a bound. */
export function pickFrom(seed: number): Pick {
  let calls = 0;
  return (below) => randomBits(seed, 0, 0, calls++) % below;
}

/** One change of a file: bits flipped, bytes cut out, doubled or put in, the end cut off, or two files joined. */
function mutate(
  bytes: Uint8Array<ArrayBuffer>,
  other: Uint8Array<ArrayBuffer>,
  pick: Pick,
  tokens: Uint8Array[],
) {
  const at = pick(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + pick(1 << pick(10)));
  switch (pick(7)) {
    case 0: {
      const flipped = bytes.slice();
      if (at < flipped.length) flipped[at] ^= 1 << pick(8);
      return flipped;
    }
    case 1:
      return joined(bytes.subarray(0, at), bytes.subarray(end));
    case 2:
      return joined(bytes.subarray(0, end), bytes.subarray(at));
    case 3:
      return joined(bytes.subarray(0, at), tokens[pick(tokens.length)], bytes.subarray(at));
    case 4:
      return bytes.slice(0, at);
    case 5:
      return joined(bytes.subarray(0, at), other.subarray(pick(other.length)));
    default:
      return joined(bytes.subarray(0, at), randomBytes(pick, pick(9)), bytes.subarray(end));
  }
}

/** The bytes of all parts, one after another. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function randomBytes(pick: Pick, size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, () => pick(256));
}

/** The outcomes of reading the files. */
export interface Tally {
  read: number;
  /** Messages, without what differs from file to file. */
  readonly refused: Map<string, number>;
}

/** Reads every file by `check`, which throws an AssertionError where what was read breaks an invariant. */
export function readAll(
  files: Iterable<Uint8Array<ArrayBuffer>>,
  check: (bytes: Uint8Array<ArrayBuffer>) => void,
): Tally {
  const tally: Tally = { read: 0, refused: new Map() };
  let i = 0;
  for (const bytes of files) {
    try {
      check(bytes);
      tally.read++;
    } catch (error) {
      assert.ok(error instanceof Error && error.constructor === Error, `file ${i}: ${error}`);
      assert.match(error.message, /^fuzzed/, `file ${i}`);
      const kind = error.message.replaceAll(/"(\\.|[^"])*"|[-\d.]+|\[.*\]|\{.*/g, "…").slice(0, 50);
      tally.refused.set(kind, (tally.refused.get(kind) ?? 0) + 1);
    }
    i++;
  }
  return tally;
}

/** The mutants of `valid` files: at most three changes each; every eighth file is random bytes instead. */
export function* mutants(
  valid: readonly Uint8Array<ArrayBuffer>[],
  count: number,
  pick: Pick,
  tokens: readonly string[],
) {
  const encoded = tokens.map((token) => new TextEncoder().encode(token));
  for (let i = 0; i < count; i++) {
    let bytes = pick(8) ? valid[pick(valid.length)] : randomBytes(pick, pick(200));
    for (let changes = pick(4); changes > 0; changes--) {
      bytes = mutate(bytes, valid[pick(valid.length)], pick, encoded);
    }
    yield bytes;
  }
}
