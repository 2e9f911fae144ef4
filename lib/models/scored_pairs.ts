/**
 * SentencePiece's byte-pair encoding (Kudo & Richardson 2018) by the pieces' scores, as GGUF files have it: no list of merges.
 * Of all neighbours that make a piece together, those of the highest score are joined, and of equal scores the leftmost.
 */

import type { TokenModel } from "./text_encoder.ts";

/** A vocabulary with scores. */
export interface ScoredPieces {
  /** By id. */
  readonly pieces: readonly string[];
  /** By id: of two joins the one with the higher score comes first. */
  readonly scores: readonly number[];
  /** Ids of pieces that text is never joined to: control and byte tokens, and what is added to the vocabulary. */
  readonly unjoined: ReadonlySet<number>;
  /** Ids of rows that are no piece. */
  readonly unused: ReadonlySet<number>;
  /** Of the 256 bytes, the ids that stand for a character's bytes where it is no piece; empty without such tokens. */
  readonly bytes: readonly number[];
  /** The id of what is neither. */
  readonly unknown?: number;
}

/** Two neighbours that make a piece. */
interface Join {
  readonly left: number;
  readonly right: number;
  readonly score: number;
  /** Both together in UTF-16 units: another length means that one has changed meanwhile. */
  readonly length: number;
}

/** @throws Error, when a text is encoded, for a character that is no piece where there are neither bytes nor an unknown. */
export function scoredPairs(vocabulary: ScoredPieces): TokenModel {
  const { pieces, scores, unjoined, unused } = vocabulary;
  const all = new Map(pieces.flatMap((piece, id) => unused.has(id) ? [] : [[piece, id]]));
  const ids = new Map(all.entries().filter(([, id]) => !unjoined.has(id)));
  const fallback = fallbackOf(vocabulary);
  return {
    vocabulary: all,
    encode(text) {
      const found = joined(Array.from(text), (both) => {
        const id = ids.get(both);
        return id === undefined ? undefined : scores[id];
      });
      return found.map((piece) => {
        const id = ids.get(piece);
        return id === undefined ? fallback(piece) : [id];
      });
    },
  };
}

function fallbackOf({ bytes, unknown }: ScoredPieces): (character: string) => number[] {
  const utf8 = new TextEncoder();
  return (character) => {
    if (bytes.length > 0) return Array.from(utf8.encode(character), (byte) => bytes[byte]);
    if (unknown !== undefined) return [unknown];
    throw new Error(`the vocabulary lacks ${JSON.stringify(character)}, and has nothing for what is unknown`);
  };
}

/** Joins neighbours until none make a piece. */
function joined(symbols: string[], scoreOf: (both: string) => number | undefined): string[] {
  const next = symbols.map((_, i) => i + 1);
  const previous = symbols.map((_, i) => i - 1);
  const waiting = new JoinQueue();
  const offer = (left: number, right: number) => {
    if (left < 0 || right >= symbols.length) return;
    const both = symbols[left] + symbols[right];
    const score = scoreOf(both);
    if (score !== undefined) waiting.add({ left, right, score, length: both.length });
  };
  for (let i = 1; i < symbols.length; i++) offer(i - 1, i);
  for (let join = waiting.take(); join; join = waiting.take()) {
    const { left, right, length } = join;
    if (!symbols[left] || !symbols[right] || symbols[left].length + symbols[right].length !== length) {
      continue;
    }
    symbols[left] += symbols[right];
    symbols[right] = "";
    next[left] = next[right];
    if (next[left] < symbols.length) previous[next[left]] = left;
    offer(previous[left], left);
    offer(left, next[left]);
  }
  return symbols.filter((symbol) => symbol !== "");
}

/** A binary heap: the highest score is taken first, and of equal ones the leftmost. */
class JoinQueue {
  readonly #heap: Join[] = [];

  add(join: Join): void {
    const heap = this.#heap;
    let at = heap.push(join) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(join, heap[up]); up = (at - 1) >> 1) {
      heap[at] = heap[up];
      at = up;
    }
    heap[at] = join;
  }

  take(): Join | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return first;
    let at = 0;
    for (let down = 1; down < heap.length; down = 2 * at + 1) {
      if (down + 1 < heap.length && isBefore(heap[down + 1], heap[down])) down++;
      if (!isBefore(heap[down], last)) break;
      heap[at] = heap[down];
      at = down;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Join, b: Join): boolean {
  return a.score > b.score || (a.score === b.score && a.left < b.left);
}
