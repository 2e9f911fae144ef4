/** Decoders' tokenizers: ids of Hugging Face's library in Rust and of SentencePiece, marks, streams of text, and stop strings. */

import assert from "node:assert/strict";
import { type DecoderTokenizer, readDecoderTokenizer } from "../lib/models/decoder_tokenizer.ts";
import { ggufTokenizer } from "../lib/models/gguf_tokenizer.ts";
import { publishedDecoder } from "../lib/models/published_configs.ts";
import { stopScanner } from "../lib/models/stop_strings.ts";
import { textEncoding } from "../lib/models/text_encoder.ts";
import { configuredDecoder } from "../lib/models/unloaded_decoder.ts";
import { vectorTextIds } from "../lib/models/vector_text.ts";
import fixture from "./fixtures/decoder_tokenizers.json" with { type: "json" };
import hardTexts from "./fixtures/hard_texts_reference.json" with { type: "json" };
import {
  publishedEncoders,
  publishedFiles,
  publishedTokenizer,
  smollm2,
  smollm2Metadata,
} from "./support/decoder_vocabularies.ts";
import { withFiles } from "./support/files.ts";

const texts = [...fixture.places.map((i) => hardTexts.texts[i]), ...fixture.marked];

function streamed(tokenizer: DecoderTokenizer, ids: readonly number[], options = {}): string[] {
  const decoder = tokenizer.streamingDecoder(options);
  return [...ids.map((id) => decoder.push(id)), decoder.end()];
}

for (const [name, { tokenizer: json, ids, plain, decoded }] of Object.entries(fixture.cases)) {
  Deno.test(`${name}: ids and texts of Hugging Face's own library for ${texts.length} hard texts`, async () => {
    const tokenizer = await withFiles({ "tokenizer.json": JSON.stringify(json) }, readDecoderTokenizer);
    texts.forEach((text, i) => {
      const told = JSON.stringify(text);
      const whole = tokenizer.encode(text, { addMarks: true });
      // The library puts a second mark where a text begins with one.
      assert.deepEqual(whole, text.startsWith("<s>") ? ids[i].slice(1) : ids[i], told);
      assert.deepEqual(
        tokenizer.encode(text, { specialAsText: true }),
        plain[i],
        `${told} without special tokens`,
      );
      assert.equal(tokenizer.decode(ids[i]), decoded[i], told);
      assert.equal(streamed(tokenizer, ids[i]).join(""), decoded[i], `${told} in pieces`);
    });
  });

  Deno.test(`${name}: what goes on after other tokens comes back as it is, but for what is said to be lost`, async () => {
    const tokenizer = await withFiles({ "tokenizer.json": JSON.stringify(json) }, readDecoderTokenizer);
    let lost = 0;
    for (const text of texts.filter((text) => !text.includes("<tool>"))) {
      const part = { continues: true };
      const back = tokenizer.decode(tokenizer.encode(text, { ...part, specialAsText: true }), part);
      const isSame = back === text || back === text.normalize("NFC");
      assert.equal(tokenizer.lost(text).length === 0, isSame, JSON.stringify(text));
      lost += tokenizer.lost(text).length;
    }
    // SentencePiece's kind reads ▁ as a space, and without bytes knows only the characters that it was trained on.
    assert.equal(lost > 0, json.model.unk_token !== null, `${lost} lost`);
  });
}

const { cases, scored } = fixture;
const llama3Kind = cases["LLaMA 3's kind"].tokenizer;

/** A byte-level tokenizer.json as GGUF metadata. */
function metadataOf({ model, added_tokens }: typeof llama3Kind, changed: object): Map<string, unknown> {
  const contents = new Map<number, string>(Object.entries(model.vocab).map(([token, id]) => [id, token]));
  for (const { id, content } of added_tokens) contents.set(id, content);
  const special = new Map(added_tokens.map(({ id, special }) => [id, special ? 3 : 4]));
  const tokens = Array.from({ length: contents.size }, (_, id) => contents.get(id)!);
  return ggml({
    model: "gpt2",
    tokens,
    token_type: tokens.map((_, id) => special.get(id) ?? 1),
    merges: model.merges.map((pair) => pair.join(" ")),
    ...changed,
  });
}

function ggml(fields: object): Map<string, unknown> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return new Map(given.map(([name, value]) => [`tokenizer.ggml.${name}`, value]));
}

