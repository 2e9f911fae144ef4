/**
 * Tokenizers of Hugging Face folders: `tokenizer.json`, or the older `vocab.json` + `merges.txt` (byte-level BPE, Radford et
 * al. 2019) or `vocab.txt` (WordPiece, Wu et al. 2016), as transformers' own conversion of these makes them. Ids are those of
 * Hugging Face's tokenizers in Rust; of the older files, `<mask>` takes the space before it along, as in transformers 4.
 */

import * as v from "npm:valibot@1.5.0";
import { descriptionBounds, isFile, readJson, readText } from "../files.ts";
import type { Sequence } from "./model.ts";
import {
  type TextEncoding,
  textEncoding,
  type TokenizerDescription,
  tokenizerSchema,
} from "./text_encoder.ts";
import {
  givesTypes,
  readTokenizerSettings,
  type TokenizerSettings,
  withAdded,
  withSettings,
  withSmallLetters,
} from "./tokenizer_settings.ts";

/** The ids of marks before a text, between two texts, and after the last. */
export interface Marks {
  readonly begin: number;
  readonly between: readonly number[];
  readonly end: number;
}

/** Turns texts into ids between the marks that a model wants; `second` is where the second text begins. */
export interface MarkedTokenizer {
  readonly marks: Marks;
  /** The largest id that it can give. */
  readonly largestId: number;
  /** Whether it gives the tokens of a pair's second text type 1, as BERT's own tokenizer does. */
  readonly typesPairs: boolean;
  /** `<s> A </s>`, `[CLS] A [SEP]`: A is cut so that all fit into `maxTokens`. */
  encode(text: string, maxTokens: number): number[];
  /**
   * `<s> A </s></s> B </s>`, `[CLS] A [SEP] B [SEP]`: cut by `longest_first`, one token from the longer text at a time; where
   * both must be halved and there is one over, the longer keeps it, B if they are equal (as the library in Rust does).
   */
  encodePair(first: string, second: string, maxTokens: number): Required<Sequence>;
}

/** A tokenizer, and the `tokenizer.json` that says it: the folder's own, or that of its older files. */
export interface DescribedTokenizer {
  /** The file, for messages. */
  readonly path: string;
  readonly description: TokenizerDescription;
  readonly tokenizer: MarkedTokenizer;
}

/** Reads the tokenizer in `folder`. Throws as `readDescribedTokenizer` does. */
export async function readTokenizer(folder: string): Promise<MarkedTokenizer> {
  return (await readDescribedTokenizer(folder)).tokenizer;
}

/**
 * Reads the tokenizer in `folder` with its description.
 * @throws Error naming the file and what is wrong with it, or what files contradict each other in, or the files of which one set should be there.
 */
export async function readDescribedTokenizer(folder: string): Promise<DescribedTokenizer> {
  const settings = await readTokenizerSettings(folder);
  const [whole, bpe, wordPiece] = ["tokenizer.json", "merges.txt", "vocab.txt"].map((name) =>
    `${folder}/${name}`
  );
  if (await isFile(whole)) {
    const description = withSettings(await readJson(whole, tokenizerSchema), settings);
    return described(whole, description, settings, settings.added);
  }
  if (await isFile(bpe)) {
    return described(bpe, await byteLevelBpe(`${folder}/vocab.json`, bpe, settings), settings);
  }
  if (await isFile(wordPiece)) return described(wordPiece, await wordPieceOf(wordPiece, settings), settings);
  throw new Error(
    `${folder} holds no tokenizer: put tokenizer.json there, or vocab.json and merges.txt, or vocab.txt`,
  );
}

/** The places of a file's tokens. */
type Vocabulary = Readonly<Record<string, number>>;

/** Not `v.record`, which drops tokens such as "constructor". */
const vocabularySchema = v.custom<Vocabulary>(
  (value) =>
    value instanceof Object && Object.values(value).every((id) => Number.isSafeInteger(id) && id >= 0),
  "write an object of tokens and their numbers from 0",
);

/** The `added_tokens` for these names. Throws an Error that names the file when one is not in the vocabulary. */
function markTokens(path: string, vocabulary: Vocabulary, names: readonly string[]) {
  return names.map((content) => {
    const id = vocabulary[content];
    if (id === undefined) {
      throw new Error(`${path}: the token ${content} is missing: this is another kind of vocabulary`);
    }
    const lstrip = content === "<mask>";
    return { id, content, lstrip, rstrip: false, single_word: false, normalized: false, special: true };
  });
}

/** RoBERTa's `tokenizer.json`, from the two files it is made of. */
async function byteLevelBpe(
  path: string,
  mergesPath: string,
  settings: TokenizerSettings,
): Promise<TokenizerDescription> {
  const vocab = await readJson(path, vocabularySchema);
  const lines = (await readText(mergesPath, descriptionBounds.bytes)).split("\n");
  const merges = lines.flatMap((line, i) => {
    if (line === "" || (i === 0 && line.startsWith("#version"))) return [];
    const pair = line.trimEnd().split(" ");
    if (pair.length !== 2) {
      throw new Error(
        `${mergesPath}:${i + 1}: ${JSON.stringify(line)} is no pair of tokens with a space between`,
      );
    }
    return [pair];
  });
  const added = markTokens(path, vocab, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]);
  return {
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: settings.add_prefix_space ?? false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: { type: "RobertaProcessing", cls: ["<s>", vocab["<s>"]], sep: ["</s>", vocab["</s>"]] },
    decoder: null,
    added_tokens: withAdded(added, settings),
    model: {
      type: "BPE",
      vocab,
      merges,
      unk_token: "<unk>",
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
    },
  };
}

