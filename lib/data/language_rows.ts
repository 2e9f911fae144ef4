/** Rows to train a decoder on, from the user's `.jsonl` or `.json`: four kinds, each by the fields that it has. */

import * as v from "npm:valibot@1.5.0";
import type { JsonFields } from "./json_fields.ts";
import { readJsonRecords } from "./json_records.ts";

/** A text that is asked, and the one that is learnt. */
export interface CompletionRow {
  /** By which the kinds are told apart. */
  readonly kind: "completion";
  /** File and line, for error messages. */
  readonly where: string;
  /** What comes before. */
  readonly prompt: string;
  /** What is learnt. */
  readonly completion: string;
  /** Encodes both as one text, as some protocols train, instead of apart, as generation has them. */
  readonly encodes?: "together";
  /** Whether the end mark follows the completion and is learnt; by default it is. */
  readonly ends?: boolean;
}

/** An instruction, perhaps with an input, and the output that is learnt. */
export interface InstructionRow {
  /** By which the kinds are told apart. */
  readonly kind: "instruction";
  /** File and line, for error messages. */
  readonly where: string;
  /** What is to be done. */
  readonly instruction: string;
  /** Undefined where the file has null, nothing but white space, or no such field. */
  readonly input?: string;
  /** What is learnt. */
  readonly output: string;
}

/** A turn of a conversation. */
export interface Message {
  /** Who speaks: `system`, `user`, `assistant` or `tool`. */
  readonly role: string;
  /** What is said. */
  readonly content?: string | null;
  /** Further fields, which the chat template may read. */
  readonly [field: string]: unknown;
}

/** A conversation, of which the assistant's turns are learnt. */
export interface MessagesRow {
  /** By which the kinds are told apart. */
  readonly kind: "messages";
  /** File and line, for error messages. */
  readonly where: string;
  /** The turns in order. */
  readonly messages: readonly Message[];
  /** Functions that the assistant can call, as the chat template wants them. */
  readonly tools?: readonly unknown[];
}

/** A text that is learnt whole. */
export interface TextRow {
  /** By which the kinds are told apart. */
  readonly kind: "text";
  /** File and line, for error messages. */
  readonly where: string;
  /** What is learnt. */
  readonly text: string;
}

/** One row. */
export type LanguageRow = CompletionRow | InstructionRow | MessagesRow | TextRow;

/** The field by which each kind is known. */
const leading = {
  completion: "prompt",
  instruction: "instruction",
  messages: "messages",
  text: "text",
} as const;

const messageSchema: v.GenericSchema<unknown, Message> = v.looseObject({
  role: v.string(),
  content: v.nullish(v.string()),
});
const messagesSchema = v.pipe(v.array(messageSchema), v.minLength(1));
const toolsSchema = v.array(v.unknown());

/**
 * Reads the rows of the file at `path`: `{prompt, completion}`, `{instruction, input, output}`, `{messages}` with `tools` or
 * without, or `{text}`. Further fields are not read. `kind` is needed where rows have fields of two.
 * @throws Error that names the file and line as `readJsonRecords` does, and for a row of no kind or of two, a field that is missing
 * or null (but for input, which may be), or is no text, and an assistant's turn without content and tool_calls, or with a weight
 * other than 1; and for a kind that there is not.
 */
export async function readLanguageRows(path: string, kind?: LanguageRow["kind"]): Promise<LanguageRow[]> {
  if (kind !== undefined && !Object.hasOwn(leading, kind)) {
    throw new Error(`no rows of the kind "${kind}"; have ${Object.keys(leading).join(", ")}`);
  }
  const records = await readJsonRecords(path);
  return records.map(({ where, fields }) => rowOf(where, fields, kind ?? kindOf(where, fields)));
}

function kindOf(where: string, fields: JsonFields): LanguageRow["kind"] {
  const kinds = Object.keys(leading) as LanguageRow["kind"][];
  const found = kinds.filter((kind) => fields.has(leading[kind]));
  if (found.length === 1) return found[0];
  const has = `it has ${[...fields.keys()].map((key) => JSON.stringify(key)).join(", ")}`;
  if (found.length > 1) {
    throw new Error(`${where} may be of the kind ${found.join(" or ")} (${has}): name the one that is meant`);
  }
  throw new Error(
    `${where} is no row to train on: ${has}; known are {prompt, completion}, {instruction, input, output}, {messages} and {text}`,
  );
}

function rowOf(where: string, fields: JsonFields, kind: LanguageRow["kind"]): LanguageRow {
  const text = (name: string) => textOf(where, fields, name);
  switch (kind) {
    case "completion":
      return { kind, where, prompt: text("prompt"), completion: text("completion") };
    case "instruction":
      return {
        kind,
        where,
        instruction: text("instruction"),
        input: isAbsent(fields, "input") ? undefined : text("input"),
        output: text("output"),
      };
    case "text":
      return { kind, where, text: text("text") };
    case "messages":
      return messagesRow(where, fields);
  }
}

/** Whether a field is missing, null, or blank. */
function isAbsent(fields: JsonFields, name: string): boolean {
  const field = fields.get(name);
  return field === undefined || (field.isString ? field.text.trim() === "" : field.text === "null");
}

function textOf(where: string, fields: JsonFields, name: string): string {
  const field = fields.get(name);
  if (field?.isString) return field.text;
  const what = field === undefined ? "is missing" : `is ${shortened(field.text)}`;
  throw new Error(`${where}: ${JSON.stringify(name)} ${what}: write a text, or "" for none`);
}

function messagesRow(where: string, fields: JsonFields): MessagesRow {
  const messages = partOf(where, fields, "messages", messagesSchema);
  const silent = messages.findIndex((message) =>
    message.role === "assistant" && (message.content ?? undefined) === undefined && !callsTools(message)
  );
  if (silent >= 0) {
    throw new Error(
      `${where}, message ${silent + 1} (assistant) has no content: write a text, or "" for none`,
    );
  }
  if (!messages.some(({ role }) => role === "assistant")) {
    throw new Error(`${where} has no message of the assistant: there is nothing to learn`);
  }
  const weighted = messages.findIndex(({ role, weight }) => role === "assistant" && (weight ?? 1) !== 1);
  if (weighted >= 0) {
    throw new Error(
      `${where}, message ${weighted + 1} (assistant) has the weight ${
        JSON.stringify(messages[weighted].weight)
      }: all of the assistant's messages are learnt alike; leave the weight out, or end the row before`,
    );
  }
  if (isAbsent(fields, "tools")) return { kind: "messages", where, messages };
  return { kind: "messages", where, messages, tools: partOf(where, fields, "tools", toolsSchema) };
}

/** Whether a message calls functions. */
export function callsTools({ tool_calls: calls }: Message): boolean {
  return Array.isArray(calls) ? calls.length > 0 : Boolean(calls);
}

/** A field that holds more than a text. */
function partOf<Schema extends v.GenericSchema>(
  where: string,
  fields: JsonFields,
  name: string,
  schema: Schema,
): v.InferOutput<Schema> {
  const field = fields.get(name);
  const parsed = field && !field.isString ? v.safeParse(schema, JSON.parse(field.text)) : undefined;
  if (parsed?.success) return parsed.output;
  const issue = parsed?.issues[0];
  const place = issue
    ? `${[name, v.getDotPath(issue)].filter(Boolean).join(".")}: ${issue.message}`
    : undefined;
  throw new Error(`${where}: ${place ?? `${JSON.stringify(name)} is no list: write […]`}`);
}

function shortened(json: string): string {
  return json.length > 40 ? `${json.slice(0, 40)}…` : json;
}
