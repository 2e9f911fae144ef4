/**
 * What ids say as text. Each token is bytes of UTF-8, and a text is all of its tokens' bytes: what is no UTF-8 becomes U+FFFD, as
 * WHATWG's and Rust's lossy decoding have it. Hugging Face's ByteFallback differs there: it gives up a whole run of byte tokens.
 */

import * as v from "npm:valibot@1.5.0";

/** How tokens are written: in GPT-2's alphabet of 256 letters for bytes, or SentencePiece's with ▁ for a space. */
export interface TokenWriting {
  readonly alphabet: "bytes" | "pieces";
  /** The first space of a whole text was put there by the encoder, and goes again. */
  readonly stripsFirstSpace: boolean;
}

/** How ids are read. */
export interface DecodeOptions {
  /** The ids go on after others: a space at their beginning stays. */
  readonly continues?: boolean;
  /** Leaves special tokens out; otherwise they are shown as they are written. */
  readonly hideSpecial?: boolean;
}

/** Ids one by one into text, in pieces that hold whole characters. All pieces together are what all ids give at once. */
export interface StreamingDecoder {
  /** What can be said after this id: nothing while a character lacks bytes. Throws an Error for an id that is no token's. */
  push(id: number): string;
  /** What is left: U+FFFD for a character that was not finished. */
  end(): string;
}

/** A tokenizer's tokens as bytes. */
export interface TokenTexts {
  /** Throws an Error for an id that is no token's. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  streaming(options?: DecodeOptions): StreamingDecoder;
}

/** One token for `tokenTexts`. */
interface Token {
  readonly content: string;
  /** Added to the vocabulary: written as it is, not in the alphabet of bytes. */
  readonly isAdded: boolean;
  readonly isSpecial: boolean;
}

/** The texts of `tokens`, by id. */
export function tokenTexts(
  tokens: readonly (Token | undefined)[],
  { alphabet, stripsFirstSpace }: TokenWriting,
): TokenTexts {
  const bytesOf = alphabet === "bytes" ? bytesOfLetters : bytesOfPiece;
  const streaming = ({ continues = false, hideSpecial = false }: DecodeOptions = {}): StreamingDecoder => {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    let isFirst = stripsFirstSpace && !continues;
    return {
      push(id) {
        const token = tokens[id];
        if (!token) throw new Error(`${id} is no token's id: the tokenizer's go up to ${tokens.length - 1}`);
        if (hideSpecial && token.isSpecial) return "";
        const bytes = bytesOf(token);
        const from = isFirst && bytes[0] === 0x20 ? 1 : 0;
        if (bytes.length > 0) isFirst = false;
        return utf8.decode(bytes.subarray(from), { stream: true });
      },
      end: () => utf8.decode(),
    };
  };
  return {
    streaming,
    decode(ids, options) {
      const decoder = streaming(options);
      let text = "";
      for (const id of ids) text += decoder.push(id);
      return text + decoder.end();
    },
  };
}

const utf8 = new TextEncoder();

/** GPT-2's letters of bytes: a byte that prints is its own letter, and the others follow from U+0100 on. */
const byteOfLetter = new Map<string, number>();
for (let byte = 0, other = 0x100; byte < 256; byte++) {
  const isPrinted = /[!-~¡-¬®-ÿ]/.test(String.fromCharCode(byte));
  byteOfLetter.set(String.fromCharCode(isPrinted ? byte : other++), byte);
}

function bytesOfLetters({ content, isAdded }: Token): Uint8Array {
  const bytes = isAdded ? [undefined] : Array.from(content, (letter) => byteOfLetter.get(letter));
  const isSpelled = (all: (number | undefined)[]): all is number[] => !all.includes(undefined);
  return isSpelled(bytes) ? Uint8Array.from(bytes) : utf8.encode(content);
}

function bytesOfPiece({ content, isAdded }: Token): Uint8Array {
  const byte = isAdded ? null : content.match(/^<0x([0-9A-Fa-f]{2})>$/);
  return byte ? Uint8Array.of(parseInt(byte[1], 16)) : utf8.encode(content.replaceAll("▁", " "));
}

const decoderSchema = v.looseObject({ type: v.string() });
const sequenceSchema = v.looseObject({ decoders: v.array(decoderSchema) });

/** SentencePiece's decoder in a `tokenizer.json`, and the step that takes the first space away. */
const piecesDecoder = [
  v.looseObject({
    type: v.literal("Replace"),
    pattern: v.looseObject({ String: v.literal("▁") }),
    content: v.literal(" "),
  }),
  v.looseObject({ type: v.literal("ByteFallback") }),
  v.looseObject({ type: v.literal("Fuse") }),
];
const strip = v.looseObject({
  type: v.literal("Strip"),
  content: v.literal(" "),
  start: v.literal(1),
  stop: v.literal(0),
});

/**
 * How the `decoder` of a `tokenizer.json` says that its tokens are written.
 * @throws Error naming what it has, when it is neither of the two ways.
 */
export function writingOf(decoder: unknown): TokenWriting {
  const whole = v.is(decoderSchema, decoder) ? decoder : { type: "none" };
  const steps = v.is(sequenceSchema, whole) ? whole.decoders : [whole];
  if (steps.length === 1 && steps[0].type === "ByteLevel") {
    return { alphabet: "bytes", stripsFirstSpace: false };
  }
  const isPieces = piecesDecoder.every((step, i) => v.is(step, steps[i]));
  const rest = steps.slice(piecesDecoder.length);
  if (isPieces && (rest.length === 0 || (rest.length === 1 && v.is(strip, rest[0])))) {
    return { alphabet: "pieces", stripsFirstSpace: rest.length > 0 };
  }
  throw new Error(
    `its decoder is ${
      steps.map(({ type }) => type).join(", ")
    }: known are ByteLevel, and Replace, ByteFallback, Fuse and ` +
      `perhaps Strip of SentencePiece's kind`,
  );
}