/** BERT's `tokenizer.json`, from its list of words. */
async function wordPieceOf(path: string, settings: TokenizerSettings): Promise<TokenizerDescription> {
  const words = (await readText(path, descriptionBounds.bytes)).replace(/\r?\n$/, "").split(/\r?\n/);
  const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
  return {
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: settings.tokenize_chinese_chars ?? true,
      strip_accents: settings.strip_accents ?? null,
      lowercase: settings.do_lower_case ?? true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "BertProcessing",
      cls: ["[CLS]", vocab["[CLS]"]],
      sep: ["[SEP]", vocab["[SEP]"]],
    },
    decoder: null,
    added_tokens: withAdded(
      markTokens(path, vocab, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]),
      settings,
    ),
    model: {
      type: "WordPiece",
      vocab,
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
    },
  };
}

/** The tokenizer that a `tokenizer.json` describes. */
function described(
  path: string,
  bare: TokenizerDescription,
  settings: TokenizerSettings,
  told: TokenizerSettings["added"] = [],
): DescribedTokenizer {
  const description = withSmallLetters(bare, settings);
  const encoding = built(path, description);
  checkAdded(path, encoding, told);
  return { path, description, tokenizer: marked(path, encoding, givesTypes(settings)) };
}

/** Throws an Error when the files beside a `tokenizer.json` tell of a token that it lacks, and transformers would add. */
function checkAdded(path: string, { idOf }: TextEncoding, told: TokenizerSettings["added"]): void {
  for (const { content, id } of told) {
    const own = idOf(content);
    if (own === id) continue;
    throw new Error(
      `${path} gives ${JSON.stringify(content)} ${
        own === undefined ? "no id" : `the id ${own}`
      }, and tokenizer_config.json or added_tokens.json ${id}: take the files from one model`,
    );
  }
}

function marked(path: string, encoding: TextEncoding, givesTypes: boolean): MarkedTokenizer {
  const bare = (text: string, most: number) => {
    try {
      return encoding.encode(text, most);
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
    }
  };
  const marks = marksOf(path, encoding);
  const { begin, between, end } = marks;
  const roomIn = (maxTokens: number, marks: number) => {
    if (maxTokens > marks) return maxTokens - marks;
    throw new Error(`${maxTokens} tokens have no room for text beside the ${marks} marks: use more`);
  };
  return {
    marks,
    largestId: encoding.largestId,
    typesPairs: givesTypes && encoding.typesPairs,
    encode(text, maxTokens) {
      const room = roomIn(maxTokens, 2);
      return [begin, ...bare(text, room), end];
    },
    encodePair(first, second, maxTokens) {
      const room = roomIn(maxTokens, 2 + between.length);
      // Which is longer counts only for a token that is over; then both are read to their ends.
      let [a, b] = [bare(first, room), bare(second, room)];
      if (room % 2 > 0 && a.length === room && b.length === room) {
        [a, b] = [bare(first, Infinity), bare(second, Infinity)];
      }
      const [lengthA, lengthB] = longestFirst(a.length, b.length, room);
      const head = [begin, ...a.slice(0, lengthA), ...between];
      return { ids: [...head, ...b.slice(0, lengthB), end], second: head.length };
    },
  };
}

function built(path: string, description: TokenizerDescription): TextEncoding {
  try {
    return textEncoding(description);
  } catch (error) {
    throw new Error(`${path} describes no tokenizer that can be built: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The marks around one text and between two, as the post-processor puts them. */
function marksOf(path: string, { withMarks, idOf }: TextEncoding): Marks {
  const text = "";
  const [single, pair] = [withMarks([text]), withMarks([text], [text])];
  const [begin, end] = [single[0], single.at(-1)!];
  const between = pair.slice(2, -2);
  const expected = [[begin, text, end], [begin, text, ...between, text, end]];
  if (JSON.stringify([single, pair]) !== JSON.stringify(expected) || between.length === 0) {
    throw new Error(
      `${path}: its post-processor puts no marks around texts and between two, as encoders want them`,
    );
  }
  const ids = (tokens: readonly string[]) =>
    tokens.map((token) => {
      const id = idOf(token);
      if (id !== undefined) return id;
      throw new Error(
        `${path}: the vocabulary lacks the token ${JSON.stringify(token)}: the file is not whole`,
      );
    });
  return { begin: ids([begin])[0], between: ids(between), end: ids([end])[0] };
}

/** What two lengths are cut to so that their sum is at most `room`. */
function longestFirst(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const half = Math.floor(room / 2);
  const shorter = Math.min(first, second, half);
  return first > second ? [room - shorter, shorter] : [shorter, room - shorter];
}
