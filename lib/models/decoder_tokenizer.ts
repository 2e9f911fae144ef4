/**
 * Tokenizers of causal decoders: the ids of a text with one mark at its beginning or none, the text of ids at once or while they
 * come, and where generation ends. Ids are those of Hugging Face's tokenizers in Rust; a space before punctuation stays there.
 */

import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { type DecoderSettings, readDecoderSettings } from "./decoder_settings.ts";
import { normalForm } from "./rust_unicode.ts";
import {
  type Reading,
  type TextEncoding,
  textEncoding,
  type TokenizerDescription,
  tokenizerSchema,
} from "./text_encoder.ts";
import {
  type DecodeOptions,
  type StreamingDecoder,
  tokenTexts,
  type TokenWriting,
  writingOf,
} from "./token_texts.ts";

/** How a text becomes ids. */
export interface EncodeOptions extends Reading {
  /** Begins with the mark of beginning, where the tokenizer's settings want one, and once if the text spells it. */
  readonly addMarks?: boolean;
}

/** Texts to ids and back. */
export interface DecoderTokenizer {
  /** Ids are below this: the model's further rows belong to no token, and are never to be sampled. */
  readonly size: number;
  /** Ids below `size` that belong to no token, and are never to be sampled either: few if any. */
  readonly unused: readonly number[];
  /** The mark of beginning, if there is one; whether texts get it is the settings' affair. */
  readonly bos: number | undefined;
  /** Ids that end generation: those of the model's settings, and `endMark`. */
  readonly eos: readonly number[];
  /** Marks that come after a text whose vector is wanted, as the models of Qwen3-Embedding have it: most have none. */
  readonly closing: readonly number[];
  /** Whether such a text loses its beginning where it is too long, not its end. */
  readonly cutsBeginning: boolean;
  /** The id that is learnt as a text's end. Throws an Error, when it is asked for, if the files name none. */
  readonly endMark: number;
  /** Marks by the names that chat templates have for them: bos_token, eos_token, … */
  readonly namedTokens: Readonly<Record<string, string>>;
  /** Contents of the tokens that are found in templates, and are only text where contents spell them. */
  readonly specialTokens: readonly string[];
  /** Whether an id is a special token: a mark, not text. */
  isSpecial(id: number): boolean;
  /** Throws an Error that names the file where the text has a character that the vocabulary has nothing for. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Throws an Error for an id that is no token's. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** Decodes ids as they come, never a part of a character. */
  streamingDecoder(options?: DecodeOptions): StreamingDecoder;
  /** The characters of `text` that its ids do not give back, each once: of those the model sees nothing, or something else. */
  lost(text: string): string[];
}

/** What `decoderTokenizer` puts together. */
export interface DecoderTokenizerParts {
  /** File or model, for error messages. */
  readonly path: string;
  readonly encoding: TextEncoding;
  readonly writing: TokenWriting;
  readonly bos: number | undefined;
  /** Whether `addMarks` puts `bos` before a text. */
  readonly addsBos: boolean;
  readonly closing: readonly number[];
  readonly cutsBeginning: boolean;
  readonly eos: readonly number[];
  readonly endMark: number | undefined;
  readonly namedTokens: Readonly<Record<string, string>>;
}

/**
 * Reads the tokenizer in `folder`: `tokenizer.json` with what `tokenizer_config.json`, `special_tokens_map.json`, `config.json`
 * and `generation_config.json` say of marks.
 * @throws Error naming the file and what is wrong: none there, a kind that is not known, a mark that the vocabulary lacks, files
 * that contradict each other, and a model whose vocabulary is smaller than the tokenizer's.
 */
export async function readDecoderTokenizer(folder: string): Promise<DecoderTokenizer> {
  const path = `${folder}/tokenizer.json`;
  if (!await isFile(path)) {
    throw new Error(
      `${folder} holds no tokenizer.json: save the tokenizer with transformers' AutoTokenizer, which writes one`,
    );
  }
  const settings = await readDecoderSettings(folder);
  const description = withMarks(await readJson(path, tokenizerSchema), Object.values(settings.namedTokens));
  const { encoding, writing } = built(path, () => ({
    encoding: textEncoding(description),
    writing: writingOf(description.decoder),
  }));
  checkAgreement(path, folder, encoding, settings);
  const idOf = (token: string | undefined) => {
    const id = token === undefined ? undefined : encoding.idOf(token);
    if (id !== undefined || token === undefined) return id;
    throw new Error(
      `${path}: the token ${
        JSON.stringify(token)
      } of tokenizer_config.json or special_tokens_map.json is missing`,
    );
  };
  const { bos_token, eos_token } = settings.namedTokens;
  const marked = encoding.withMarks(["text"]);
  const put = marked[0] === "text" ? undefined : marked[0];
  const endMark = idOf(eos_token) ?? settings.eos.at(0);
  return decoderTokenizer({
    path,
    encoding,
    writing,
    bos: idOf(bos_token ?? put),
    addsBos: settings.addsBos ?? (put !== undefined || isFirstLlama3(bos_token)),
    cutsBeginning: settings.cutsBeginning,
    closing: marked.slice(marked.indexOf("text") + 1).map((mark) => idOf(mark)!),
    eos: settings.eos,
    endMark,
    namedTokens: settings.namedTokens,
  });
}

