/**
 * Rows of texts into ids, and which of these are learnt. What is learnt is said by place, never by id: the id that fills batches is
 * often the end mark's as well.
 */

import type {
  CompletionRow,
  InstructionRow,
  LanguageRow,
  MessagesRow,
  TextRow,
} from "../data/language_rows.ts";
import type { ChatTemplates } from "./chat_template.ts";
import { chatExamples } from "./chat_examples.ts";
import type { DecoderTokenizer } from "./decoder_tokenizer.ts";
import { type EncodedRow, isSame, type LanguageExample } from "./encoded_row.ts";
import { instructionPrompt } from "./instruction_prompt.ts";

/** How rows become ids. */
export interface LanguageOptions {
  /** Learns the answers, or all of a row. A row of `{text}` is an answer as a whole. */
  readonly loss: "completion" | "all";
  /** Longer rows are cut at their ends; those of which nothing is left to learn are left out. */
  readonly maxTokens: number;
  /**
   * What special tokens are that a row of `{text}` spells: `text` like any other, or `parsed` as tokens. In prompts, answers and
   * messages they are text, but for one end mark at an answer's end.
   */
  readonly specialInText?: "text" | "parsed";
}

/** Rows, as `where`, of which someone who trains should know. */
export interface LanguageNotes {
  /** Left out: within `maxTokens` is nothing to learn. */
  readonly dropped: string[];
  /** Cut at `maxTokens` within what is learnt: the end mark is not. */
  readonly cut: string[];
  /** The answer is "": only the end mark is learnt. */
  readonly emptyAnswers: string[];
  /** A special token is spelled in a content or text. */
  readonly spellSpecial: string[];
  /** Prompt and answer, encoded apart as generation has them, have other ids than together. */
  readonly joinsDiffer: string[];
  /** The template writes earlier turns otherwise than when they were the last: only the last is learnt. */
  readonly lastTurnOnly: string[];
  /** Characters for which the tokenizer has nothing. */
  readonly lost: { readonly where: string; readonly characters: readonly string[] }[];
}

/**
 * Encodes rows, in their order. Prompt and answer are encoded apart, as generation will see them, unless the row says otherwise, and
 * the answer ends with one end mark, whether the row spells it or not, unless the row wants none. Rows of `messages` need `templates`.
 * @throws Error that names the option whose value is not allowed, the file and line of a row that the template refuses or writes so
 * that no answer can be found in it, or when no row has anything to learn.
 */
export async function languageExamples(
  rows: readonly LanguageRow[],
  tokenizer: DecoderTokenizer,
  templates: ChatTemplates | undefined,
  options: LanguageOptions,
): Promise<{ readonly examples: LanguageExample[]; readonly notes: LanguageNotes }> {
  checkOptions(options);
  const chats = rows.filter((row): row is MessagesRow => row.kind === "messages");
  const encodedChats = (await chatExamples(chats, tokenizer, templates)).values();
  const encode = encoderOf(tokenizer, options.specialInText ?? "text");
  const encoded = rows.map((row) => row.kind === "messages" ? encodedChats.next().value! : encode(row));
  return fitted(encoded, tokenizer, options);
}

/** Throws an Error that names the option whose value is not allowed. */
function checkOptions({ loss, maxTokens }: LanguageOptions): void {
  if (!(Number.isSafeInteger(maxTokens) && maxTokens >= 1)) {
    throw new Error(`maxTokens is ${maxTokens}: use a whole number from 1`);
  }
  if (loss !== "completion" && loss !== "all") throw new Error(`loss is ${loss}: use "completion" or "all"`);
}

function encoderOf(tokenizer: DecoderTokenizer, specialInText: "text" | "parsed") {
  return (row: CompletionRow | InstructionRow | TextRow): EncodedRow => {
    if (row.kind === "completion") return pairOf(tokenizer, row);
    if (row.kind === "instruction") {
      return pairOf(tokenizer, { where: row.where, prompt: instructionPrompt(row), completion: row.output });
    }
    return wholeOf(tokenizer, row, specialInText);
  };
}

