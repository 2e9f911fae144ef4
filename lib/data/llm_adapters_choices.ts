/**
 * Questions with listed answers in LLM-Adapters' commonsense files. `instruction` holds the question, its options and their names:
 *
 *     Please choose the correct answer to the question: … ¶¶ Answer1: … Answer2: … ¶¶ Answer format: answer1/answer2
 *
 * `answer` is one of the names. BoolQ's names, true and false, are also its options.
 */

import { type InstructionRecord, needed } from "./llm_adapters_records.ts";

/** What a data set's instructions look like. */
export interface ChoiceFrame {
  /** The data set's name, for error messages. */
  readonly name: string;
  /** The text before the question in its instructions, which is not part of the question. */
  readonly lead: string;
}

/** An answer that an instruction lists. */
export interface Option {
  /** How it is answered, such as `answer1`. */
  readonly name: string;
  /** What it says. */
  readonly text: string;
}

/** A question with its options. */
export interface Choices {
  /** File and record, for error messages. */
  readonly where: string;
  /** Without the lead. */
  readonly question: string;
  /** In their order, at least two. */
  readonly options: readonly Option[];
  /** Index of the correct option. */
  readonly label: number;
}

/** The names of the answers that a question lists. */
export interface ListedAnswers {
  /** In their order, at least two. */
  readonly names: readonly string[];
  /** Index of the correct one. */
  readonly label: number;
}

/**
 * The names of a question's answers.
 * @throws Error that names the record when its instruction is another data set's or cut, or when its answer is none of the names.
 */
export function listedAnswers(frame: ChoiceFrame, record: InstructionRecord): ListedAnswers {
  const { names, label } = framed(frame, record);
  return { names, label };
}

/**
 * The question of a record and its options.
 * @throws Error as `listedAnswers` does, when an option's marker is not there exactly once and in its place, and when the question
 * or an option is empty.
 */
export function choicesOf(frame: ChoiceFrame, record: InstructionRecord): Choices {
  const { where } = record;
  const { names, label, body } = framed(frame, record);
  const [question, ...texts] = names[0] === "true" ? [body, ...names] : splitAtMarkers(body, names, where);
  const parts = [question, ...texts].map((text) => text.trim());
  if (parts.includes("")) {
    throw new Error(`${where}: the question or one of its options is empty or missing: mend the record`);
  }
  return {
    where,
    question: parts[0],
    options: names.map((name, i) => ({ name, text: parts[i + 1] })),
    label,
  };
}

/** The listed answers, and what is between the lead and their names. */
function framed(
  { name: dataSet, lead }: ChoiceFrame,
  { where, instruction, answer: right }: InstructionRecord,
) {
  const format = /\sAnswer format: (\S+)\s*$/.exec(instruction);
  const names = format?.[1].split("/") ?? [];
  if (!instruction.startsWith(lead) || !format || names.length < 2) {
    throw new Error(
      `${where}: the instruction is not ${dataSet}'s "${lead.trim()} … Answer format: …": ` +
        `give the folder of another data set its own name, or mend the record`,
    );
  }
  const answer = needed(where, "answer", right);
  const label = names.indexOf(answer);
  if (label < 0) {
    throw new Error(
      `${where} has answer ${JSON.stringify(answer)}, its options are ${names.join(", ")}: mend the record`,
    );
  }
  return { names, label, body: instruction.slice(lead.length, format.index) };
}

/**
 * The parts of the text before, between and after the markers "Answer1:", "Answer2:", …, each of which must
 * occur once, in order.
 */
function splitAtMarkers(body: string, names: readonly string[], where: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (const name of names) {
    const marker = `${name[0].toUpperCase()}${name.slice(1)}:`;
    const at = body.indexOf(marker, start);
    if (at < 0 || body.indexOf(marker) !== at || body.lastIndexOf(marker) !== at) {
      throw new Error(`${where}: "${marker}" is not there once, in its place: mend the record`);
    }
    parts.push(body.slice(start, at));
    start = at + marker.length;
  }
  return [...parts, body.slice(start)];
}
