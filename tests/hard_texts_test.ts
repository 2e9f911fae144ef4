/** The ids of Hugging Face's tokenizers in Rust for hard texts (`fixtures/hard_texts_reference.py`), cut and uncut. */

import assert from "node:assert/strict";
import { type MarkedTokenizer, readTokenizer } from "../lib/models/hugging_face_tokenizer.ts";
import { useLiteTokenizer } from "../lib/models/use_lite_tokenizer.ts";
import fixture from "./fixtures/hard_texts_reference.json" with { type: "json" };
import { withFiles } from "./support/files.ts";

/** Differences that README's limits name, by tokenizer: places among the texts. */
const listed: Readonly<Record<string, readonly number[]>> = {};

type Encode = (text: string, most: number) => number[];

for (const [name, { files, ids, pairs }] of Object.entries(fixture.cases)) {
  Deno.test(`${name}: the ids of ${fixture.texts.length} hard texts, and of their first tokens alone`, async () => {
    const encode: Encode = "vocabulary" in files
      ? useLiteTokenizer(files.vocabulary as [string, number][]).encode
      : (await tokenizerOf(files)).encode;
    const different = fixture.texts.flatMap((text, i) => {
      const expected = "vocabulary" in files && ids[i].length === 0 ? [0] : ids[i];
      return JSON.stringify(encode(text, Infinity)) === JSON.stringify(expected) ? [] : [i];
    });
    const told = different.map((i) => JSON.stringify(fixture.texts[i])).join("\n");
    assert.deepEqual(different, listed[name] ?? [], told);
    for (const text of fixture.texts) {
      const [whole, cut] = [encode(text, Infinity), encode(text, 6)];
      const isMarked = !("vocabulary" in files);
      const first = isMarked ? [...whole.slice(0, -1).slice(0, 5), whole.at(-1)] : whole.slice(0, 6);
      assert.deepEqual(cut, first, JSON.stringify(text));
    }
  });

  if (pairs.length > 0) {
    Deno.test(`${name}: pairs of hard texts, cut to 8 … 16 tokens`, async () => {
      const tokenizer = await tokenizerOf(files);
      const { texts } = fixture;
      pairs.forEach((expected, i) => {
        const [first, second] = [texts[i * 7 % texts.length], texts[i * 13 % texts.length]];
        const { ids } = tokenizer.encodePair(first, second, 8 + i % 9);
        assert.deepEqual(ids, expected, `${JSON.stringify(first)} and ${JSON.stringify(second)}`);
      });
    });
  }
}

function tokenizerOf(files: object): Promise<MarkedTokenizer> {
  return withFiles(files as Record<string, string>, readTokenizer);
}
