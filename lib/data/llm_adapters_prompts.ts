/**
 * How LLM-Adapters asks causal models, byte for byte, and how those who took its protocol over do. The words are Stanford Alpaca's;
 * the white space is what was left in the sources' string literals, and differs between training and evaluation.
 */

import type { LanguageRow } from "./language_rows.ts";
import type { InstructionRecord } from "./llm_adapters_records.ts";
import type { TestSet } from "./llm_adapters_sets.ts";

/** The white space of a prompt: numbers of spaces. */
export interface PromptLayout {
  /** After "…completes the request." where there is no input. */
  readonly endAlone: number;
  /** The same where there is one; undefined where the source has no prompt with an input. */
  readonly endWithInput?: number;
  /** Before each heading, the first line under it, and the answer. */
  readonly indent: number;
  /** On the lines between sections. The one before "### Instruction:" is empty. */
  readonly between: number;
}

/** One way of asking. */
export interface PromptVariant {
  /** Name in settings and tables. */
  readonly name: string;
  /** Where it was read. */
  readonly source: string;
  /** Before the outputs that are learnt. */
  readonly training: PromptLayout;
  /** Before what is written. */
  readonly evaluation: PromptLayout;
  /** Whether prompts are learnt too. */
  readonly loss: "completion" | "all";
  /** Whether training encodes prompt and output as one text, so that tokens may span the place where they meet. */
  readonly encodes: "together" | "apart";
  /** Which part of a written text is read: up to the first "### Response:" in it, or after the last. */
  readonly reads: "first" | "last";
  /** Texts that are followed at a time: 1 is greedy. */
  readonly beams: number;
  /** The most new tokens. */
  readonly newTokens: Readonly<Record<TestSet["group"], number>>;
}

const evaluated: PromptLayout = { endAlone: 1, endWithInput: 0, indent: 16, between: 0 };

/** LLM-Adapters' own: finetune.py, commonsense_evaluate.py and evaluate.py. */
export const llmAdaptersPrompts: PromptVariant = {
  name: "llm-adapters",
  source: "AGI-Edgerunners/LLM-Adapters (Hu et al. 2023)",
  training: { endAlone: 2, endWithInput: 1, indent: 16, between: 16 },
  evaluation: evaluated,
  loss: "all",
  encodes: "together",
  reads: "first",
  beams: 4,
  newTokens: { commonsense: 32, math: 256 },
};

/** The variants by name. To add one, add a record. */
export const promptVariants: readonly PromptVariant[] = [
  llmAdaptersPrompts,
  {
    ...llmAdaptersPrompts,
    name: "dora",
    source: "NVlabs/DoRA, commonsense_reasoning (Liu et al. 2024)",
    reads: "last",
  },
  {
    name: "hira",
    // It trains without marks of beginning and end; here rows have them as everywhere.
    source: "hqsiswiliam/hira (Huang et al. 2025)",
    training: { endAlone: 2, indent: 0, between: 0 },
    evaluation: { endAlone: 2, indent: 0, between: 0 },
    loss: "completion",
    encodes: "apart",
    reads: "last",
    beams: 4,
    newTokens: { commonsense: 16, math: 200 },
  },
  {
    ...llmAdaptersPrompts,
    name: "toplora",
    source: "Leopold1423/toplora-neurips25 (by BoRA's authors)",
    evaluation: { endAlone: 1, indent: 12, between: 0 },
    loss: "completion",
    reads: "last",
    beams: 1,
    newTokens: { commonsense: 256, math: 256 },
  },
];

/** The variant `name`. Throws an Error that lists the names when there is none. */
export function promptVariantByName(name: string): PromptVariant {
  const found = promptVariants.find((own) => own.name === name);
  if (found) return found;
  throw new Error(`no prompts "${name}"; have ${promptVariants.map((own) => own.name).join(", ")}`);
}

/** The text before the answer. Throws an Error that names a record with an input where the layout has no prompt for one. */
export function promptOf(
  layout: PromptLayout,
  { where, instruction, input }: Pick<InstructionRecord, "where" | "instruction" | "input">,
): string {
  const { endAlone, endWithInput, indent, between } = layout;
  const spaces = (count: number) => " ".repeat(count);
  const section = (name: string, text: string) => `${spaces(indent)}### ${name}:\n${spaces(indent)}${text}`;
  const gap = `\n${spaces(between)}\n`;
  const request = "Write a response that appropriately completes the request.";
  const answer = section("Response", "");
  if (input === undefined) {
    const task = `Below is an instruction that describes a task. ${request}${spaces(endAlone)}`;
    return `${task}\n\n${section("Instruction", instruction)}${gap}${answer}`;
  }
  if (endWithInput === undefined) {
    throw new Error(
      `${where} has an input, and these prompts have no place for one: take others, such as llm-adapters`,
    );
  }
  const context = `, paired with an input that provides further context. ${request}${spaces(endWithInput)}`;
  return `Below is an instruction that describes a task${context}\n\n` +
    `${section("Instruction", instruction)}${gap}${section("Input", input)}${gap}${answer}`;
}

/** A record as a row to train on. Throws as `promptOf` does, and when the record has no output. */
export function trainingRow({ training, encodes }: PromptVariant, record: InstructionRecord): LanguageRow {
  const { where, output } = record;
  if (output === undefined) throw new Error(`${where} lacks a text "output": mend the record`);
  const row = { kind: "completion", where, prompt: promptOf(training, record), completion: output } as const;
  return encodes === "together" ? { ...row, encodes } : row;
}

/** What begins an answer. */
export const responseMarker = "### Response:";

/** The part of what was written after a prompt that is read as its answer. */
export function answerPart({ reads }: PromptVariant, written: string): string {
  const parts = written.split(responseMarker);
  return (reads === "first" ? parts[0] : parts.at(-1)!).trim();
}
