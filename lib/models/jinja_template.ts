/** Chat templates as Python's Jinja reads them, where the npm library reads them otherwise. */

import { Template } from "npm:@huggingface/jinja@0.5.11";

/** What gives a template's text for the values of its variables. Throws what the template raises. */
export type RenderTemplate = (values: Readonly<Record<string, unknown>>) => string;

/**
 * Compiles a template. Its lines may end in LF, CR or CRLF, and end in LF for it; strip, lstrip and rstrip take the characters that
 * they are given away, where the library's take white space whatever they are given, and trim and they Python's white space.
 * @throws Error when it is no template.
 */
export function jinjaTemplate(source: string): RenderTemplate {
  const template = new Template(source.replace(/\r\n?/g, "\n"));
  replaceStrips(template.parsed);
  return (values) => template.render({ ...values, ...strips });
}

/** Ends of a text that a method strips. */
const ends: Readonly<Record<string, { readonly left: boolean; readonly right: boolean }>> = {
  strip: { left: true, right: true },
  lstrip: { left: true, right: false },
  rstrip: { left: false, right: true },
};

/** The function that stands for a method. No template can spell a name with a space. */
const functionOf = (method: string) => `characters ${method}`;

const strips = Object.fromEntries(
  Object.entries(ends).map(([method, { left, right }]) => [
    functionOf(method),
    (text: unknown, characters: unknown) => stripped(text, characters ?? null, left, right),
  ]),
);

/** Whether Python strips it. JavaScript's `trim` leaves U+0085 and the separators of ASCII, and takes U+FEFF away. */
function isWhiteSpace(letter: string): boolean {
  return /\p{White_Space}/u.test(letter) || (letter >= "\x1c" && letter <= "\x1f");
}

/** `text` without those of `characters` at its ends; null stands for white space. */
function stripped(text: unknown, characters: unknown, left: boolean, right: boolean): string {
  if (typeof text !== "string") throw new Error("only a text has characters to strip");
  if (characters !== null && typeof characters !== "string") {
    throw new Error("the characters to strip are no text");
  }
  const goes = characters === null ? isWhiteSpace : (letter: string) => characters.includes(letter);
  const letters = Array.from(text);
  const first = left ? letters.findIndex((letter) => !goes(letter)) : 0;
  const last = right ? letters.findLastIndex((letter) => !goes(letter)) : letters.length - 1;
  return first < 0 ? "" : letters.slice(first, last + 1).join("");
}

/** A part of the library's syntax tree. */
interface SyntaxNode {
  type?: unknown;
  callee?: SyntaxNode;
  args?: unknown[];
  object?: unknown;
  computed?: unknown;
  property?: { value?: unknown };
  operand?: unknown;
  filter?: SyntaxNode & { value?: unknown };
}

/** Turns each `text.strip(characters)` and `text | trim` below a node into a call of the function that stands for it. */
function replaceStrips(node: unknown): void {
  if (node === null || typeof node !== "object") return;
  const { type, callee, args, operand, filter } = node as SyntaxNode;
  const method = callee?.type === "MemberExpression" && !callee.computed ? callee.property?.value : undefined;
  if (
    type === "CallExpression" && args && args.length <= 1 && typeof method === "string" &&
    Object.hasOwn(ends, method)
  ) {
    Object.assign(callee!.property!, { value: functionOf(method) });
    Object.assign(node, { args: [callee!.object, ...args], callee: callee!.property });
  }
  if (type === "FilterExpression" && filter?.type === "Identifier" && filter.value === "trim") {
    Object.assign(filter, { value: functionOf("strip") });
    Object.assign(node, { type: "CallExpression", callee: filter, args: [operand] });
  }
  for (const inner of node instanceof Map ? [...node].flat() : Object.values(node)) replaceStrips(inner);
}
