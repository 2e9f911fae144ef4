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
  /** Without the lead. */
  readonly question: string;
  /** In their order, at least two. */
  readonly options: readonly Option[];
  /** Index of the correct option. */
  readonly label: number;
}

/**
 * The question of a record and its options.
 * @throws Error that names the record when its instruction is another data set's or cut, when an option's marker is not there
 * exactly once and in its place, when the question or an option is empty, or when its answer is none of the options.
 */
export function choicesOf({ name: dataSet, lead }: ChoiceFrame, record: InstructionRecord): Choices {
  const { where, instruction } = record;
  const format = /\sAnswer format: (\S+)\s*$/.exec(instruction);
  if (!instruction.startsWith(lead) || !format) {
    throw new Error(
      `${where}: the instruction is not ${dataSet}'s "${lead.trim()} … Answer format: …": ` +
        `give the folder of another data set its own name, or mend the record`,
    );
  }
  const names = format[1].split("/");
  const body = instruction.slice(lead.length, format.index);
  const [question, ...texts] = names[0] === "true" ? [body, ...names] : splitAtMarkers(body, names, where);
  const parts = [question, ...texts].map((text) => text.trim());
  if (parts.length < 3 || parts.includes("")) {
    throw new Error(`${where}: the question or one of its options is empty or missing: mend the record`);
  }
  const answer = needed(where, "answer", record.answer);
  const label = names.indexOf(answer);
  if (label < 0) {
    throw new Error(
      `${where} has answer ${JSON.stringify(answer)}, its options are ${names.join(", ")}: mend the record`,
    );
  }
  return { question: parts[0], options: names.map((name, i) => ({ name, text: parts[i + 1] })), label };
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
