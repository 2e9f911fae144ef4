/** Tokenizers of Hugging Face folders: the ids that its own library gives awkward texts, truncation, and broken files. */

import assert from "node:assert/strict";
import type { Task } from "../lib/data/task.ts";
import { readTokenizer } from "../lib/models/hugging_face_tokenizer.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model } from "../lib/models/model.ts";
import { encodeExamples } from "../lib/train/fine_tune.ts";
import fixture from "./fixtures/tokenizer_reference.json" with { type: "json" };
import { cases } from "./support/bert_reference.ts";
import { withFiles, withFolder } from "./support/files.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";

type Files = Readonly<Record<string, string | Uint8Array>>;

const [bpe, wordPiece] = ["byte-level BPE", "WordPiece"].map(
  (name) => fixture.tokenizers[name as keyof typeof fixture.tokenizers].files as Record<string, string>,
);

for (const [name, { files, texts, pairs, cuts }] of Object.entries(fixture.tokenizers)) {
  const { "tokenizer.json": whole, ...older } = files as Record<string, string>;
  for (const own of [{ "tokenizer.json": whole }, older]) {
    Deno.test(`${name} from ${Object.keys(own).join(" and ")}: the ids of Hugging Face's own library`, async () => {
      const tokenizer = await withFiles(own, readTokenizer);
      fixture.texts.forEach((text, i) =>
        assert.deepEqual(tokenizer.encode(text, 512), texts[i], `of ${JSON.stringify(text)}`)
      );
      fixture.pairs.forEach(([first, second], i) => {
        const { ids, second: at } = tokenizer.encodePair(first, second, 512);
        const [expected, types] = pairs[i];
        assert.deepEqual(ids, expected);
        if (name === "WordPiece") assert.equal(at, types.indexOf(1), "where the tokens of type 1 begin");
      });
      fixture.cuts.forEach(([first, second, length], i) => {
        const { ids } = tokenizer.encodePair(" the".repeat(first), " fox".repeat(second), length);
        assert.deepEqual(ids, cuts[i], `${first} and ${second} words in ${length} tokens`);
      });
    });
  }
}

Deno.test("a single text is cut inside its marks", async () => {
  const tokenizer = await withFiles(bpe, readTokenizer);
  const whole = tokenizer.encode("the quick brown fox", 512);
  const cut = tokenizer.encode("the quick brown fox", 5);
  assert.deepEqual(cut, [...whole.slice(0, 4), whole.at(-1)]);
  assert.throws(() => tokenizer.encode("the", 2), /2 tokens have no room for text beside the 2 marks/);
  assert.throws(
    () => tokenizer.encodePair("the", "fox", 4),
    /4 tokens have no room for text beside the 4 marks/,
  );
});

Deno.test("WordPiece keeps capitals and accents where tokenizer_config.json says so", async () => {
  const files = { "vocab.txt": "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\nÉ\r\né\r\ne\r\n" };
  const cased = { ...files, "tokenizer_config.json": `{"do_lower_case": false}` };
  assert.deepEqual((await withFiles(files, readTokenizer)).encode("É", 9), [2, 7, 3]);
  assert.deepEqual((await withFiles(cased, readTokenizer)).encode("É", 9), [2, 5, 3]);
});

Deno.test("a folder of sentence-transformers may have its texts put into small letters first", async () => {
  const words = { "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nThe\nthe\n\u00e9\ne\n" };
  const cased = { ...words, "tokenizer_config.json": `{"do_lower_case": false}` };
  const said = (lower: boolean) => ({
    "sentence_bert_config.json": JSON.stringify({ do_lower_case: lower }),
  });
  const encode = async (files: Files, text: string) =>
    (await withFiles(files, readTokenizer)).encode(text, 9);
  assert.deepEqual(await encode({ ...cased, ...said(false) }, "The"), [2, 5, 3]);
  assert.deepEqual(await encode({ ...cased, ...said(true) }, "The \u00c9 [SEP]"), [2, 6, 7, 3, 3]);
  assert.deepEqual(
    await encode({ ...words, ...said(true) }, "The \u00c9"),
    [2, 6, 8, 3],
    "and accents as before",
  );
  const plain = JSON.parse(wordPiece["tokenizer.json"]);
  plain.normalizer = null;
  const whole = { "tokenizer.json": JSON.stringify(plain) };
  assert.notDeepEqual(await encode(whole, "THE"), await encode(whole, "the"));
  assert.deepEqual(await encode({ ...whole, ...said(true) }, "THE"), await encode(whole, "the"));
  const odd = { "sentence_bert_config.json": `{"do_lower_case": "yes"}` };
  await assert.rejects(encode({ ...words, ...odd }, "The"), /sentence_bert_config\.json: do_lower_case: /);
});

