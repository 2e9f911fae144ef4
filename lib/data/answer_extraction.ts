/**
 * What a written text answers. Two readings of each kind of answer:
 *
 * `reference`: LLM-Adapters' (Hu et al. 2023, commonsense_evaluate.py and evaluate.py), which published tables are made with. It
 * takes the first name or letter that is anywhere, or the last number, and so misreads some texts: "Answer: B" is A, "untrue" is
 * true, "$1/2" is 2.
 *
 * `strict`: what a reader would say is answered, within the first answer of the text: whole words and whole numbers only; those that
 * follow "answer is" or "Answer:" count before others; of different names or letters none is read.
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
    strict: (text) => onlyOf(mentionsIn(text, words, ([word]) => word.toLowerCase())),
    gold: (answer) => names.includes(answer) ? answer : undefined,
    isRight: isSame,
  };
}

/** A capital letter that is a word of its own; "A" before a word in small letters is an article, but before "is". */
const letterWords = /(?<![\p{L}\d'’])(?:A(?!\s(?!is\b)\p{Ll})|[B-E])(?![\p{L}\d'’])/gu;

/** Answers by a letter from A to E (AQuA). */
export const letterAnswers: AnswerReading = {
  reference: (text) => text.match(/[A-E]/)?.[0],
  strict: (text) => onlyOf(mentionsIn(text, letterWords, ([letter]) => letter)),
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
    const { announced, all } = mentionsIn(text, wholeNumbers, valueOf);
    return announced.at(-1) ?? all.at(-1);
  },
  gold: (answer) => /^-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i.test(answer) ? Number(answer) : undefined,
  isRight: (read, gold) => Math.abs(Number(read) - Number(gold)) <= tolerance,
};

function valueOf({ groups }: RegExpExecArray): number | undefined {
  const { sign, top, power = "", bottom = "1" } = groups as Record<string, string | undefined>;
  const amount = (written: string) => Number(written.replaceAll(",", ""));
  const value = (sign ? -1 : 1) * amount(`${top}${power}`) / amount(bottom);
  return Number.isFinite(value) ? value : undefined;
}

function isSame(read: Answer, gold: Answer): boolean {
  return read !== undefined && read === gold;
}

/** What is mentioned in a text. */
interface Mentions<T> {
  /** Right after "answer is" or "answer:". */
  readonly announced: readonly T[];
  readonly all: readonly T[];
}

/** Where models go on with a task of their own. */
const nextSection = /^\s*###\s*(?:Instruction|Input|Response)\b/im;
const announcement = /\banswer(?: is:?|:)[\s("'*$]*(?:option\s+)?$/i;

/** The values of a pattern's matches in the text's first section. */
function mentionsIn<T>(
  text: string,
  pattern: RegExp,
  value: (match: RegExpExecArray) => T | undefined,
): Mentions<T> {
  const own = text.split(nextSection, 1)[0];
  const all = [...own.matchAll(pattern)].flatMap((match) => {
    const found = value(match);
    return found === undefined ? [] : [{ found, isAnnounced: announcement.test(own.slice(0, match.index)) }];
  });
  return {
    announced: all.filter(({ isAnnounced }) => isAnnounced).map(({ found }) => found),
    all: all.map(({ found }) => found),
  };
}

/** The one that is announced, or else mentioned, if there is one only. */
function onlyOf<T>({ announced, all }: Mentions<T>): T | undefined {
  const [first, ...others] = new Set(announced.length > 0 ? announced : all);
  return others.length === 0 ? first : undefined;
}