for (const [pre, ids] of Object.entries(fixture["LLaMA 3's kind by pre"])) {
  Deno.test(`GGUF's pre ${pre}: the ids of Hugging Face's library with that model's pattern`, () => {
    const tokenizer = ggufTokenizer("a.gguf", metadataOf(llama3Kind, { pre }));
    texts.forEach((text, i) => {
      // qwen2 composes characters as well.
      const isComposed = pre !== "qwen2" || text.normalize("NFC") === text;
      if (isComposed) assert.deepEqual(tokenizer.encode(text), ids[i], JSON.stringify(text));
    });
  });
}

Deno.test("GGUF's model llama: the ids of SentencePiece itself", () => {
  const tokenizer = ggufTokenizer("a.gguf", ggml(scored.metadata));
  texts.forEach((text, i) => {
    const told = JSON.stringify(text);
    // SentencePiece takes U+0000 for the end of a text.
    if (text.includes("\0")) return;
    assert.deepEqual(tokenizer.encode(text, { specialAsText: true }), scored.ids[i], told);
    assert.deepEqual(tokenizer.encode(text, { specialAsText: true, addMarks: true })[0], 1);
    if (!text.includes("▁")) assert.equal(tokenizer.decode(scored.ids[i]), text, told);
  });
});

Deno.test("of joins with equal scores the leftmost is made, whatever its halves", () => {
  const tokens = ["<unk>", "<s>", "</s>", "a", "aa", "aaa", "aab", "b", "ab"];
  const scores = [0, 0, 0, -9, -1, -2, -3, -9, -8];
  const token_type = [2, 3, 3, 1, 1, 1, 1, 1, 1];
  const fields = { model: "llama", tokens, scores, token_type, add_space_prefix: false, unknown_token_id: 0 };
  const { encode } = ggufTokenizer("a.gguf", ggml(fields));
  assert.deepEqual(encode("aaaa"), [4, 4]);
  assert.deepEqual(encode("aaaaa"), [4, 5]);
  assert.deepEqual(encode("aab"), [6]);
  assert.deepEqual(encode("aéb"), [3, 0, 7]);
});

Deno.test("published ids: SmolLM2, LLaMA 3, Qwen2.5, Gemma and Mistral's vocabulary", async () => {
  const tokenizers = {
    smollm2: smollm2(),
    llama3: await publishedTokenizer("llama3"),
    qwen2_5: await publishedTokenizer("qwen2_5"),
    gemma: await publishedTokenizer("gemma"),
    llama2: await publishedTokenizer("llama2"),
  };
  for (const [name, { encode, decode }] of Object.entries(tokenizers)) {
    for (const [text, ids] of Object.entries(publishedEncoders[name])) {
      assert.deepEqual(encode(text, { specialAsText: true }), ids, `${name}: ${JSON.stringify(text)}`);
      assert.equal(decode(ids), text);
    }
  }
  const { encode } = smollm2();
  assert.deepEqual(encode("<|im_start|>user\nHi<|im_end|>"), [1, 4093, 198, 26843, 2]);
  assert.deepEqual(encode("I'm 3.5% sure—naïve café 🙂"), [
    ...[57, 5248, 216, 35, 30, 37, 21, 2090, 1265, 3546, 46494, 37366, 47526],
  ]);
  // A word that is a token is taken whole, where merges would make three of it.
  assert.deepEqual(tokenizers.llama3.encode(" Việt"), [101798]);
  const bpe = JSON.parse(publishedFiles("llama3")["tokenizer.json"]);
  bpe.model.ignore_merges = false;
  assert.deepEqual(textEncoding(bpe).encode(" Việt", Infinity), [11655, 26298, 83]);
});

Deno.test("a long word is not taken for several whole words where merges make others of it", () => {
  const json = structuredClone(llama3Kind) as Parameters<typeof textEncoding>[0];
  // No merge makes "xyz", and none joins it with what is beside it.
  const model = { ...llama3Kind.model, vocab: { ...llama3Kind.model.vocab, xyz: 1103 } };
  const { encode, idOf } = textEncoding({ ...json, model });
  const [x, y, z] = ["x", "y", "z"].map(idOf);
  assert.deepEqual(encode("xyz", Infinity), [1103]);
  assert.deepEqual(encode("xyz".repeat(60), Infinity).slice(0, 3), [x, y, z]);
});

