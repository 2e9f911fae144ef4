/** Parses delimited text as Python's `csv` module does for a file opened with `newline=""`. */

/** One row that is not blank. */
export interface DelimitedRow {
  /** Line number in the file, from 1; for a row that spans several lines, the last one. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** The format of the rows. */
export interface Dialect {
  /** A single character. */
  readonly delimiter: string;
  /**
   * True when a cell that begins with `"` extends to the next single `"`, with `""` for a literal quote. If
   * false, quotes are ordinary text.
   */
  readonly quoting: boolean;
}

/**
 * Parses all rows. A line ends in LF, CR or CRLF, also mixed within one text. Quoted cells keep line breaks
 * as written, and a quote inside an unquoted cell is ordinary text. Blank lines are skipped but counted.
 *
 * @throws Error that names the line for an unclosed quote, and for text after the end of a quoted cell;
 * Python accepts both.
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
      // A delimiter at the very end is followed by an empty cell.
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

/** The index after the quote that closes the cell whose opening quote is at `at`; −1 if it is not closed. */
function quotedEnd(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 2)) {
    if (text[end + 1] !== '"') return end + 1;
  }
  return -1;
}