Deno.test("broken tokenizer files are refused by name", async () => {
  const { "tokenizer.json": _, ...older } = bpe;
  const edit = (change: (json: Record<string, unknown>) => void) => {
    const json = JSON.parse(wordPiece["tokenizer.json"]);
    change(json);
    return { "tokenizer.json": JSON.stringify(json) };
  };
  const broken: [Files, RegExp][] = [
    [{}, /holds no tokenizer: put tokenizer\.json there, or vocab\.json and merges\.txt, or vocab\.txt/],
    [
      { "tokenizer.json": bpe["tokenizer.json"].slice(0, 99) },
      /tokenizer\.json is not JSON, or is cut short/,
    ],
    [{ "tokenizer.json": "[]" }, /tokenizer\.json: (file|model): /],
    [{ "tokenizer.json": Uint8Array.of(0x7b, 0xff, 0x7d) }, /tokenizer\.json is not text in UTF-8/],
    [
      edit((json) => json.model = { type: "Rune" }),
      /tokenizer\.json describes no tokenizer that can be built/,
    ],
    [
      edit((json) => json.model = { type: "BPE", vocab: {}, merges: [], continuing_subword_prefix: "##" }),
      /that can be built: byte-pair encoding with a mark on what continues a word/,
    ],
    [
      edit((json) => json.post_processor = null),
      /tokenizer\.json: its post-processor puts no marks around texts/,
    ],
    [{ "merges.txt": bpe["merges.txt"] }, /vocab\.json/],
    [
      { ...older, "merges.txt": "#version: 0.2\nt h\nth e r\n" },
      /merges\.txt:3: "th e r" is no pair of tokens/,
    ],
    [{ ...older, "vocab.json": `{"<s>": 0, "a": -1}` }, /vocab\.json: file: write an object of tokens/],
    [{ ...older, "vocab.json": `{"<s>": 0, "a": 1}` }, /vocab\.json: the token <pad> is missing/],
    [{ "vocab.txt": "[PAD]\n[CLS]\n[SEP]\n" }, /vocab\.txt: the token \[UNK\] is missing/],
    [{ "vocab.txt": "" }, /vocab\.txt: the token \[PAD\] is missing/],
    [
      { ...older, "tokenizer_config.json": `{"add_prefix_space": 1}` },
      /tokenizer_config\.json: add_prefix_space/,
    ],
  ];
  for (const [files, message] of broken) await assert.rejects(() => withFiles(files, readTokenizer), message);
});

Deno.test("a vocabulary without its token for what is unknown is refused when a text needs it", async () => {
  const json = JSON.parse(bpe["tokenizer.json"]);
  delete json.model.vocab["Ã"];
  json.model.unk_token = "<none>";
  const tokenizer = await withFiles({ "tokenizer.json": JSON.stringify(json) }, readTokenizer);
  assert.throws(() => tokenizer.encode("ç", 9), /tokenizer\.json: the vocabulary lacks the token "<none>"/);
});

/** Pieces of one and of two letters, as XLM-R's kind has them. */
const unigram = {
  "tokenizer.json": JSON.stringify({
    normalizer: { type: "NFKC" },
    decoder: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", add_prefix_space: true },
    post_processor: {
      type: "TemplateProcessing",
      single: ["<s>", "A", "</s>"].map(templatePiece),
      pair: ["<s>", "A", "</s>", "</s>", "B", "</s>"].map(templatePiece),
      special_tokens: Object.fromEntries(
        ["<s>", "</s>"].map((id, at) => [id, { id, ids: [2 * at], tokens: [id] }]),
      ),
    },
    added_tokens: ["<s>", "<pad>", "</s>", "<unk>"].map((content, id) => ({ id, content, special: true })),
    model: {
      type: "Unigram",
      unk_id: 3,
      vocab: [["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["▁", -2], ["海", -3], ["陆", -3], [
        "海陆",
        -4,
      ]],
    },
  }),
};