Deno.test("the mark of beginning comes once, where the model's files want it", async () => {
  const [llama3, qwen, gemma] = await Promise.all(
    (["llama3", "qwen2_5", "gemma"] as const).map((name) => publishedTokenizer(name)),
  );
  const marked = { addMarks: true };
  assert.deepEqual(llama3.encode("test", marked), [128000, 1985]);
  assert.deepEqual(llama3.encode("<|begin_of_text|>test", marked), [128000, 1985]);
  assert.deepEqual(llama3.encode("test"), [1985]);
  assert.deepEqual(gemma.encode("test", marked), [2, 2195]);
  assert.deepEqual(qwen.encode("test", marked), [1944]);
  assert.deepEqual([llama3.bos, gemma.bos, qwen.bos, smollm2().bos], [128000, 2, undefined, 1]);
  assert.deepEqual(smollm2().encode("Hi", marked), [26843]);
  const settings = JSON.parse(publishedFiles("gemma")["tokenizer_config.json"]);
  const without = { "tokenizer_config.json": { ...settings, add_bos_token: false } };
  assert.deepEqual((await publishedTokenizer("gemma", without)).encode("test", marked), [2195]);
  // LLaMA 3's later files: the mark is one of several steps of the post-processor.
  const later = JSON.parse(publishedFiles("llama3")["tokenizer.json"]);
  const begin = { id: "<|begin_of_text|>", type_id: 0 };
  const single = [{ SpecialToken: begin }, { Sequence: { id: "A", type_id: 0 } }];
  const template = { type: "TemplateProcessing", single, pair: single, special_tokens: {} };
  later.post_processor = { type: "Sequence", processors: [later.post_processor, template] };
  const unnamed = { "tokenizer.json": later, "tokenizer_config.json": {} };
  assert.deepEqual((await publishedTokenizer("llama3", unnamed)).encode("test", marked), [128000, 1985]);
});

Deno.test("GGUF: a text gets a mark only where metadata give its id", () => {
  const marked = { addMarks: true };
  const encoded = (changed: object) =>
    ggufTokenizer("a.gguf", metadataOf(llama3Kind, { pre: "llama-bpe", ...changed })).encode("1", marked);
  const [one] = encoded({});
  assert.deepEqual(encoded({ bos_token_id: 1100 }), [1100, one]);
  assert.deepEqual(encoded({ bos_token_id: 1100, add_bos_token: false }), [one]);
  assert.deepEqual(encoded({ bos_token_id: 1100, pre: "qwen2" }), [one]);
  assert.deepEqual(encoded({ bos_token_id: 1100, pre: "qwen2", add_bos_token: true }), [1100, one]);
});

Deno.test("a tokenizer that closes texts closes those whose vector is wanted, also where they are cut, and no prompt", async () => {
  const closed = JSON.parse(publishedFiles("qwen2_5")["tokenizer.json"]);
  const end = { id: "<|endoftext|>", ids: [151643], tokens: ["<|endoftext|>"] };
  const single = [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: end.id, type_id: 0 } }];
  const special_tokens = { [end.id]: end };
  closed.post_processor = { type: "TemplateProcessing", single, pair: single, special_tokens };
  const tokenizer = await publishedTokenizer("qwen2_5", { "tokenizer.json": closed });
  assert.deepEqual(tokenizer.closing, [151643]);
  assert.deepEqual(tokenizer.encode("test", { addMarks: true }), [1944]);
  const config = publishedDecoder("Qwen/Qwen3-0.6B")!;
  const encoderOf = (tokenizer: DecoderTokenizer) =>
    configuredDecoder("Qwen3-Embedding", config, { tokenizer, templates: undefined }, 8).tokenizer;
  const { encode } = encoderOf(tokenizer);
  assert.deepEqual(encode("test"), [1944, 151643]);
  assert.deepEqual(encode("test test test", 3), [1944, 259, 151643]);
  assert.deepEqual(encode("test".repeat(20)).length, 8);
  assert.deepEqual(encode("test".repeat(20)).at(-1), 151643);
  const open = await publishedTokenizer("qwen2_5");
  assert.deepEqual([open.closing, encoderOf(open).encode("test")], [[], [1944]]);
  const inGguf = (changed: object) =>
    ggufTokenizer("a.gguf", metadataOf(llama3Kind, { pre: "llama-bpe", eos_token_id: 1101, ...changed }))
      .closing;
  assert.deepEqual([inGguf({}), inGguf({ add_eos_token: true }), inGguf({ add_eos_token: false })], [[], [
    1101,
  ], []]);
});

