/**
 * The records of LLM-Adapters' JSON files (Hu et al. 2023, github.com/AGI-Edgerunners/LLM-Adapters, `dataset/` and
 * `ft-training_set/`): a list of {instruction, input, output, answer}.
 */

import { readBytes } from "../files.ts";

/** A record. */
export interface InstructionRecord {
  /** File and record, from 0, for error messages. */
  readonly where: string;
  /** Its place in the file, from 0. */
  readonly index: number;
  /** What is asked. */
  readonly instruction: string;
  /** Undefined where the file has "", null or no such field. */
  readonly input?: string;
  /** What is learnt in training files. Those of tests have another model's rationale here, or nothing. */
  readonly output?: string;
  /** What is right: a text as the file writes it, a number as JavaScript does (576.0 is "576"). Undefined where answers are not asked for. */
  readonly answer?: string;
}

/**
 * Reads a file of records. Without `answers` these are not read: in training files that are learnt by their outputs, some are lists.
 * @throws Error that names the file, and the record if there is one, when it is not there, no JSON in UTF-8, no list, empty, or has a
 * record without a text as instruction, or with something else than a text as input or output, or than a text or a number as answer.
 */
export async function readInstructionRecords(
  path: string,
  { answers = true }: { readonly answers?: boolean } = {},
): Promise<InstructionRecord[]> {
  const records = parseJson(await readBytes(path), path);
  if (!Array.isArray(records) || records.length === 0) {
    throw new Error(`${path} is not a list of records: download it again`);
  }
  return records.map((record: unknown, i) => recordOf(record, i, `${path} record ${i}`, answers));
}

function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const what = `${path} is not JSON in UTF-8: ${(cause as Error).message}`;
    throw new Error(`${what}: download it again`, { cause });
  }
}

function recordOf(record: unknown, index: number, where: string, answers: boolean): InstructionRecord {
  const fields = (record ?? {}) as Record<string, unknown>;
  const text = (name: string) => {
    const value = fields[name] ?? undefined;
    if (value === undefined || (typeof value === "string" && value.isWellFormed())) return value;
    throw new Error(`${where}: "${name}" is ${JSON.stringify(value)}, which is no text: mend the record`);
  };
  const answer = () => typeof fields.answer === "number" ? `${fields.answer}` : text("answer");
  return {
    where,
    index,
    instruction: needed(where, "instruction", text("instruction")),
    input: text("input") || undefined,
    output: text("output"),
    answer: answers ? answer() : undefined,
  };
}

/** A field of a record that cannot be missing. Throws an Error that names the record when it is. */
export function needed(where: string, name: "instruction" | "output" | "answer", text?: string): string {
  if (text !== undefined) return text;
  throw new Error(`${where} lacks a text "${name}": mend the record`);
}
