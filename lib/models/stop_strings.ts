/** Finds strings that end a generated text while it comes in pieces: what is sent is what would be without pieces. */

/** Takes a text in pieces and gives back what can be sent. */
export interface StopScanner {
  /**
   * The text that can be sent after this piece: up to the first stop string, of which nothing is sent, or else all but a tail
   * that may begin one. `stopped` from then on, and the text empty.
   */
  push(piece: string): { readonly text: string; readonly stopped: boolean };
  /** What was held back, when the text ends without a stop string. */
  end(): string;
}

/**
 * Scans for `stops`. Of several, the one that is complete first counts, and of those that end alike the longest, so that it does
 * not depend on how the text is cut into pieces.
 * @throws Error when one of them is empty.
 */
export function stopScanner(stops: readonly string[]): StopScanner {
  if (stops.includes("")) throw new Error("a stop string is empty: it would end every text before it begins");
  let held = "";
  let stopped = false;
  return {
    push(piece) {
      if (stopped) return { text: "", stopped };
      const text = held + piece;
      const begin = firstComplete(text, stops);
      stopped = begin !== undefined;
      const sent = begin ?? text.length - heldLength(text, stops);
      held = stopped ? "" : text.slice(sent);
      return { text: text.slice(0, sent), stopped };
    },
    end() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** Where the stop string begins that ends first in `text`. */
function firstComplete(text: string, stops: readonly string[]): number | undefined {
  const found = stops.flatMap((stop) => {
    const begin = text.indexOf(stop);
    return begin < 0 ? [] : [{ begin, end: begin + stop.length }];
  });
  return found.toSorted((a, b) => a.end - b.end || a.begin - b.begin).at(0)?.begin;
}

/** How long the longest end of `text` is that a stop string begins with, without being all of it. */
function heldLength(text: string, stops: readonly string[]): number {
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const tail = text.slice(-length);
    if (stops.some((stop) => stop.startsWith(tail))) return length;
  }
  return 0;
}