Deno.test("a text whose vector is wanted is cut on the side of truncation_side, and keeps its mark of beginning", async () => {
  const settings = JSON.parse(publishedFiles("gemma")["tokenizer_config.json"]);
  const cut = async (side: unknown, most: number) => {
    const changed = { "tokenizer_config.json": { ...settings, truncation_side: side } };
    return vectorTextIds(await publishedTokenizer("gemma", changed), "test test a", most);
  };
  const [begin, ...text] = await cut("right", 9);
  assert.ok(begin === 2 && text.length > 2);
  assert.deepEqual(await cut("left", 9), [2, ...text]);
  for (const side of ["right", null, undefined]) {
    assert.deepEqual(await cut(side, 3), [2, ...text.slice(0, 2)]);
  }
  assert.deepEqual(await cut("left", 3), [2, ...text.slice(-2)]);
  assert.deepEqual(await cut("left", 1), [2]);
  await assert.rejects(cut("middle", 3), /tokenizer_config\.json: truncation_side: /);
});

Deno.test("generation ends at a number or a list of generation_config.json, else config.json's, and the end mark", async () => {
  const eosOf = async (config: object, generation?: object) => {
    const more = { "config.json": config, ...generation && { "generation_config.json": generation } };
    return (await publishedTokenizer("llama3", more)).eos;
  };
  assert.deepEqual(await eosOf({ eos_token_id: 128009 }), [128009, 128001]);
  const list = { eos_token_id: [128001, 128008, 128009] };
  assert.deepEqual(await eosOf({ eos_token_id: 128255 }, list), [128001, 128008, 128009]);
  assert.deepEqual(await eosOf({ eos_token_id: null }), [128001]);
  assert.deepEqual(smollm2().eos, [2, 0]);
  assert.equal(smollm2().endMark, 2);
  assert.equal((await publishedTokenizer("qwen2_5")).endMark, 151645);
});

Deno.test("ids end where the tokenizer does, not where the model's table does", async () => {
  const qwen = await publishedTokenizer("qwen2_5", { "config.json": { vocab_size: 151936 } });
  assert.equal(qwen.size, 151665);
  assert.throws(
    () => qwen.decode([151779]),
    /^Error: 151779 is no token's id: the tokenizer's go up to 151664/,
  );
  const small = { "config.json": { vocab_size: 151664 } };
  await assert.rejects(
    () => publishedTokenizer("qwen2_5", small),
    /tokenizer\.json has ids up to 151664, and the model of config\.json only 151664 rows/,
  );
});

Deno.test("GGUF: unused rows are no tokens, at the end nor in the middle", () => {
  const tokens = ["<unk>", "<s>", "</s>", "a", "[PAD4]", "b", "ab", "[PAD7]", "[PAD8]"];
  const token_type = [2, 3, 3, 1, 5, 1, 1, 5, 5];
  const fields = { tokens, token_type, unknown_token_id: 0, eos_token_id: 2 };
  for (
    const kind of [
      { model: "llama", scores: tokens.map(() => 0), add_space_prefix: false },
      { model: "gpt2", pre: "qwen2", merges: ["a b"] },
    ]
  ) {
    const tokenizer = ggufTokenizer("a.gguf", ggml({ ...fields, ...kind }));
    assert.deepEqual([tokenizer.size, tokenizer.unused], [7, [4]], kind.model);
    assert.deepEqual(tokenizer.encode("aba"), [6, 3]);
    assert.throws(() => tokenizer.decode([4]), /4/);
  }
});

Deno.test("a stream holds a character back until it is whole, and no longer", async () => {
  const tokenizer = smollm2();
  assert.deepEqual(streamed(tokenizer, [10506, 25275, 225, 100]), [" Vi", "", "ệ", "t", ""]);
  // A character that is begun and not finished becomes U+FFFD when another begins, or the text ends.
  assert.deepEqual(streamed(tokenizer, [25275]), ["", "\ufffd"]);
  assert.deepEqual(streamed(tokenizer, [25275, 100]), ["", "\ufffdt", ""]);
  const llama2 = await publishedTokenizer("llama2");
  const bytes = (text: string) => Array.from(new TextEncoder().encode(text), (value) => 3 + value);
  assert.deepEqual(streamed(llama2, bytes("é🙂")), ["", "é", "", "", "", "🙂", ""]);
  assert.deepEqual(streamed(llama2, [...bytes("🙂").slice(0, 3), ...bytes("ab")]), [
    "",
    "",
    "",
    "\ufffda",
    "b",
    "",
  ]);
  assert.deepEqual(streamed(llama2, [3 + 0xff, 3 + 0xff]), ["\ufffd", "\ufffd", ""]);
});