function templatePiece(id: string): object {
  return id.length === 1 ? { Sequence: { id, type_id: 0 } } : { SpecialToken: { id, type_id: 0 } };
}

Deno.test("a text of 300,000 characters without a space is cut like any other", async () => {
  const tokenizer = await withFiles(unigram, readTokenizer);
  assert.deepEqual(tokenizer.encode("海陆海", 9), [0, 4, 7, 5, 2]);
  assert.deepEqual(tokenizer.encode("海".repeat(3e5), 6), [0, 4, 5, 5, 5, 2]);
  assert.deepEqual(tokenizer.encodePair("海".repeat(15e4), "陆", 9).ids, [0, 4, 5, 5, 2, 2, 4, 6, 2]);
});

Deno.test("what a tokenizer throws is told with the example's file and line", () => {
  const model = { pairing: { encode: () => assert.fail("no such token") } } as unknown as Model;
  const task = { maxTokens: 8 } as Task;
  assert.throws(
    () => encodeExamples(model, task, [{ id: "texts.csv line 7", texts: ["a"], label: 0 }]),
    /^Error: texts\.csv line 7: no such token$/,
  );
});

Deno.test("tokenizer_config.json changes tokenizer.json as it does the older files, but for classes that take it as it is", async () => {
  const settings: [Record<string, string>, object][] = [
    [wordPiece, { do_lower_case: false }],
    [wordPiece, { strip_accents: false, tokenizer_class: "BertTokenizerFast" }],
    [wordPiece, { tokenize_chinese_chars: false }],
    [bpe, { add_prefix_space: true, tokenizer_class: "RobertaTokenizer" }],
  ];
  for (const [{ "tokenizer.json": whole, ...older }, config] of settings) {
    const configured = (own: object) => ({ "tokenizer_config.json": JSON.stringify(own) });
    const [plain, same, generic, expected] = await Promise.all([
      withFiles({ "tokenizer.json": whole }, readTokenizer),
      withFiles({ "tokenizer.json": whole, ...configured(config) }, readTokenizer),
      withFiles({
        "tokenizer.json": whole,
        ...configured({ ...config, tokenizer_class: "PreTrainedTokenizerFast" }),
      }, readTokenizer),
      withFiles({ ...older, ...configured(config) }, readTokenizer),
    ]);
    const texts = ["The CAFÉ naïve", "fox 东京 the", "the"];
    for (const text of texts) {
      assert.deepEqual(same.encode(text, 64), expected.encode(text, 64), `${JSON.stringify(config)} ${text}`);
      assert.deepEqual(generic.encode(text, 64), plain.encode(text, 64));
    }
    assert.ok(
      texts.some((text) => `${same.encode(text, 64)}` !== `${plain.encode(text, 64)}`),
      "it changes ids",
    );
  }
  const left = {
    "tokenizer.json": bpe["tokenizer.json"],
    "tokenizer_config.json": `{"truncation_side": "left"}`,
  };
  await assert.rejects(
    () => withFiles(left, readTokenizer),
    /tokenizer_config\.json: truncation_side is "left", and texts are cut at their end here/,
  );
});

Deno.test("WordLevel gives a word that it does not know the unknown token", async () => {
  const json = JSON.parse(wordPiece["tokenizer.json"]);
  const vocab = { "[CLS]": 2, "[SEP]": 3, "the": 7, "[UNK]": 1 };
  json.model = { type: "WordLevel", vocab, unk_token: "[UNK]" };
  json.pre_tokenizer = { type: "Whitespace" };
  const { encode } = await withFiles({ "tokenizer.json": JSON.stringify(json) }, readTokenizer);
  assert.deepEqual(encode("the \u00e9the THE", 9), [2, 7, 1, 7, 3]);
});

