/**
 * Chat templates (Jinja): conversations into one text with the marks that a model was trained with, and its ids. A template is a
 * stranger's program: it runs in a thread that ends when it takes too long or too much memory.
 */

import * as v from "npm:valibot@1.5.0";
import { inBoundedThread } from "../bounded_thread.ts";
import { isFile, isFolder, namesIn, readJson, readText } from "../files.ts";
import { type ChatInputs, chatInputs, type Conversation, dividerOf } from "./chat_inputs.ts";
import { readDecoderSettings } from "./decoder_settings.ts";
import type { DecoderTokenizer } from "./decoder_tokenizer.ts";
import { templatesFolder } from "./folder_files.ts";

/** A model's templates. */
export interface ChatTemplates {
  /** File, for error messages. */
  readonly path: string;
  /** By name: "default", and for conversations with tools "tool_use" if there is one. */
  readonly byName: Readonly<Record<string, string>>;
  /** bos_token, eos_token, …, as templates have them for variables. */
  readonly namedTokens: Readonly<Record<string, string>>;
}

/** A conversation as a text. */
export interface RenderedChat {
  /** With `seam` inside of what contents spell like special tokens. */
  readonly text: string;
  readonly seam?: string;
}

/** The request to the thread. */
export interface RenderRequest {
  readonly template: string;
  readonly inputs: readonly ChatInputs["values"][];
  /** Characters of one text. */
  readonly most: number;
}

/** One text, or why the template refuses the conversation and from which message on. */
export type Rendering = { readonly text: string } | { readonly refusal: string; readonly turn?: number };

/** What the thread posts. */
export interface RenderAnswer {
  readonly renderings: readonly Rendering[];
}

/** Limits far above what conversations need: bytes of a template and of the thread's heap, and characters of a text. */
const most = { template: 2 ** 20, heap: 2 ** 29, text: 2 ** 24 };

/** Time limit in seconds for so many conversations, which take a hundredth of it. */
function secondsFor(count: number): number {
  return 10 + count / 20;
}

const named = v.array(v.looseObject({ name: v.string(), template: v.string() }));
const settingsSchema = v.looseObject({ chat_template: v.nullish(v.union([v.string(), named])) });

/**
 * Reads the templates in `folder`: `chat_template.jinja` and those in `additional_chat_templates`, or else `chat_template` of
 * `tokenizer_config.json`. Undefined if there are none.
 * @throws Error naming the file that is malformed.
 */
export async function readChatTemplates(folder: string): Promise<ChatTemplates | undefined> {
  const { namedTokens } = await readDecoderSettings(folder);
  const path = `${folder}/chat_template.jinja`;
  if (await isFile(path)) {
    const more = await additionalTemplates(`${folder}/${templatesFolder}`);
    return { path, byName: { ...more, default: await readText(path, most.template) }, namedTokens };
  }
  const settings = `${folder}/tokenizer_config.json`;
  const told = await isFile(settings) ? (await readJson(settings, settingsSchema)).chat_template : undefined;
  if (told === undefined || told === null) return undefined;
  const byName = typeof told === "string"
    ? { default: told }
    : Object.fromEntries(told.map(({ name, template }) => [name, template]));
  return { path: settings, byName, namedTokens };
}

async function additionalTemplates(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  if (!await isFolder(folder)) return found;
  for (const name of await namesIn(folder)) {
    if (!name.endsWith(".jinja")) continue;
    found[name.replace(/\.jinja$/, "")] = await readText(`${folder}/${name}`, most.template);
  }
  return found;
}

/** The templates of a GGUF file's metadata; `tokenizer` is the same file's. Undefined if there are none. */
export function ggufChatTemplates(
  path: string,
  metadata: ReadonlyMap<string, unknown>,
  { namedTokens }: DecoderTokenizer,
): ChatTemplates | undefined {
  const key = "tokenizer.chat_template";
  const found = [...metadata].flatMap(([name, template]) => {
    if (typeof template !== "string" || !(name === key || name.startsWith(`${key}.`))) return [];
    return [[name.slice(key.length + 1) || "default", template]];
  });
  return found.length > 0 ? { path, byName: Object.fromEntries(found), namedTokens } : undefined;
}

/**
 * Renders conversations as transformers' `apply_chat_template` does, in `seconds` at most: by default 10, and a twentieth more for
 * each. Three things are otherwise: a number 1.0 of JSON is written 1, a template that prints True or a list without `tojson` gets
 * JavaScript's words for it, and the months of `strftime_now` are in the machine's language.
 * @throws Error that begins with a conversation's `where` and names the message when the template refuses it (`raise_exception`)
 * or it is malformed; Error that begins with the template's path when it is no template or exceeds a limit.
 */
export async function renderChats(
  templates: ChatTemplates,
  tokenizer: DecoderTokenizer,
  conversations: readonly Conversation[],
  seconds: number = secondsFor(conversations.length),
): Promise<RenderedChat[]> {
  const divide = dividerOf(tokenizer.specialTokens);
  const inputs = conversations.map((conversation) => chatInputs(conversation, divide));
  const texts = new Array<RenderedChat>(conversations.length);
  const usesOf = Map.groupBy(conversations.keys(), (i) => templateFor(templates, conversations[i]));
  for (const [template, places] of usesOf) {
    const values = places.map((i) => ({ ...templates.namedTokens, ...inputs[i].values }));
    const renderings = await rendered(templates.path, template, values, seconds);
    places.forEach((place, i) => {
      const rendering = renderings[i];
      if ("refusal" in rendering) throw refused(conversations[place], rendering);
      texts[place] = { text: rendering.text, seam: inputs[place].seam };
    });
  }
  return texts;
}

/** The ids of a conversation: the template's marks are special tokens, and no others are put around them. */
export async function encodeChat(
  templates: ChatTemplates,
  tokenizer: DecoderTokenizer,
  conversation: Conversation,
): Promise<number[]> {
  const [{ text, seam }] = await renderChats(templates, tokenizer, [conversation]);
  return tokenizer.encode(text, { seam });
}

function templateFor({ path, byName }: ChatTemplates, { tools }: Conversation): string {
  const template = (tools && byName.tool_use) ?? byName.default;
  if (template !== undefined) return template;
  const names = Object.keys(byName).join(", ");
  throw new Error(`${path} has no chat template named "default", only ${names}: name one of them so`);
}

async function rendered(
  path: string,
  template: string,
  inputs: RenderRequest["inputs"],
  seconds: number,
): Promise<RenderAnswer["renderings"]> {
  const bounds = {
    seconds,
    heap: most.heap,
    tooLong: `it takes longer than ${Math.round(seconds)} seconds for ${inputs.length} conversations`,
    tooLarge: `it takes more than ${most.heap} bytes of memory`,
  };
  const request: RenderRequest = { template, inputs, most: most.text };
  const worker = new URL("./chat_template_worker.ts", import.meta.url);
  try {
    return (await inBoundedThread<RenderAnswer>(worker, request, bounds)).renderings;
  } catch (error) {
    throw new Error(`${path}: the chat template fails: ${(error as Error).message}`, { cause: error });
  }
}

function refused(
  { where, messages }: Conversation,
  { refusal, turn }: Extract<Rendering, { refusal: string }>,
): Error {
  const place = turn === undefined ? "" : `, message ${turn} (${messages[turn - 1].role})`;
  return new Error(`${where}${place}: the chat template refuses it: ${refusal}`);
}