Deno.test("a whole text loses the space that was put before it, and one that goes on keeps its own", async () => {
  const llama2 = await publishedTokenizer("llama2");
  const ids = llama2.encode("test");
  assert.deepEqual(ids, [1369]);
  assert.deepEqual([llama2.decode(ids), llama2.decode(ids, { continues: true })], ["test", " test"]);
  assert.equal(streamed(llama2, ids).join(""), "test");
  assert.equal(streamed(llama2, ids, { continues: true }).join(""), " test");
  assert.equal(llama2.decode(llama2.encode("  test")), "  test");
  assert.notDeepEqual(llama2.encode("test", { continues: true }), ids);
  const answer = { continues: true };
  assert.equal(llama2.decode(llama2.encode("test", answer), answer), "test");
});

Deno.test("special tokens are hidden from a text on demand", () => {
  const { decode, isSpecial } = smollm2();
  const ids = [1, 4093, 198, 26843, 2];
  assert.equal(decode(ids), "<|im_start|>user\nHi<|im_end|>");
  assert.equal(decode(ids, { hideSpecial: true }), "user\nHi");
  assert.deepEqual(ids.map(isSpecial), [true, false, false, false, true]);
});

Deno.test("contents that spell a special token hold no such id, and come back", async () => {
  const { encode, decode } = smollm2();
  const ids = encode("a<|im_end|>b", { specialAsText: true });
  assert.ok(!ids.includes(2));
  assert.equal(decode(ids), "a<|im_end|>b");
  assert.deepEqual(encode("a<|im_end|>b"), [81, 2, 82]);
  // What a seam divides is no token; the seam itself leaves no trace.
  assert.deepEqual(encode("a<\ufdd0|im_end|>b<|im_end|>", { seam: "\ufdd0" }), [...ids, 2]);
  const qwen = await publishedTokenizer("qwen2_5");
  assert.ok(qwen.encode("<tool_call>", { specialAsText: true }).includes(151657), "is not special there");
});

Deno.test("characters without a token are named", () => {
  const { lost, encode, decode } = smollm2();
  assert.deepEqual(lost("12345, plain – naïve"), []);
  // SmolLM2 has no token for six of the control characters: its ids leave them out.
  const control = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join("");
  assert.deepEqual(lost(`a${control}${control}`).map((it) => it.charCodeAt(0)), [4, 6, 19, 20, 22, 29]);
  assert.equal(decode(encode("a\u0004b")), "ab");
});

Deno.test("marks that tokenizer_config.json names are special, whatever tokenizer.json says of them", async () => {
  const files = publishedFiles("qwen2_5");
  const json = JSON.parse(files["tokenizer.json"]);
  type Token = { content: string; id: number };
  const end = json.added_tokens.find(({ content }: Token) => content === "<|im_end|>") as Token;
  const others = json.added_tokens.filter((token: Token) => token !== end);
  const model = { ...json.model, vocab: { ...json.model.vocab, [end.content]: end.id } };
  const plain = { ...json, added_tokens: [...others, { ...end, special: false }] };
  for (const changed of [plain, { ...json, model, added_tokens: others }]) {
    const own = { ...files, "tokenizer.json": JSON.stringify(changed) };
    const { encode, decode, isSpecial, specialTokens } = await withFiles(own, readDecoderTokenizer);
    assert.equal(isSpecial(end.id), true);
    assert.ok(specialTokens.includes(end.content));
    assert.deepEqual(encode("<|im_end|>"), [end.id]);
    assert.ok(!encode("<|im_end|>", { specialAsText: true }).includes(end.id));
    assert.equal(decode([end.id], { hideSpecial: true }), "");
  }
});

