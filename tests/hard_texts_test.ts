/** The ids of Hugging Face's tokenizers in Rust for hard texts (`fixtures/hard_texts_reference.py`), cut and uncut. */

import assert from "node:assert/strict";
import { taskByName } from "../lib/data/registry.ts";
import { type MarkedTokenizer, readTokenizer } from "../lib/models/hugging_face_tokenizer.ts";
import { comparedPairs } from "../lib/models/pairing.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { useLiteTokenizer } from "../lib/models/use_lite_tokenizer.ts";
import { encodeExamples } from "../lib/train/fine_tune.ts";
import fixture from "./fixtures/hard_texts_reference.json" with { type: "json" };
import { withFiles } from "./support/files.ts";

/** Differences that README's limits name, by tokenizer: places among the texts. */
const listed: Readonly<Record<string, readonly number[]>> = {
  // `<mask>` takes the space before it along: "a <mask> b", "é <mask>\u0301x", …
  "byte-level BPE, vocab.json and merges.txt": [368, 370, 372, 373, 466, 467],
};

type Encode = (text: string, most: number) => number[];

for (const [name, { files, ids, pairs }] of Object.entries(fixture.cases)) {
  Deno.test(`${name}: the ids of ${fixture.texts.length} hard texts, and of their first tokens alone`, async () => {
    const encode: Encode = "vocabulary" in files
      ? useLiteTokenizer(files.vocabulary as [string, number][], 512).encode
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

const bases = Object.entries(fixture.cases).filter(([, { files }]) => "tokenizer.json" in files);

for (const [name, { files }] of bases) {
  Deno.test(`${name}: of 150,000 characters without a space, the first ids alone are those of all`, async () => {
    const tokenizer = await tokenizerOf(files);
    for (const unit of ["東京大阪", "the", "é"]) {
      const long = unit.repeat(Math.ceil(150_000 / unit.length));
      const whole = tokenizer.encode(long, Infinity);
      const cut = tokenizer.encode(long, 64);
      assert.deepEqual(cut, [...whole.slice(0, -1).slice(0, 63), whole.at(-1)], unit);
    }
  });
}

Deno.test("a word that byte-pair encoding takes in parts has the ids of the whole word", async () => {
  const { files } = fixture.cases["byte-level BPE, tokenizer.json"];
  const tokenizer = await tokenizerOf(files);
  const { BPE } = await import("npm:@huggingface/tokenizers@0.2.0");
  const { model } = JSON.parse(files["tokenizer.json"]);
  const whole = new BPE(model);
  const letters = "abcdeinorstthe";
  for (let n = 0; n < 50; n++) {
    const word = Array.from({ length: 200 }, (_, i) => letters[(i * i * (n + 3) + i * n) % letters.length])
      .join("");
    const ids = whole.encode([word]).map((token) => model.vocab[token]);
    assert.deepEqual(tokenizer.encode(word, Infinity).slice(1, -1), ids);
  }
});

Deno.test("a text that the tokenizer cannot take is told with the example's file and line", async () => {
  const encode = () => {
    throw new Error("the vocabulary lacks a token");
  };
  const model = { ...await loadUseLite(), pairing: comparedPairs({ encode }) };
  const examples = [{ id: "mine.csv:7", texts: ["a"], label: 0 }];
  assert.throws(
    () => encodeExamples(model, taskByName("sentiment"), examples),
    /^Error: mine\.csv:7: the vocabulary lacks a token$/,
  );
});
