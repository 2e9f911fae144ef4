/** Rows as ids, of which some are learnt. */

/** One row's ids. */
export interface LanguageExample {
  /** File and line. */
  readonly where: string;
  readonly ids: readonly number[];
  /** For each id whether it is learnt, from those before it; the first never is. */
  readonly labelled: readonly boolean[];
  /** How many ids come before the first answer, before they were cut; 0 where the whole row is one. */
  readonly promptLength: number;
}

/** One row's ids before they are cut, with the answers' labelled, and what there is to say of it. */
export interface EncodedRow extends Omit<LanguageExample, "promptLength"> {
  readonly texts: readonly string[];
  readonly isEmptyAnswer: boolean;
  readonly joinDiffers: boolean;
  readonly isLastTurnOnly?: boolean;
}

/** Whether two lists hold the same ids. */
export function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