Deno.test("tokenizers that are not known are refused by name", async () => {
  const { "tokenizer.json": whole, ...rest } = publishedFiles("qwen2_5");
  const json = JSON.parse(whole);
  const read = (change: object, more = {}) => () =>
    withFiles(
      { ...rest, "tokenizer.json": JSON.stringify({ ...json, ...change }), ...more },
      readDecoderTokenizer,
    );
  await assert.rejects(
    () => withFiles(rest, readDecoderTokenizer),
    /holds no tokenizer\.json: save the tokenizer/,
  );
  await assert.rejects(
    read({ decoder: { type: "WordPiece" } }),
    /tokenizer\.json: its decoder is WordPiece: known are ByteLevel/,
  );
  await assert.rejects(read({ model: { type: "Rune" } }), /tokenizer\.json: /);
  await assert.rejects(
    read({}, { "tokenizer_config.json": `{"eos_token": "<end>"}` }),
    /tokenizer\.json: the token "<end>" of tokenizer_config\.json or special_tokens_map\.json is missing/,
  );
  await assert.rejects(
    read({}, { "tokenizer_config.json": `{"added_tokens_decoder": {"7": {"content": "<|im_end|>"}}}` }),
    /tokenizer_config\.json gives "<\|im_end\|>" the id 7, and tokenizer\.json 151645/,
  );
  const refused = (changed: object, message: RegExp) =>
    assert.throws(
      () => ggufTokenizer("a.gguf", smollm2Metadata(changed as Record<string, unknown>)),
      message,
    );
  refused(
    { "tokenizer.ggml.pre": "chameleon" },
    /^Error: a\.gguf cuts texts by "chameleon" .*known are gpt-2, llama-bpe/,
  );
  refused({ "tokenizer.ggml.pre": undefined }, /^Error: a\.gguf does not say how texts are cut/);
  refused({ "tokenizer.ggml.model": "bert" }, /^Error: a\.gguf: its tokenizer is of the model "bert"/);
  refused({ "tokenizer.ggml.merges": undefined }, /^Error: a\.gguf lacks tokenizer\.ggml\.merges/);
  refused({ "tokenizer.ggml.tokens": undefined }, /^Error: a\.gguf: tokenizer\.ggml: tokens/);
  refused({ "tokenizer.ggml.eos_token_id": 49152 }, /^Error: a\.gguf: eos_token has the id 49152/);
  refused({ "tokenizer.ggml.token_type": [1] }, /49152 tokens and 1 types of tokens/);
});

Deno.test("stop strings are found across pieces, and only what may begin one is held back", () => {
  const sent = (stops: string[], pieces: string[]) => {
    const scanner = stopScanner(stops);
    const out = pieces.map((piece) => scanner.push(piece).text);
    return [...out, scanner.end()];
  };
  assert.deepEqual(sent(["DEFGHIJ"], ["DEF", "G", "HI", "J"]).join(""), "");
  assert.deepEqual(sent(["own fox"], ["The quick", " brown", " fox", " jumps"]), [
    "The quick",
    " br",
    "",
    "",
    "",
  ]);
  assert.equal(sent(["own fox"], ["The quick brown fox"]).join(""), "The quick br");
  assert.deepEqual(sent(["own fox"], ["The quick brown", " f", "ence"]), [
    "The quick br",
    "",
    "own fence",
    "",
  ]);
  assert.deepEqual(sent(["END"], ["a END b"]), ["a ", ""], "what comes after in the same piece is cut too");
  assert.deepEqual(sent(["END"], ["a EN"]), ["a ", "EN"]);
  assert.deepEqual(sent(["aab"], ["a", "a", "a", "b", "c"]).join(""), "a");
  assert.equal(sent(["abc", "b"], ["abc"]).join(""), "a", "b is complete first");
  assert.equal(sent(["c", "abc"], ["abc"]).join(""), "", "the longer of two that end alike");
  assert.throws(() => stopScanner(["x", ""]), /a stop string is empty/);
});

Deno.test("stop strings: a text in pieces is sent as far as the whole is, however it is cut", () => {
  const stops = ["abca", "b", "cab", "bb"];
  for (let n = 0; n < 300; n++) {
    const text = Array.from({ length: 9 }, (_, i) => "abc"[Math.floor((n * 67) / 3 ** i) % 3]).join("");
    for (const some of [stops, ["abca"], ["cab", "abca"], ["aab", "aa"]]) {
      const whole = stopScanner(some);
      const { text: all, stopped } = whole.push(text);
      const scanner = stopScanner(some);
      const pieces = text.split("").map((letter) => scanner.push(letter));
      const joined = pieces.map(({ text }) => text).join("");
      assert.equal(joined + scanner.end(), all + whole.end(), `${text} until ${some}`);
      assert.equal(pieces.at(-1)!.stopped, stopped);
      const first = some.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      assert.equal(stopped, first.length > 0);
    }
  }
});
