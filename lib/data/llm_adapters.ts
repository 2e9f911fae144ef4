/**
 * The eight commonsense data sets of LLM-Adapters (Hu et al. 2023, github.com/AGI-Edgerunners/LLM-Adapters,
 * `dataset/`) as multiple choice. Each file is a JSON list of records. `instruction` holds the question, its
 * options and their names:
 *
 *     Please choose the correct answer to the question: … ¶¶ Answer1: … Answer2: … ¶¶ Answer format: answer1/answer2
 *
 * `answer` is one of the names. BoolQ's names, true and false, are also its options.
 */

import { inHashOrder } from "./split.ts";
import type { Example, Task, TaskFamily } from "./task.ts";

/**
 * A data set. `lead` is the text before the question in its instructions, which is not part of the question.
 */
interface DataSet {
  readonly name: string;
  readonly description: string;
  readonly lead: string;
}

const answerLead = "Please choose the correct answer to the question: ";

const dataSets: readonly DataSet[] = [
  {
    name: "boolq",
    description: "question → true or false",
    lead: "Please answer the following question with true or false, question: ",
  },
  {
    name: "piqa",
    description: "everyday goal → the solution that works",
    lead: "Please choose the correct solution to the question: ",
  },
  { name: "social_i_qa", description: "situation and question → the sensible answer", lead: answerLead },
  {
    name: "hellaswag",
    description: "beginning of a scene → its ending",
    lead: "Please choose the correct ending to complete the given sentence: ",
  },
  {
    name: "winogrande",
    description: "sentence with a blank → what the blank stands for",
    lead: "Please choose the correct answer to fill in the blank to complete the given sentence: ",
  },
  { name: "ARC-Easy", description: "easier science question → answer", lead: answerLead },
  { name: "ARC-Challenge", description: "harder science question → answer", lead: answerLead },
  { name: "openbookqa", description: "elementary science question → answer", lead: answerLead },
];

/**
 * The LLM-Adapters task `name` ("boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy",
 * "ARC-Challenge" or "openbookqa"), read from `folder`, which must contain `<name>/train.json` and
 * `<name>/test.json`. The test file is used as dev. Both are in hash order, so a prefix of either is a random
 * sample.
 *
 * A few ARC questions have 3 or 5 options instead of 4. Since all examples must have the same number of
 * texts, shorter ones repeat their first wrong option. This does not change whether the correct option has
 * the highest score.
 *
 * @throws Error when there is no task `name`. `load` throws an Error that names the file and the record (from
 * 0) of malformed data.
 */
export function llmAdaptersTask(name: string, folder: string): Task {
  const found = dataSets.find((dataSet) => dataSet.name === name);
  if (!found) {
    const names = dataSets.map((dataSet) => dataSet.name).join(", ");
    throw new Error(`LLM-Adapters has no commonsense task "${name}"; it has ${names}`);
  }
  return {
    name,
    description: found.description,
    source: `LLM-Adapters (Hu et al. 2023), ${name}`,
    objective: "choice",
    labels: [],
    metrics: ["accuracy"],
    // The longest for which 32 questions with five options fit the embedded encoder within bindings of 128
    // MiB.
    maxTokens: 96,
    async load() {
      const read = async (side: string) => {
        const path = `${folder}/${name}/${side}.json`;
        return parseChoices(found, await Deno.readFile(path), path, side);
      };
      const [train, dev] = [await read("train"), await read("test")];
      const most = [...train, ...dev].reduce((longest, { texts }) => Math.max(longest, texts.length), 0);
      const [a, b] = [train, dev].map((examples) =>
        inHashOrder(examples, ({ id }) => id).map((example) => padded(example, most))
      );
      return { train: a, dev: b };
    },
  };
}

/** The task family for `registry.ts`. */
export const llmAdapters: TaskFamily = {
  name: "llm-adapters",
  description: "LLM-Adapters' commonsense data sets, from their JSON files",
  tasks: dataSets.map(({ name }) => name),
  task: llmAdaptersTask,
};

function parseChoices(dataSet: DataSet, bytes: Uint8Array, path: string, side: string): Example[] {
  const records = parseJson(bytes, path);
  if (!Array.isArray(records) || records.length === 0) {
    throw new Error(`${path} is not a list of records: download it again`);
  }
  return records.map((record, i) => {
    const where = `${path} record ${i}`;
    const { instruction, answer } = (record ?? {}) as Record<string, unknown>;
    if (typeof instruction !== "string" || typeof answer !== "string") {
      throw new Error(`${where} lacks a text "instruction" or "answer": mend the record`);
    }
    const { question, options } = parseInstruction(dataSet, instruction, where);
    const label = options.findIndex(({ name }) => name === answer);
    if (label < 0) {
      const names = options.map(({ name }) => name).join(", ");
      throw new Error(
        `${where} has answer ${JSON.stringify(answer)}, its options are ${names}: mend the record`,
      );
    }
    return { id: `${side} ${i}`, texts: [question, ...options.map(({ text }) => text)], label };
  });
}

function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const what = `${path} is not JSON in UTF-8: ${(cause as Error).message}`;
    throw new Error(`${what}: download it again`, { cause });
  }
}

interface Option {
  readonly name: string;
  readonly text: string;
}

/** The question and the options of one instruction. */
function parseInstruction({ name: dataSet, lead }: DataSet, instruction: string, where: string) {
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
  return { question: parts[0], options: names.map((name, i): Option => ({ name, text: parts[i + 1] })) };
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

function padded({ id, texts, label }: Example, count: number): Example {
  const wrong = texts[label === 0 ? 2 : 1];
  return { id, texts: [...texts, ...Array<string>(count - texts.length).fill(wrong)], label };
}
