/** What is used here of csv-parse. Its own declarations bring Node's types, which change the web's for whoever imports `mod.ts`. */

export interface ParseOptions {
  readonly skip_empty_lines: boolean;
  /** Called with each record; what it returns takes the record's place, and null drops it. */
  readonly on_record: (cells: string[], context: { readonly lines: number }) => null;
}

/** Throws an Error that names the line for a record that breaks RFC 4180, or is not as long as the first. */
export function parse(text: string, options: ParseOptions): unknown;
