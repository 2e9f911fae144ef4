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

/**
 * The template's variables for a conversation; `special` are the contents of the tokens that only templates may use.
 * @throws Error that begins with the conversation's `where` and names the turn: no messages, a role or content that is no text,
 * half a surrogate pair, a number that JSON cannot hold, and keys that JavaScript would put in another order.
 */
export function chatInputs(conversation: Conversation, special: readonly string[]): ChatInputs {
  const { where, messages, addGenerationPrompt = false, tools, variables } = conversation;
  if (messages.length === 0) throw new Error(`${where} has no messages: write one at least`);
  const turns = messages.map((message, i) => turnOf(message, `${where}, message ${i + 1}`));
  const rest = { ...variables, ...tools && { tools } };
  checkValue(rest, where);
  const given = { ...rest, messages: turns };
  const divided = dividedValue(given, special, "\ufdd0");
  if (JSON.stringify(divided) === JSON.stringify(given)) {
    return { values: { ...given, add_generation_prompt: addGenerationPrompt } };
  }
  const written = JSON.stringify(given);
  const seam = nonCharacters.find((character) => !written.includes(character));
  if (seam === undefined) throw new Error(`${where} holds all 32 characters from U+FDD0: take one out`);
  const values = dividedValue(given, special, seam) as ChatInputs["values"];
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
  if (value === null || typeof value !== "object") return;
  const keys = Array.isArray(value) ? [] : Object.keys(value);
  const number = keys.length > 1 ? keys.find((key) => /^(0|[1-9]\d*)$/.test(key)) : undefined;
  if (number !== undefined) {
    throw new Error(`${where} has the key "${number}" beside others, which JavaScript puts first: rename it`);
  }
  for (const key of keys) checkValue(key, where);
  for (const inner of Object.values(value)) checkValue(inner, where);
}

/** A JSON value with a seam inside of every special token that its texts spell, or end with the beginning of. */
function dividedValue(value: unknown, special: readonly string[], seam: string): unknown {
  if (typeof value === "string") return dividedText(value, special, seam);
  if (Array.isArray(value)) return value.map((inner) => dividedValue(inner, special, seam));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, inner]) => [
    dividedText(key, special, seam),
    dividedValue(inner, special, seam),
  ]);
  return Object.fromEntries(entries);
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
  const isBegun = special.some((token) => {
    for (let length = token.length - 1; length > 0; length--) {
      if (divided.endsWith(token.slice(0, length))) return true;
    }
    return false;
  });
  return isBegun ? divided + seam : divided;
}
