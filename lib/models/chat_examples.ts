/**
 * Conversations into ids of which the assistant's turns are learnt: each turn's text up to its end token, and nothing else. A turn
 * begins where the template ends when it is given the messages before and asked for the next one.
 */

import { callsTools, type MessagesRow } from "../data/language_rows.ts";
import type { Conversation } from "./chat_inputs.ts";
import { type ChatTemplates, renderChats, type RenderedChat } from "./chat_template.ts";
import type { DecoderTokenizer } from "./decoder_tokenizer.ts";
import { type EncodedRow, isSame } from "./encoded_row.ts";

/** A row with its texts: the whole, and for each of the assistant's turns what comes before it. */
interface RenderedRow {
  readonly row: MessagesRow;
  readonly whole: RenderedChat;
  readonly turns: readonly { readonly message: number; readonly before: string }[];
}

/**
 * Encodes the rows. All are rendered first, so that one that the template refuses is found before any is learnt.
 * @throws Error that names the row, and the message, that the template refuses, whose calls of tools it leaves out, or whose last
 * answer is not found in its text.
 */
export async function chatExamples(
  rows: readonly MessagesRow[],
  tokenizer: DecoderTokenizer,
  templates: ChatTemplates | undefined,
): Promise<EncodedRow[]> {
  if (rows.length === 0) return [];
  if (!templates) {
    throw new Error(
      `${
        rows[0].where
      } is a conversation, and the model has no chat template: take one that has, or rows of prompt and completion`,
    );
  }
  const rendered = await renderedRows(rows, tokenizer, templates);
  return rendered.map((row) => encodedRow(row, tokenizer));
}

async function renderedRows(
  rows: readonly MessagesRow[],
  tokenizer: DecoderTokenizer,
  templates: ChatTemplates,
): Promise<RenderedRow[]> {
  const asked = rows.map((row) => ({ row, turns: assistantTurns(row) }));
  const conversations = asked.flatMap(({ row, turns }): Conversation[] => {
    const { where, messages, tools } = row;
    const before = turns.map((turn) => ({
      where,
      tools,
      messages: messages.slice(0, turn),
      addGenerationPrompt: true,
    }));
    return [{ where, tools, messages }, ...before];
  });
  const texts = (await renderChats(templates, tokenizer, conversations)).values();
  return asked.map(({ row, turns }) => ({
    row,
    whole: texts.next().value!,
    turns: turns.map((message) => ({ message, before: texts.next().value!.text })),
  }));
}

/** Places of the assistant's messages that others come before. */
function assistantTurns({ where, messages }: MessagesRow): number[] {
  const turns = [...messages.keys()].filter((i) => i > 0 && messages[i].role === "assistant");
  if (turns.length > 0) return turns;
  throw new Error(`${where} begins with the assistant's only message: write what it answers before it`);
}

function encodedRow(rendered: RenderedRow, tokenizer: DecoderTokenizer): EncodedRow {
  const { row, whole, turns } = rendered;
  const last = turns.slice(-1);
  const all = learningTurns(rendered, turns, tokenizer);
  const found = all ?? learningTurns(rendered, last, tokenizer);
  if (!found) {
    throw new Error(
      `${row.where}, message ${
        last[0].message + 1
      } (assistant): its text, and an end token after it, are not where the chat ` +
        `template begins the assistant's turn: the template cannot be trained with`,
    );
  }
  const contents = row.messages.map(({ content }) => content ?? "");
  return {
    where: row.where,
    ...found,
    texts: contents,
    isEmptyAnswer: turns.some(({ message }) =>
      contents[message] === "" && !callsTools(row.messages[message])
    ),
    joinDiffers: !isSame(found.ids, tokenizer.encode(whole.text, { seam: whole.seam })),
    isLastTurnOnly: all === undefined,
  };
}

/** The ids, with the answers of `turns` to be learnt; undefined if one of them is not where it would be generated. */
function learningTurns(
  { row, whole: { text, seam } }: RenderedRow,
  turns: RenderedRow["turns"],
  tokenizer: DecoderTokenizer,
): Pick<EncodedRow, "ids" | "labelled"> | undefined {
  const ids: number[] = [];
  const labelled: boolean[] = [];
  const add = (part: string) => {
    const last = ids.at(-1);
    const continues = last !== undefined && !tokenizer.isSpecial(last);
    const own = tokenizer.encode(part, { seam, continues });
    for (const id of own) {
      ids.push(id);
      labelled.push(false);
    }
    return own;
  };
  add(text.slice(0, turns[0].before.length));
  for (const [i, { message, before }] of turns.entries()) {
    if (!text.startsWith(before)) return undefined;
    const part = text.slice(before.length, turns[i + 1]?.before.length);
    const begin = ids.length;
    const end = add(part).findIndex((id) => tokenizer.eos.includes(id));
    if (end < 0) return undefined;
    const answer = answerIn(part, ids[begin + end], tokenizer, seam);
    if (!answers(row.messages[message], answer)) return undefined;
    checkCalls(row, message, answer);
    labelled.fill(true, begin, begin + end + 1);
  }
  return { ids, labelled };
}

/** The text of a turn up to its end token. */
function answerIn(part: string, end: number, { decode }: DecoderTokenizer, seam: string | undefined): string {
  const answer = part.slice(0, part.indexOf(decode([end])));
  return seam === undefined ? answer : answer.replaceAll(seam, "");
}

/** Throws an Error where a turn calls tools, and its text is the content alone. */
function checkCalls({ where, messages }: MessagesRow, turn: number, answer: string): void {
  const message = messages[turn];
  if (!callsTools(message) || answer.trim() !== contentOf(message)) return;
  throw new Error(
    `${where}, message ${turn + 1} (assistant): the chat template writes nothing of its tool_calls: ` +
      "take a model whose template does, or write the calls as content",
  );
}

/** Whether a turn's text is the message: after what the template puts first, or, with calls of tools, before what it puts then. */
function answers(message: MessagesRow["messages"][number], answer: string): boolean {
  const own = contentOf(message);
  return callsTools(message) ? answer.includes(own) : answer.trimEnd().endsWith(own);
}

/** A message's text without white space at its ends, which templates may leave out. */
function contentOf({ content }: MessagesRow["messages"][number]): string {
  return (content ?? "").trim();
}
