/**
 * The data sets that LLM-Adapters evaluates on (Hu et al. 2023, `dataset/NAME/test.json`). To add one, add an entry: what it asks,
 * how its answers are read, and how its questions begin if it lists answers.
 */

import { type AnswerReading, letterAnswers, namedAnswers, numberAnswers } from "./answer_extraction.ts";
import {
  bareQuestion,
  type ClozeForm,
  ending,
  filledBlank,
  questionAnswer,
  shortQuestionAnswer,
  yesNo,
} from "./cloze.ts";

/** What all data sets have. */
export interface AnySet {
  /** The name of its folder, and in tables. */
  readonly name: string;
  /** One phrase for tables. */
  readonly description: string;
  /** How an answer is read from a written text. */
  readonly reading: AnswerReading;
}

/** A data set whose questions list their answers. */
export interface ChoiceSet extends AnySet {
  /** By which the kinds are told apart. */
  readonly group: "commonsense";
  /** The text before the question in its instructions. */
  readonly lead: string;
  /** How lm-evaluation-harness asks its questions. */
  readonly cloze: ClozeForm;
}

/** A data set of word problems. */
export interface MathSet extends AnySet {
  /** By which the kinds are told apart. */
  readonly group: "math";
}

/** A data set. */
export type TestSet = ChoiceSet | MathSet;

/** Whether a data set's questions list their answers, without which it can only be scored by what is written. */
export function listsAnswers(set: TestSet): set is ChoiceSet {
  return set.group === "commonsense";
}

const answerLead = "Please choose the correct answer to the question: ";
const fiveAnswers = namedAnswers(["answer1", "answer2", "answer3", "answer4", "answer5"]);

/** The commonsense data sets, in the order of tables. */
export const commonsenseSets: readonly ChoiceSet[] = [
  {
    name: "boolq",
    group: "commonsense",
    description: "question → true or false",
    lead: "Please answer the following question with true or false, question: ",
    reading: namedAnswers(["true", "false"]),
    cloze: yesNo,
  },
  {
    name: "piqa",
    group: "commonsense",
    description: "everyday goal → the solution that works",
    lead: "Please choose the correct solution to the question: ",
    reading: namedAnswers(["solution1", "solution2"]),
    cloze: questionAnswer,
  },
  {
    name: "social_i_qa",
    group: "commonsense",
    description: "situation and question → the sensible answer",
    lead: answerLead,
    reading: fiveAnswers,
    cloze: shortQuestionAnswer,
  },
  {
    name: "hellaswag",
    group: "commonsense",
    description: "beginning of a scene → its ending",
    lead: "Please choose the correct ending to complete the given sentence: ",
    reading: namedAnswers(["ending1", "ending2", "ending3", "ending4"]),
    cloze: ending,
  },
  {
    name: "winogrande",
    group: "commonsense",
    description: "sentence with a blank → what the blank stands for",
    lead: "Please choose the correct answer to fill in the blank to complete the given sentence: ",
    reading: namedAnswers(["option1", "option2"]),
    cloze: filledBlank,
  },
  {
    name: "ARC-Easy",
    group: "commonsense",
    description: "easier science question → answer",
    lead: answerLead,
    reading: fiveAnswers,
    cloze: questionAnswer,
  },
  {
    name: "ARC-Challenge",
    group: "commonsense",
    description: "harder science question → answer",
    lead: answerLead,
    reading: fiveAnswers,
    cloze: questionAnswer,
  },
  {
    name: "openbookqa",
    group: "commonsense",
    description: "elementary science question → answer",
    lead: answerLead,
    reading: fiveAnswers,
    cloze: bareQuestion,
  },
];

/**
 * The math data sets, in the order of tables. LLM-Adapters warns that math_10k has records of MAWPS, whose parts AddSub, MultiArith
 * and SingleEq are; it has mawps' test file for that, which its script does not read: numbers are read there as everywhere.
 */
export const mathSets: readonly MathSet[] = [
  {
    name: "AddSub",
    group: "math",
    description: "word problem of addition or subtraction → number",
    reading: numberAnswers,
  },
  {
    name: "MultiArith",
    group: "math",
    description: "word problem of several steps → number",
    reading: numberAnswers,
  },
  {
    name: "SingleEq",
    group: "math",
    description: "word problem of one equation → number",
    reading: numberAnswers,
  },
  { name: "SVAMP", group: "math", description: "varied word problem → number", reading: numberAnswers },
  { name: "gsm8k", group: "math", description: "grade-school word problem → number", reading: numberAnswers },
  {
    name: "AQuA",
    group: "math",
    description: "algebra problem → letter of the answer",
    reading: letterAnswers,
  },
  {
    name: "mawps",
    group: "math",
    description: "word problem of MAWPS' test part → number",
    reading: numberAnswers,
  },
];

/** All data sets. */
export const testSets: readonly TestSet[] = [...commonsenseSets, ...mathSets];

/** The data set `name`. Throws an Error that lists the names when there is none. */
export function testSetByName(name: string): TestSet {
  const found = testSets.find((own) => own.name === name);
  if (found) return found;
  throw new Error(
    `LLM-Adapters has no data set "${name}"; it has ${testSets.map((own) => own.name).join(", ")}`,
  );
}
