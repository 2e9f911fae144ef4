/** The unigram language model of SentencePiece (Kudo 2018), as Hugging Face's tokenizers in Rust finds its segmentation. */

import * as v from "npm:valibot@1.5.0";

/** The `model` of a `tokenizer.json`: pieces with their logarithms of probability. */
export const unigramSchema = v.looseObject({
  type: v.literal("Unigram"),
  unk_id: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
  vocab: v.pipe(v.array(v.strictTuple([v.string(), v.number()])), v.minLength(1)),
  byte_fallback: v.optional(
    v.literal(false, "unknown characters as bytes (byte_fallback) are not known here: use another tokenizer"),
  ),
});

/** What continues a piece by one character, and the piece's place where one ends here. */
interface Branch {
  id?: number;
  next?: Map<string, Branch>;
}

/** An unknown character's logarithm of probability lies so far under the least of the pieces. */
const unknownPenalty = 10;

/**
 * The most probable segmentation of a text into pieces, as their ids; unknown characters side by side are one. It takes time and
 * memory in proportion to the text, whatever its length. Of segmentations with equal sums the one whose last piece is longest is
 * taken, and so on to the front.
 */
export function unigram(
  { vocab, unk_id }: v.InferOutput<typeof unigramSchema>,
): (text: string) => number[] {
  const root: Branch = {};
  const scores = vocab.map(([, score]) => score);
  vocab.forEach(([piece], id) => insert(root, piece, id));
  const unknown = scores.reduce((least, score) => Math.min(least, score), Infinity) - unknownPenalty;
  return (text) => {
    const letters = Array.from(text);
    // Of the best segmentation of the first i letters: its sum, and its last piece's id and beginning.
    const sums = new Float64Array(letters.length + 1).fill(-Infinity);
    const ids = new Int32Array(letters.length + 1);
    const begins = new Int32Array(letters.length + 1).fill(-1);
    sums[0] = 0;
    for (let begin = 0; begin < letters.length; begin++) {
      const offer = (end: number, score: number, id: number) => {
        const sum = sums[begin] + score;
        if (begins[end] >= 0 && sum <= sums[end]) return;
        [sums[end], ids[end], begins[end]] = [sum, id, begin];
      };
      let isKnown = false;
      let branch = root.next?.get(letters[begin]);
      for (let end = begin + 1; branch; branch = branch.next?.get(letters[end++])) {
        if (branch.id === undefined) continue;
        offer(end, scores[branch.id], branch.id);
        isKnown ||= end === begin + 1;
      }
      if (!isKnown) offer(begin + 1, unknown, unk_id ?? -1);
    }
    return backwards(ids, begins, unk_id ?? -1);
  };
}

function insert(root: Branch, piece: string, id: number): void {
  let branch = root;
  for (const letter of piece) {
    branch.next ??= new Map();
    const found = branch.next.get(letter) ?? {};
    branch.next.set(letter, found);
    branch = found;
  }
  branch.id = id;
}

/** The ids on the way from the end to the beginning, turned round. */
function backwards(ids: Int32Array, begins: Int32Array, unknown: number): number[] {
  const found: number[] = [];
  for (let end = ids.length - 1; end > 0; end = begins[end]) {
    if (ids[end] !== unknown || found.at(-1) !== unknown) found.push(ids[end]);
  }
  return found.reverse();
}