Deno.test("a token that tokenizer.json lacks, or has another id for, is refused", async () => {
  const whole = { "tokenizer.json": wordPiece["tokenizer.json"] };
  const read = (more: Record<string, string>) => withFiles({ ...whole, ...more }, readTokenizer);
  const told = (id: number, content: string) => ({
    "tokenizer_config.json": JSON.stringify({ added_tokens_decoder: { [id]: { content } } }),
  });
  const { largestId } = await read(told(2, "[CLS]"));
  await assert.rejects(
    read(told(largestId + 1, "[E1]")),
    /tokenizer\.json gives "\[E1\]" no id, and tokenizer_config\.json or added_tokens\.json \d+: take the files/,
  );
  await assert.rejects(
    read({ "added_tokens.json": `{"[CLS]": 9}` }),
    /gives "\[CLS\]" the id 2, and .* 9: take/,
  );
});

Deno.test("older folders have the tokens of added_tokens.json, and of tokenizer_config.json with their flags", async () => {
  const files = { "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nnew\n##tok\n##s\n" };
  const encode = async (more: Record<string, string>, text: string) =>
    (await withFiles({ ...files, ...more }, readTokenizer)).encode(text, 9);
  assert.deepEqual(await encode({}, "newtoks newtok"), [2, 5, 6, 7, 5, 6, 3]);
  const older = { "added_tokens.json": `{"newtok": 8}` };
  assert.deepEqual(await encode(older, "newtoks newtok"), [2, 8, 1, 8, 3]);
  const token = { content: "newtok", single_word: true, normalized: false };
  const newer = { "tokenizer_config.json": JSON.stringify({ added_tokens_decoder: { 8: token } }) };
  assert.deepEqual(await encode({ ...older, ...newer }, "newtoks newtok NEWTOK"), [2, 5, 6, 7, 8, 5, 6, 3]);
  assert.equal((await withFiles({ ...files, ...newer }, readTokenizer)).largestId, 8);
  const bad = { "added_tokens.json": `{"newtok": -1}` };
  await assert.rejects(() => encode(bad, "new"), /added_tokens\.json: newtok: /);
});

Deno.test("a BERT's pairs have types of tokens only where its tokenizer gives them: XLM-RoBERTa's, as of multilingual E5, does not", () =>
  withFolder(async (folder) => {
    const json = JSON.parse(wordPiece["tokenizer.json"]);
    const untyped = { ...json, post_processor: JSON.parse(JSON.stringify(json.post_processor)) };
    for (const item of untyped.post_processor.pair) Object.assign(Object.values(item)[0]!, { type_id: 0 });
    const ofRoberta = { type: "RobertaProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] };
    const roberta = {
      ...json,
      post_processor: { ...ofRoberta, trim_offsets: true, add_prefix_space: false },
    };
    const config = { ...cases["BERT on pairs"].config, vocab_size: 1000 };
    const secondOf = async (json: unknown, settings: object, changes = {}) => {
      const tokenizer = {
        "tokenizer.json": JSON.stringify(json),
        "tokenizer_config.json": JSON.stringify(settings),
      };
      await writeCheckpoint(folder, { ...config, ...changes }, { tokenizer });
      const { pairing } = await loadEncoder(folder);
      return pairing.encode(["the", "the"], 16)[0].second;
    };
    const names = ["input_ids", "attention_mask"];
    const typed = [...names, "token_type_ids"];
    assert.equal(await secondOf(json, {}), 3);
    assert.equal(await secondOf(json, { tokenizer_class: "BertTokenizer" }), 3);
    assert.equal(await secondOf(untyped, {}), undefined);
    assert.equal(await secondOf(roberta, {}), undefined);
    assert.equal(await secondOf(json, { tokenizer_class: "XLMRobertaTokenizerFast" }), undefined);
    const ofClass = { tokenizer_class: "XLMRobertaTokenizer", model_input_names: typed };
    assert.equal(await secondOf(json, ofClass), 3);
    assert.equal(await secondOf(json, { model_input_names: names }), undefined);
    assert.equal(await secondOf(json, {}, { type_vocab_size: 1 }), undefined);
  }));
