/** Every character of Unicode through normalizers and pre-tokenizers of Rust's, and texts cut at patterns (`fixtures/tokenizer_characters.py`). */

import assert from "node:assert/strict";
import { preTokenizerOf } from "../lib/models/pre_tokenizers.ts";
import { normalizerOf } from "../lib/models/text_normalizers.ts";
import fixture from "./fixtures/tokenizer_characters.json" with { type: "json" };

// Planes 4 to 13 are unassigned, 15 and 16 are for private use: of these a beginning.
const ranges = [[0, 0xd800], [0xe000, 0x34000], [0xe0000, 0xe1000], [0xf0000, 0xf0100]];
const characters = ranges.flatMap(([from, to]) =>
  Array.from({ length: to - from }, (_, i) => String.fromCodePoint(from + i))
);

async function digest(results: readonly string[]): Promise<string> {
  const bytes = new TextEncoder().encode(results.join("\n"));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

type Cases = [Record<string, unknown>, string][];

for (const [description, expected] of fixture.normalizers as Cases) {
  Deno.test(`${JSON.stringify(description)} of every character is as in Rust`, async () => {
    const normalize = normalizerOf(description);
    const results = characters.map((character) => normalize(`a\u0345${character}\u0334`));
    assert.equal(await digest(results), expected);
  });
}

for (const [description, expected] of fixture.pre_tokenizers as Cases) {
  Deno.test(`${JSON.stringify(description)} at every character is as in Rust`, async () => {
    const cut = preTokenizerOf(description);
    const results = characters.map((character) =>
      [...cut(`a${character}b1${character}.${character}`, true)].join("\t")
    );
    assert.equal(await digest(results), expected);
  });
}

Deno.test("texts are cut at patterns as in Rust, whatever becomes of what is found", () => {
  for (const [description, expected] of fixture.cuts) {
    const cut = preTokenizerOf(description as Record<string, unknown>);
    const parts = fixture.texts.map((text) => [...cut(text, true)].join("|"));
    assert.deepEqual(parts, expected, JSON.stringify(description));
  }
});

Deno.test("what a normalizer puts in a pattern's place is as it is written, $& too", () => {
  for (const [description, expected] of fixture.replacements) {
    const normalize = normalizerOf(description as Record<string, unknown>);
    assert.deepEqual(fixture.texts.map(normalize), expected, JSON.stringify(description));
  }
});
