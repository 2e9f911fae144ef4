/**
 * What a chat template is given. Contents are divided where they spell a special token, so that no part of them can be taken for
 * the template's own; and what Python's and JavaScript's Jinja would print differently is made alike or refused.
 */

/** One turn of a conversation. */
export interface ChatMessage {
  /** Who speaks: for most templates "system", "user" or "assistant". */
  readonly role: string;
  /** Null is the same as "": a template would print "None" in Python, and nothing in JavaScript. */
  readonly content?: string | null;
  /** Further fields, such as tool_calls, go to the template as they are. */
  readonly [field: string]: unknown;
}

/** Messages, and what else a template may ask for. */
export interface Conversation {
  /** What error messages call it, such as a file and line. */
  readonly where: string;
  readonly messages: readonly ChatMessage[];
  /** Ends with what the model's next turn begins with. */
  readonly addGenerationPrompt?: boolean;
  /** Descriptions of functions, as JSON values. */
  readonly tools?: readonly unknown[];
  /** Further variables that a template knows, such as enable_thinking. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Inputs of a template, and the character that divides special tokens in them if any had to be. */
export interface ChatInputs {
  readonly values: Readonly<Record<string, unknown>> & { readonly messages: readonly unknown[] };
  readonly seam?: string;
}

/** Characters that are none (Unicode 16, section 23.7), one of which no text here holds. */
const nonCharacters = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0xfdd0 + i));

/** Divides what a text spells of special tokens by a seam. */
export type Divider = (text: string, seam: string) => string;

/**
 * The template's variables for a conversation; `divide` divides the tokens that only templates may use.
 * @throws Error that begins with the conversation's `where` and names the turn: no messages, a role or content that is no text,
 * half a surrogate pair, a number that JSON cannot hold or whose digits are not all kept, and keys that JavaScript would put in another order.
 */
export function chatInputs(conversation: Conversation, divide: Divider): ChatInputs {
  const { where, messages, addGenerationPrompt = false, tools, variables } = conversation;
  if (messages.length === 0) throw new Error(`${where} has no messages: write one at least`);
  const turns = messages.map((message, i) => turnOf(message, `${where}, message ${i + 1}`));
  // As transformers has it, both are there for every template, and none where they are not given.
  const rest = { documents: null, ...variables, tools: tools ?? null };
  checkValue(rest, where);
  const given = { ...rest, messages: turns };
  const divided = dividedValue(given, divide, "\ufdd0");
  if (JSON.stringify(divided) === JSON.stringify(given)) {
    return { values: { ...given, add_generation_prompt: addGenerationPrompt } };
  }
  const written = JSON.stringify(given);
  const seam = nonCharacters.find((character) => !written.includes(character));
  if (seam === undefined) throw new Error(`${where} holds all 32 characters from U+FDD0: take one out`);
  const values = dividedValue(given, divide, seam) as ChatInputs["values"];
  return { values: { ...values, add_generation_prompt: addGenerationPrompt }, seam };
}

/** A message without fields that are null: one whose content is null has "". */
function turnOf({ role, content, ...fields }: ChatMessage, where: string): Readonly<Record<string, unknown>> {
  if (typeof role !== "string" || role === "") {
    throw new Error(`${where} has the role ${JSON.stringify(role)}: write a text such as "user"`);
  }
  if (content !== null && content !== undefined && typeof content !== "string") {
    throw new Error(`${where} (${role}) has content that is no text: write a string`);
  }
  const given = Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== null && value !== undefined),
  );
  const turn = { role, content: content ?? "", ...given };
  checkValue(turn, `${where} (${role})`);
  return turn;
}

/** Throws an Error where a JSON value would not reach the template as it is written. */
function checkValue(value: unknown, where: string): void {
  if (typeof value === "string" && !value.isWellFormed()) {
    throw new Error(`${where} has half a surrogate pair in ${JSON.stringify(value)}: write whole characters`);
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new Error(`${where} has the number ${value}, which JSON cannot hold`);
  }
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new Error(`${where} has the number ${value}, of which not all digits are kept: write it as a text`);
  }
  if (value === null || typeof value !== "object") return;
  const keys = Array.isArray(value) ? [] : Object.keys(value);
  const number = keys.length > 1 ? keys.find((key) => /^(0|[1-9]\d*)$/.test(key)) : undefined;
  if (number !== undefined) {
    throw new Error(`${where} has the key "${number}" beside others, which JavaScript puts first: rename it`);
  }
  for (const key of keys) checkValue(key, where);
  for (const inner of Object.values(value)) checkValue(inner, where);
}

/** A JSON value whose texts are divided. */
function dividedValue(value: unknown, divide: Divider, seam: string): unknown {
  if (typeof value === "string") return divide(value, seam);
  if (Array.isArray(value)) return value.map((inner) => dividedValue(inner, divide, seam));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    divide(key, seam),
    dividedValue(inner, divide, seam),
  ]);
  return Object.fromEntries(entries);
}

/** What puts a seam inside of each of these tokens that a text spells, and behind a text that ends with the beginning of one. */
export function dividerOf(special: readonly string[]): Divider {
  const spelled = new RegExp(special.map(RegExp.escape).join("|") || "(?!)");
  const beginnings = new Set(
    special.flatMap((token) => Array.from({ length: token.length - 1 }, (_, i) => token.slice(0, i + 1))),
  );
  const longest = Math.max(0, ...special.map(({ length }) => length - 1));
  const isBegun = (text: string) => {
    for (let at = Math.max(0, text.length - longest); at < text.length; at++) {
      if (beginnings.has(text.slice(at))) return true;
    }
    return false;
  };
  return (text, seam) => {
    const divided = spelled.test(text) ? dividedText(text, special, seam) : text;
    return isBegun(divided) ? divided + seam : divided;
  };
}

function dividedText(text: string, special: readonly string[], seam: string): string {
  let divided = text;
  for (const token of special) {
    const [first] = token;
    const rest = token.slice(first?.length ?? 0);
    // Once more where a token overlaps itself.
    while (rest !== "" && divided.includes(token)) {
      divided = divided.replaceAll(token, () => first + seam + rest);
    }
  }
  return divided;
}
