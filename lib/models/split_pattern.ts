/** Cutting texts at a pattern, as Hugging Face's tokenizers in Rust does it (`NormalizedString::split`). */

import { ReplaceNormalizer } from "npm:@huggingface/tokenizers@0.2.0";
import * as v from "npm:valibot@1.5.0";

/** A pattern in a `tokenizer.json`: a text, or a regular expression of Oniguruma's kind. */
export const patternSchema = v.union([
  v.looseObject({ String: v.pipe(v.string(), v.minLength(1)) }),
  v.looseObject({ Regex: v.string() }),
]);

/** JavaScript's regular expression for a pattern, global. */
export function patternOf(pattern: v.InferOutput<typeof patternSchema>): RegExp {
  const config = { type: "Replace", pattern, content: "" } as const;
  // The library's translation of Oniguruma's classes; it has null only for what the schema does not let through.
  return new ReplaceNormalizer(config as ConstructorParameters<typeof ReplaceNormalizer>[0]).pattern!;
}

/** What becomes of matches. */
export const behaviorSchema = v.picklist([
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
]);
type Behavior = v.InferOutput<typeof behaviorSchema>;

/** A part of a text, and whether it is a match. */
interface Piece {
  readonly text: string;
  readonly isMatch: boolean;
}

/** The parts that `behavior` makes of a text; with `invert`, what is between matches are the matches. None is empty. */
export function* splitAt(
  text: string,
  pattern: RegExp,
  behavior: Behavior,
  invert: boolean,
): Iterable<string> {
  const pieces = piecesOf(text, pattern, invert);
  if (behavior === "Removed") {
    for (const { text, isMatch } of pieces) if (!isMatch && text !== "") yield text;
    return;
  }
  for (const part of joined(pieces, joins[behavior])) {
    if (part !== "") yield part;
  }
}

function* piecesOf(text: string, pattern: RegExp, invert: boolean): Iterable<Piece> {
  let done = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (index > done) yield { text: text.slice(done, index), isMatch: invert };
    // An empty match, as of \b, is in no part, but keeps what is beside it apart.
    yield { text: match, isMatch: !invert };
    done = index + match.length;
  }
  if (done < text.length) yield { text: text.slice(done), isMatch: invert };
}

/** Whether a piece goes to the one before it. */
const joins: Readonly<Record<Exclude<Behavior, "Removed">, (before: Piece, own: Piece) => boolean>> = {
  Isolated: () => false,
  MergedWithPrevious: (before, own) => own.isMatch && !before.isMatch,
  MergedWithNext: (before, own) => before.isMatch && !own.isMatch,
  Contiguous: (before, own) => before.isMatch === own.isMatch,
};

function* joined(pieces: Iterable<Piece>, joinsOn: (before: Piece, own: Piece) => boolean): Iterable<string> {
  let text = "";
  let before: Piece | undefined;
  for (const piece of pieces) {
    if (before && !joinsOn(before, piece)) {
      yield text;
      text = "";
    }
    text += piece.text;
    before = piece;
  }
  yield text;
}