function pairOf(
  tokenizer: DecoderTokenizer,
  { where, prompt, completion, encodes, ends = true }: Omit<CompletionRow, "kind">,
): EncodedRow {
  const answer = withoutEnd(tokenizer, completion);
  const plain = { specialAsText: true };
  const before = tokenizer.encode(prompt, { ...plain, addMarks: true });
  const after = tokenizer.encode(answer, { ...plain, continues: prompt !== "" });
  const apart = [...before, ...after];
  const together = tokenizer.encode(prompt + answer, { ...plain, addMarks: true });
  const ids = [...encodes === "together" ? together : apart, ...ends ? [tokenizer.endMark] : []];
  return {
    where,
    ids,
    // Together, as many ids are not learnt as the prompt alone has: the answer's first may be another than generation's.
    labelled: ids.map((_, place) => place >= before.length || (ends && place === ids.length - 1)),
    texts: [prompt, answer],
    isEmptyAnswer: answer === "",
    joinDiffers: !isSame(apart, together),
  };
}

function wholeOf(
  tokenizer: DecoderTokenizer,
  { where, text }: TextRow,
  special: "text" | "parsed",
): EncodedRow {
  const isText = special === "text";
  const ids = tokenizer.encode(isText ? withoutEnd(tokenizer, text) : text, {
    addMarks: true,
    specialAsText: isText,
  });
  const ended = ids.at(-1) === tokenizer.endMark ? ids : [...ids, tokenizer.endMark];
  return {
    where,
    ids: ended,
    labelled: ended.map(() => true),
    texts: [text],
    isEmptyAnswer: text === "",
    joinDiffers: false,
  };
}

/** A text without the end mark that it spells at its end: the mark itself is put there. */
function withoutEnd({ decode, endMark }: DecoderTokenizer, text: string): string {
  const spelled = decode([endMark]);
  return text.endsWith(spelled) ? text.slice(0, -spelled.length) : text;
}

/** Cuts rows to `maxTokens`, and notes what is to be known of them. */
function fitted(
  rows: readonly EncodedRow[],
  tokenizer: DecoderTokenizer,
  { loss, maxTokens }: LanguageOptions,
) {
  const notes: LanguageNotes = {
    dropped: [],
    cut: [],
    emptyAnswers: [],
    spellSpecial: [],
    joinsDiffer: [],
    lastTurnOnly: [],
    lost: [],
  };
  const special = new RegExp(tokenizer.specialTokens.map(RegExp.escape).join("|") || "(?!)");
  const examples = rows.flatMap((row) => {
    const { where, texts } = row;
    if (row.isEmptyAnswer) notes.emptyAnswers.push(where);
    if (row.joinDiffers) notes.joinsDiffer.push(where);
    if (row.isLastTurnOnly) notes.lastTurnOnly.push(where);
    if (texts.some((text) => special.test(text))) notes.spellSpecial.push(where);
    const characters = tokenizer.lost(texts.join(""));
    if (characters.length > 0) notes.lost.push({ where, characters });
    const all = learntPlaces(row, loss);
    const labelled = all.slice(0, maxTokens);
    if (!labelled.includes(true)) {
      notes.dropped.push(where);
      return [];
    }
    if (all.includes(true, maxTokens)) notes.cut.push(where);
    return [{ where, ids: row.ids.slice(0, maxTokens), labelled, promptLength: row.labelled.indexOf(true) }];
  });
  if (examples.length > 0) return { examples, notes };
  const all = `${rows.at(0)?.where ?? "no row"} and all others have nothing to learn`;
  const isTooLong = rows.some((row) => learntPlaces(row, loss).includes(true));
  throw new Error(
    isTooLong ? `${all} within ${maxTokens} tokens: allow more` : `${all}: give texts that are not empty`,
  );
}

/** Which tokens of a row are learnt. The first is none: nothing tells it. */
function learntPlaces({ labelled }: EncodedRow, loss: LanguageOptions["loss"]): boolean[] {
  return labelled.map((isAnswer, i) => i > 0 && (isAnswer || loss === "all"));
}
