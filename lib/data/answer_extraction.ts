/**
 * What a written text answers. Two readings of each kind of answer:
 *
 * `reference`: LLM-Adapters' (Hu et al. 2023, commonsense_evaluate.py and evaluate.py), which published tables are made with. It
 * takes the first name or letter that is anywhere, or the last number, and so misreads some texts: "Answer: B" is A, "untrue" is
 * true, "$1/2" is 2.
 *
 * `strict`: what a reader would say is answered, up to where the text goes on with a task of its own. Whole words and whole numbers
 * only. A name or letter right after "answer is" or "answer:" counts before others, and of different ones none is read. Of numbers,
 * the first of the last sentence from "answer is" or "answer:" on, after its last "="; none if it is joined to another by "and" or
 * "or"; without such a sentence the last of the text.
 *
 * Where Python's `\d` takes every script's digits, `reference` takes 0 to 9.
 */

/** A name or letter, or a number. Undefined where a text answers nothing that can be read. */
export type Answer = string | number | undefined;

/** How answers of a kind are read, and compared. */
export interface AnswerReading {
  /** As LLM-Adapters reads a written text. */
  reference(text: string): Answer;
  /** As a reader would. */
  strict(text: string): Answer;
  /** The right answer as files write it; undefined when that is none of this kind. */
  gold(answer: string): Answer;
  /** Whether what was read is the right answer. */
  isRight(read: Answer, gold: Answer): boolean;
}

/** Answers by one of some names, such as answer1. */
export function namedAnswers(names: readonly string[]): AnswerReading {
  const anywhere = new RegExp(names.join("|"));
  const words = new RegExp(String.raw`(?<![\p{L}\d])(?:${names.join("|")})(?![\p{L}\d])`, "giu");
  return {
    reference: (text) => text.match(anywhere)?.[0],
    strict: (text) => onlyOne(text, words, (word) => word.toLowerCase()),
    gold: (answer) => names.includes(answer) ? answer : undefined,
    isRight: isSame,
  };
}

/** A capital letter that is a word of its own. "A" is an article before a word in small letters, unless that joins or explains. */
const letterWords =
  /(?<![\p{L}\d'’])(?:A(?!\s(?!(?:is|or|and|because|since)\b)\p{Ll})|[B-E])(?![\p{L}\d'’])/gu;

/** Answers by a letter from A to E (AQuA). */
export const letterAnswers: AnswerReading = {
  reference: (text) => text.match(/[A-E]/)?.[0],
  strict: (text) => onlyOne(text, letterWords, (letter) => letter),
  gold: (answer) => /^[A-E]$/.test(answer) ? answer : undefined,
  isRight: isSame,
};

/** Digits with or without separators of thousands, and with or without decimals. */
const digits = String.raw`(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+`;
/** A number that is not the rest of a word or of another number: sign, amount, power of ten, and the amount that it is divided by. */
const wholeNumbers = new RegExp(
  String.raw`(?<sign>(?<![\p{L}\d)\].%])[-−])?[$€£]?(?<![\p{L}\d.])(?<top>${digits})` +
    String.raw`(?<power>e[-+]?\d+(?![\p{L}\d]))?(?:\s?/\s?(?<bottom>${digits}))?`,
  "giu",
);

/** The largest difference from the right number that is still right, in evaluate.py. */
const tolerance = 0.001;

/** Answers by a number. */
export const numberAnswers: AnswerReading = {
  reference(text) {
    const last = [...text.replaceAll(",", "").matchAll(/-?\d+\.?\d*/g)].at(-1);
    return last && Number(last[0]);
  },
  strict(text) {
    const own = firstSection(text);
    const answers = own.split(announcement).slice(1).map((rest) => rest.split(sentenceEnd, 1)[0]);
    const answer = answers.findLast((sentence) => valuesIn(sentence).length > 0);
    if (answer === undefined) return valuesIn(own).at(-1);
    const result = answer.slice(answer.lastIndexOf("=") + 1);
    return joined.test(result) ? undefined : valuesIn(result).at(0);
  },
  gold: (answer) => /^-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i.test(answer) ? Number(answer) : undefined,
  isRight: (read, gold) => Math.abs(Number(read) - Number(gold)) <= tolerance,
};

/** Where a sentence ends; a decimal point is followed by a digit. */
const sentenceEnd = /[.!?](?!\d)|\n/;
/** A number that is one of several. */
const joined = /\b(?:and|or)\s+[-−]?[$€£]?\.?\d/i;

/** The values of a text's whole numbers. */
function valuesIn(text: string): number[] {
  const amount = (written: string) => Number(written.replaceAll(",", ""));
  return [...text.matchAll(wholeNumbers)].flatMap(({ groups }) => {
    const { sign, top, power = "", bottom = "1" } = groups as Record<string, string | undefined>;
    const value = (sign ? -1 : 1) * amount(`${top}${power}`) / amount(bottom);
    return Number.isFinite(value) ? [value] : [];
  });
}

function isSame(read: Answer, gold: Answer): boolean {
  return read !== undefined && read === gold;
}

/** Where models go on with a task of their own. */
const nextSection = /^\s*###\s*(?:Instruction|Input|Response)\b/im;

function firstSection(text: string): string {
  return text.split(nextSection, 1)[0];
}

/** What an answer follows. */
const announcement = /\banswer(?: is:?|:)/i;
/** An announcement with nothing but marks after it. */
const announcedHere = new RegExp(String.raw`${announcement.source}[\s("'*]*(?:option\s+)?$`, "i");

/** What the announced match says, or else the one that is there; none if there are different ones. */
function onlyOne(text: string, pattern: RegExp, said: (match: string) => string): string | undefined {
  const own = firstSection(text);
  const all = [...own.matchAll(pattern)];
  const announced = all.filter(({ index }) => announcedHere.test(own.slice(0, index)));
  const [first, ...others] = new Set((announced.length > 0 ? announced : all).map(([match]) => said(match)));
  return others.length === 0 ? first : undefined;
}