/** The description with these marks as special tokens, as transformers makes them, also where they are only in the vocabulary. */
function withMarks(description: TokenizerDescription, marks: readonly string[]): TokenizerDescription {
  const { model, added_tokens } = description;
  const known = added_tokens.map((token) =>
    marks.includes(token.content) ? { ...token, special: true } : token
  );
  const others = new Set(marks.filter((mark) => known.every(({ content }) => content !== mark)));
  const flags = { special: true, normalized: false, single_word: false, lstrip: false, rstrip: false };
  const vocabulary = others.size > 0 ? v.safeParse(vocabularySchema, model.vocab) : undefined;
  const pieces = vocabulary?.success ? Object.entries(vocabulary.output) : [];
  const more = pieces.flatMap(([content, id]) => others.has(content) ? [{ content, id, ...flags }] : []);
  return { ...description, added_tokens: [...known, ...more] };
}

const vocabularySchema = recordOf(v.number());

/** LLaMA 3's first files put no mark before texts, by mistake: the model was trained with it, and later files have it. */
function isFirstLlama3(bosToken: string | undefined): boolean {
  return bosToken === "<|begin_of_text|>";
}

/** The tokenizer of these parts. Throws an Error that names the path when a mark is no token's id. */
export function decoderTokenizer(parts: DecoderTokenizerParts): DecoderTokenizer {
  const { path, encoding, bos, addsBos, closing, cutsBeginning, endMark, namedTokens } = parts;
  const eos = [...new Set([...parts.eos, ...endMark === undefined ? [] : [endMark]])];
  const size = encoding.largestId + 1;
  const wrong = [bos ?? 0, ...eos].find((id) => id >= size);
  if (wrong !== undefined) {
    throw new Error(`${path}: a mark has the id ${wrong}, and the tokenizer's ids end at ${size - 1}`);
  }
  const special = new Set(encoding.added.filter(({ special }) => special).map(({ id }) => id));
  const tokens = tokensOf(encoding, size, special);
  const texts = tokenTexts(tokens, parts.writing);
  const encode = (text: string, { addMarks = false, ...reading }: EncodeOptions = {}) => {
    const ids = built(path, () => encoding.encode(text, Infinity, reading));
    return addMarks && addsBos && bos !== undefined && ids[0] !== bos ? [bos, ...ids] : ids;
  };
  return {
    size,
    unused: Array.from(tokens.keys()).filter((id) => tokens[id] === undefined),
    bos,
    eos,
    closing,
    cutsBeginning,
    get endMark() {
      if (endMark !== undefined) return endMark;
      throw new Error(`${path}: no file beside it names an end token (eos_token): write it there`);
    },
    namedTokens,
    specialTokens: encoding.added.filter(({ special }) => special).map(({ content }) => content),
    isSpecial: (id) => special.has(id),
    encode,
    decode: texts.decode,
    streamingDecoder: texts.streaming,
    lost: lostIn((text) =>
      texts.decode(encode(text, { specialAsText: true, continues: true }), { continues: true })
    ),
  };
}

function tokensOf({ vocabulary, added }: TextEncoding, size: number, special: ReadonlySet<number>) {
  const tokens = new Array<{ content: string; isAdded: boolean; isSpecial: boolean } | undefined>(size);
  for (const [content, id] of vocabulary) tokens[id] = { content, isAdded: false, isSpecial: false };
  for (const { content, id } of added) tokens[id] = { content, isAdded: true, isSpecial: special.has(id) };
  return tokens;
}

/** Finds the characters that do not come back, but for those that Unicode itself holds to be another's other form. */
function lostIn(roundTrip: (text: string) => string): (text: string) => string[] {
  const known = new Map<string, boolean>();
  const isLost = (character: string) => {
    const back = roundTrip(character);
    return back !== character && back !== normalForm(character, "NFC");
  };
  return (text) =>
    [...new Set(text)].filter((character) => {
      const lost = known.get(character) ?? isLost(character);
      known.set(character, lost);
      return lost;
    });
}

/** What `build` gives, with errors that name the file. */
function built<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

function checkAgreement(
  path: string,
  folder: string,
  encoding: TextEncoding,
  { added, vocabularySize }: DecoderSettings,
): void {
  for (const { content, id } of added) {
    const own = encoding.idOf(content);
    if (own === id) continue;
    throw new Error(
      `${folder}/tokenizer_config.json gives ${JSON.stringify(content)} the id ${id}, and tokenizer.json ${
        own ?? "none"
      }: take both files from one model`,
    );
  }
  if (vocabularySize !== undefined && vocabularySize <= encoding.largestId) {
    throw new Error(
      `${path} has ids up to ${encoding.largestId}, and the model of config.json only ${vocabularySize} rows: take both files ` +
        `from one model`,
    );
  }
}
