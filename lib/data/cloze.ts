/**
 * Questions as lm-evaluation-harness asks causal models (EleutherAI/lm-evaluation-harness, tasks/*): the likelihood of each option
 * after a context that does not list them. A choice goes on after one space:
 *
 *     acc: the option with the highest Σ log p of its tokens
 *     acc_norm: that with the highest Σ log p / its characters, the space not counted
 *
 * LLM-Adapters' files have their own wording of the questions, and BoolQ's without its passage: numbers are not those of published
 * lm-evaluation-harness tables.
 */

import type { Choices } from "./llm_adapters_choices.ts";

/** An option as a text that goes on after a context. */
export interface Candidate {
  /** Index among the question's options. */
  readonly option: number;
  /** What comes before, without spaces at its end. */
  readonly context: string;
  /** What is scored: the spaces that the context ended with, one more, and the choice. */
  readonly continuation: string;
  /** Characters (code points) of the choice. */
  readonly characters: number;
}

/** How a data set's questions are asked. */
export interface ClozeForm {
  /** The options in the harness' order: of equal scores the first counts. Throws an Error that names a record without this form. */
  candidates(choices: Choices): Candidate[];
  /** What the harness reports of it. */
  readonly metrics: readonly ("acc" | "acc_norm")[];
}

/** "Question: …\nAnswer:" (ARC, PIQA). */
export const questionAnswer: ClozeForm = {
  candidates: ({ question, options }) =>
    options.map(({ text }, option) => candidate(option, `Question: ${question}\nAnswer:`, text)),
  metrics: ["acc", "acc_norm"],
};

/** The bare question (OpenBookQA). */
export const bareQuestion: ClozeForm = {
  candidates: ({ question, options }) => options.map(({ text }, option) => candidate(option, question, text)),
  metrics: ["acc", "acc_norm"],
};

/** "Q: …\nA:" (Social IQa). */
export const shortQuestionAnswer: ClozeForm = {
  candidates: ({ question, options }) =>
    options.map(({ text }, option) => candidate(option, `Q: ${question}\nA:`, text)),
  metrics: ["acc"],
};

/** "Question: …?\nAnswer:", then no or yes (BoolQ, here without its passage). The options are true and false. */
export const yesNo: ClozeForm = {
  candidates({ question, options }) {
    const context = `Question: ${question.replace(/\?$/, "")}?\nAnswer:`;
    return [["no", "false"], ["yes", "true"]].map(([choice, name]) =>
      candidate(options.findIndex((own) => own.name === name), context, choice)
    );
  },
  metrics: ["acc"],
};

/** The beginning of a text, and its ends (HellaSwag), both without WikiHow's marks. */
export const ending: ClozeForm = {
  candidates: ({ question, options }) =>
    options.map(({ text }, option) => candidate(option, withoutMarks(question), withoutMarks(text))),
  metrics: ["acc", "acc_norm"],
};

function withoutMarks(text: string): string {
  return text.trim().replaceAll(" [title]", ". ").replace(/\[.*?\]/g, "").replaceAll("  ", " ");
}

/** The sentence up to its blank, filled with each option; what comes after the blank is scored (WinoGrande). */
export const filledBlank: ClozeForm = {
  candidates({ where, question, options }) {
    const blank = question.indexOf("_");
    const rest = question.slice(blank + 1).trim();
    if (blank < 0 || rest === "") {
      throw new Error(`${where}: the sentence has no blank "_" with text after it: mend the record`);
    }
    return options.map(({ text }, option) => candidate(option, question.slice(0, blank) + text, rest));
  },
  metrics: ["acc"],
};

function candidate(option: number, before: string, choice: string): Candidate {
  const context = before.trimEnd();
  const continuation = `${before.slice(context.length)} ${choice}`;
  return { option, context, continuation, characters: [...choice].length };
}
