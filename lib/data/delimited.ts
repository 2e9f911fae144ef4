/** Rows of cells as Python's `csv` reads them from a file opened with `newline=""`. */

/** One row that is not blank. */
export interface DelimitedRow {
  /** Of the file, from 1; of a row over several lines, the last one. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** How cells are told apart. */
export interface Dialect {
  /** One character. */
  readonly delimiter: string;
  /** Whether a cell that begins with `"` goes on to the next one alone, `""` in it being a quote; else a quote is plain text. */
  readonly quoting: boolean;
}

/**
 * Reads all rows. A line ends in a line feed, a carriage return or both, in any order within one text; a quoted cell keeps those
 * in it as they are written, and a quote amid an unquoted cell is text. Lines of nothing but white space are left out, and count.
 *
 * Stricter than Python: an Error that names the line is thrown for a quote without its end, and for text after a quoted cell's end.
 */
export function parseDelimited(
  text: string,
  { delimiter, quoting }: Dialect,
  origin: string,
): DelimitedRow[] {
  const rows: DelimitedRow[] = [];
  const plainEnd = new RegExp(`[${delimiter}\r\n]`, "g");
  let cells: string[] = [];
  let isQuoted = false;
  let line = 1;
  for (let at = 0; at < text.length;) {
    const begin = at;
    if (quoting && text[at] === '"') {
      isQuoted = true;
      const firstLine = line;
      at = quotedEnd(text, at);
      if (at < 0) {
        throw new Error(`${origin} line ${firstLine} has a quote that nothing closes: mend the cell`);
      }
      const cell = text.slice(begin + 1, at - 1);
      line += cell.match(/\r\n?|\n/g)?.length ?? 0;
      if (at < text.length && !`${delimiter}\r\n`.includes(text[at])) {
        const how = 'write a quote in a quoted cell twice, as ""';
        throw new Error(`${origin} line ${line} has text after a quoted cell's end: ${how}`);
      }
      cells.push(cell.replaceAll('""', '"'));
    } else {
      plainEnd.lastIndex = at;
      at = plainEnd.exec(text)?.index ?? text.length;
      cells.push(text.slice(begin, at));
    }
    if (text[at] === delimiter) {
      at++;
      // A delimiter at the very end has an empty cell after it.
      if (at < text.length) continue;
      cells.push("");
    }
    if (cells.length > 1 || isQuoted || cells[0].trim() !== "") rows.push({ line, cells });
    [cells, isQuoted] = [[], false];
    at += text.startsWith("\r\n", at) ? 2 : 1;
    line++;
  }
  return rows;
}

/** The place after the quote that closes the cell whose opening quote is at `at`; −1 where none does. */
function quotedEnd(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 2)) {
    if (text[end + 1] !== '"') return end + 1;
  }
  return -1;
}
