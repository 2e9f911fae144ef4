/** Parses one JSON object and keeps numbers as written; JSON.parse would round them to float64. */

/** The value of each key: the text of a string, or the source text of any other value. */
export type JsonFields = ReadonlyMap<string, { readonly text: string; readonly isString: boolean }>;

/** A token of JSON, and where it begins. */
interface JsonToken {
  readonly token: string;
  readonly index: number;
}

/** The tokens of valid JSON. Strings are gone through by hand: a pattern's stack overflows at millions of escapes. */
export function* jsonTokens(json: string): Iterable<JsonToken> {
  const begin = /[{}[\],:"]|[^\s{}[\],:"]+/g;
  for (let found = begin.exec(json); found; found = begin.exec(json)) {
    const { 0: token, index } = found;
    if (token === '"') begin.lastIndex = stringEnd(json, index);
    yield { token: json.slice(index, begin.lastIndex), index };
  }
}

/** The place after the quote that ends the string that begins at `begin`. */
function stringEnd(json: string, begin: number): number {
  let end = begin;
  let escapes: number;
  do {
    end = json.indexOf('"', end + 1);
    escapes = 0;
    while (json[end - 1 - escapes] === "\\") escapes++;
  } while (escapes % 2 > 0);
  return end + 1;
}

/**
 * Parses an object. Throws an Error for invalid JSON, anything but an object, a key that it or an object in it
 * has twice, or half a surrogate pair in a key or in a text that is a value of its own. Texts within other values
 * are not looked at: those of conversations are checked where they are rendered.
 */
export function parseFields(json: string): JsonFields {
  const value: unknown = JSON.parse(json);
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new NoObjectError();
  const fields = new Map<string, { text: string; isString: boolean }>();
  // Of each object and list that is open, the keys so far.
  const keys: Set<string>[] = [];
  let key: string | undefined;
  let begin = 0;
  let last = "";
  for (const { token, index } of jsonTokens(json)) {
    const ends = keys.length === 1 && (token === "," || token === "}");
    if (ends && key !== undefined) {
      const written = json.slice(begin, index).trim();
      const isString = written.startsWith('"');
      fields.set(key, { text: isString ? textOf(written) : written, isString });
      key = undefined;
    } else if (token === ":") {
      const own = textOf(last);
      if (keys.at(-1)!.has(own)) throw new Error(`it has the key ${JSON.stringify(own)} twice`);
      keys.at(-1)!.add(own);
      if (keys.length === 1) [key, begin] = [own, index + 1];
    }
    if (token === "{" || token === "[") keys.push(new Set());
    else if (token === "}" || token === "]") keys.pop();
    last = token;
  }
  return fields;
}

/** Thrown when the JSON is not an object. */
export class NoObjectError extends Error {}

function textOf(written: string): string {
  const text = JSON.parse(written) as string;
  if (!text.isWellFormed()) throw new Error(`it has half a surrogate pair in ${JSON.stringify(text)}`);
  return text;
}
