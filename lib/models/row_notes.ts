/** What should be known of the rows of text that someone trains on, in words. */

import type { LanguageNotes } from "./language_examples.ts";

/** The notes on a set of rows, a line for each kind. Names of rows are as files have them. */
export function notesText(notes: LanguageNotes, set: string): string[] {
  const some = (rows: readonly string[]) =>
    `${rows.slice(0, 3).join(", ")}${rows.length > 3 ? `, and ${rows.length - 3} more` : ""}`;
  const kinds: [rows: readonly string[], what: string][] = [
    [notes.dropped, "left out, because nothing of them is learnt within the limit of tokens"],
    [notes.cut, "cut within what is learnt: their ends are not learnt"],
    [notes.emptyAnswers, "with an empty answer: only its end is learnt"],
    [notes.spellSpecial, "that spell a special token, which is text there"],
    [notes.lastTurnOnly, "whose last turn alone is learnt, because the template rewrites earlier ones"],
    [notes.lost.map(({ where }) => where), "with characters that the tokenizer has nothing for"],
  ];
  return kinds.flatMap(([rows, what]) =>
    rows.length === 0 ? [] : [`${set}: ${rows.length} rows ${what} (${some(rows)})`]
  );
}
