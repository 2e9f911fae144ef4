/** SentencePiece's normalization by a table that comes with the vocabulary, as Hugging Face's tokenizers in Rust reads it. */

/** The bytes of a `precompiled_charsmap`. */
export function charsmapBytes(charsmap: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(charsmap), (byte) => byte.charCodeAt(0));
}

/**
 * The normalizer of a `precompiled_charsmap` in base64: the bytes' number, a double-array trie (Aoe 1989; darts-clone's units), and
 * the texts that it leads to, each ended by a zero. As in Rust, a grapheme of under six bytes is looked up whole, and then what
 * its *shortest* beginning in the table stands for replaces all of it; other graphemes are replaced letter by letter.
 * @throws Error when the table is cut short.
 */
export function precompiledNormalizer(charsmap: string): (text: string) => string {
  const bytes = charsmapBytes(charsmap);
  const view = new DataView(bytes.buffer);
  const size = bytes.length < 4 ? Infinity : view.getUint32(0, true);
  if (4 + size > bytes.length || size % 4 !== 0) throw new Error("the precompiled_charsmap is cut short");
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = bytes.subarray(4 + size);
  const replaced = cached((part: string) => {
    const at = firstMatch(units, new TextEncoder().encode(part));
    return at === undefined ? undefined : new TextDecoder().decode(texts.subarray(at, texts.indexOf(0, at)));
  });
  const normalized = cached((grapheme: string) => {
    const isShort = new TextEncoder().encode(grapheme).length < 6;
    const whole = isShort ? replaced(grapheme) : undefined;
    return whole ?? Array.from(grapheme, (letter) => replaced(letter) ?? letter).join("");
  });
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
  return (text) => {
    let result = "";
    for (const { segment } of graphemes.segment(text)) result += normalized(segment);
    return result;
  };
}

/** Where the text of the shortest beginning of `key` that the trie holds begins. */
function firstMatch(units: Uint32Array, key: Uint8Array): number | undefined {
  const child = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
  let node = child(units[0]);
  for (const byte of key) {
    node ^= byte;
    const unit = units[node];
    if (byte === 0 || unit === undefined || ((unit & 0x800000ff) >>> 0) !== byte) return undefined;
    node ^= child(unit);
    if (unit & 0x100) return units[node] & 0x7fffffff;
  }
  return undefined;
}

/** `make`, which is asked once for each of the first 65,536 arguments. */
function cached<Result>(make: (key: string) => Result): (key: string) => Result {
  const known = new Map<string, Result>();
  return (key) => {
    if (known.has(key)) return known.get(key)!;
    const made = make(key);
    if (known.size < 65_536) known.set(key, made);
    return made;
  };
}
