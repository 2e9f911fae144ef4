/**
 * Tab-separated text as GLUE ships it: one row per line, tabs between cells, and no quoting, so quotes are
 * ordinary text (Python's `csv.QUOTE_NONE`, which the GLUE readers of transformers and datasets use).
 */

/** One row. */
export interface TsvRow {
  /** Line number, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** The content of a file. */
export interface TsvFile {
  readonly rows: readonly TsvRow[];
  /** True when the last row ends in a line feed; without one it may be truncated. */
  readonly endsInLineFeed: boolean;
}

const lineFeed = 10;

/**
 * Parses the bytes of a whole file. Only a line feed ends a row; a carriage return before it, and a
 * byte-order mark at the start, are dropped. Rows may have different numbers of cells; checking them is up to
 * the caller, which knows the columns.
 *
 * @throws Error that begins with `origin` and names the line for bytes that are not UTF-8, for a NUL (UTF-16
 * or binary data), and for an empty file.
 */
export function parseTsv(bytes: Uint8Array, origin: string): TsvFile {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const rows: TsvRow[] = [];
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(lineFeed, start);
    const end = found < 0 ? bytes.length : found;
    const where = `${origin} line ${rows.length + 1}`;
    const text = decodeLine(utf8, bytes.subarray(start, end), where);
    if (text.includes("\0")) throw new Error(`${where} has a NUL: save the file as UTF-8 text`);
    const content = start === 0 ? text.replace(/^\ufeff/, "") : text;
    rows.push({ line: rows.length + 1, cells: content.replace(/\r$/, "").split("\t") });
    start = end + 1;
  }
  if (rows.every(({ cells }) => cells.length === 1 && cells[0] === "")) {
    throw new Error(`${origin}: the file is empty: download or write it again`);
  }
  return { rows, endsInLineFeed: bytes.at(-1) === lineFeed };
}

function decodeLine(utf8: TextDecoder, line: Uint8Array, where: string): string {
  try {
    return utf8.decode(line);
  } catch (cause) {
    throw new Error(`${where} is not UTF-8: download the file again, or convert it`, { cause });
  }
}
