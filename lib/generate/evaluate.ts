/**
 * Evaluates a model that writes on LLM-Adapters' data sets, in three ways that are three metrics each of its own:
 *
 * `generation`: the answer is written after the protocol's prompt, and read by the reference's rules (`accuracy`) and by stricter
 * ones (`strict accuracy`).
 *
 * `likelihood`: of "the correct answer is X", the likeliest X of those that the question lists, after the same prompt
 * (`likelihood accuracy`). A prompt is read once and nothing is written.
 *
 * `cloze`: the likeliest option after lm-evaluation-harness' context, which does not list them (`acc`, `acc_norm`).
 */

import type { Answer } from "../data/answer_extraction.ts";
import type { Candidate } from "../data/cloze.ts";
import { choicesOf, listedAnswers } from "../data/llm_adapters_choices.ts";
import { goldOf } from "../data/llm_adapters_language.ts";
import { answerPart, promptOf, type PromptVariant, responseMarker } from "../data/llm_adapters_prompts.ts";
import type { InstructionRecord } from "../data/llm_adapters_records.ts";
import { type ChoiceSet, listsAnswers, type TestSet } from "../data/llm_adapters_sets.ts";
import type { Scoring } from "../data/task.ts";
import { show } from "../show.ts";
import { checkFinite } from "./token_logits.ts";
import type { Writer } from "./writer.ts";

/** What is reported. Shares of records, from 0 to 1. */
export type EvaluationMetric =
  | "accuracy"
  | "strict accuracy"
  | "likelihood accuracy"
  | "acc"
  | "acc_norm";

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** How it is evaluated. */
  readonly scoring: Scoring;
  /** How it is asked; `cloze` has its own questions. */
  readonly prompts: PromptVariant;
  /** Records at a time, from 1. */
  readonly batchSize: number;
  /** Texts that are followed for each record, 1 for greedy; by default the prompts' own. */
  readonly beams?: number;
  /** The most new tokens; by default the prompts' own. */
  readonly newTokens?: number;
  /** Ends the evaluation when it is aborted: the reason is thrown. */
  readonly signal?: AbortSignal;
  /** Called after each batch, with numbers of prompts: a record has one, or as many as it has contexts (WinoGrande's cloze). */
  readonly onBatch?: (progress: { readonly done: number; readonly all: number }) => void;
}

/** What writes: a `Writer`. */
export type Answering = Pick<
  Writer,
  "idsOf" | "continuationIds" | "maxTokens" | "write" | "search" | "scoreEach"
>;

/** What a model makes of one record. */
export interface ItemPrediction {
  /** File and record. */
  readonly where: string;
  /** The right answer. */
  readonly gold: Answer;
  /** What was written, in `generation`. */
  readonly text?: string;
  /** By metric, what was read or chosen: a number, a letter or a name. */
  readonly read: Readonly<Partial<Record<EvaluationMetric, Answer>>>;
  /** By metric, whether it is right. */
  readonly right: Readonly<Partial<Record<EvaluationMetric, boolean>>>;
}

/** What a model makes of a data set. */
export interface Evaluation {
  /** In the order of the records. */
  readonly items: readonly ItemPrediction[];
  /** The share of records that are right, by metric. */
  readonly scores: Readonly<Partial<Record<EvaluationMetric, number>>>;
}

/**
 * Evaluates on records of `set`, in batches of records that are alike in length; what a record gets does not depend on its batch but
 * for rounding.
 * @throws Error when an option is not allowed, there are no records, `set` lists no answers and they are asked for; and, before
 * anything is written, an Error that names a record that is malformed or too long for the model.
 */
export async function evaluate(
  writer: Answering,
  set: TestSet,
  records: readonly InstructionRecord[],
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { batchSize } = options;
  if (!(Number.isSafeInteger(batchSize) && batchSize >= 1)) {
    throw new Error(`batchSize is ${batchSize}: use a whole number from 1`);
  }
  if (records.length === 0) throw new Error(`there are no records of ${set.name}`);
  const items = await predictionsOf(writer, set, records, options);
  const metrics = Object.keys(items[0].right) as EvaluationMetric[];
  const share = (metric: EvaluationMetric) =>
    items.filter(({ right }) => right[metric]).length / items.length;
  return { items, scores: Object.fromEntries(metrics.map((metric) => [metric, share(metric)])) };
}

function predictionsOf(
  writer: Answering,
  set: TestSet,
  records: readonly InstructionRecord[],
  options: EvaluateOptions,
): Promise<ItemPrediction[]> {
  const { scoring } = options;
  if (scoring === "generation") return writtenAnswers(writer, set, records, options);
  if (scoring !== "likelihood" && scoring !== "cloze") {
    throw new Error(`scoring is ${show(scoring)}: use "generation", "likelihood" or "cloze"`);
  }
  if (!listsAnswers(set)) throw new Error(`${set.name} lists no answers: evaluate it by generation`);
  if (scoring === "likelihood") return likeliestAnswers(writer, set, records, options);
  return likeliestOptions(writer, set, records, options);
}

async function writtenAnswers(
  writer: Answering,
  set: TestSet,
  records: readonly InstructionRecord[],
  options: EvaluateOptions,
): Promise<ItemPrediction[]> {
  const { prompts, signal } = options;
  const { beams = prompts.beams, newTokens = prompts.newTokens[set.group] } = options;
  const golds = records.map((record) => goldOf(set, record));
  const asked = records.map((record) => {
    const ids = writer.idsOf(promptOf(prompts.evaluation, record));
    return { where: record.where, ids, tokens: ids.length + newTokens };
  });
  // What comes after it is not read.
  const stop = prompts.reads === "first" ? [responseMarker] : [];
  const texts = await inBatches(writer, asked, options, async (batch) => {
    const ids = batch.map((own) => own.ids);
    const settings = { maxTokens: newTokens, signal };
    if (beams === 1) return (await writer.write(ids, { ...settings, stop })).map(({ text }) => text);
    return (await writer.search(ids, { ...settings, beams })).map(([best]) => best.text);
  });
  return texts.map((text, i) => {
    const answer = answerPart(prompts, text);
    const [loose, strict] = [set.reading.reference(answer), set.reading.strict(answer)];
    return {
      where: records[i].where,
      gold: golds[i],
      text,
      read: { "accuracy": loose, "strict accuracy": strict },
      right: {
        "accuracy": set.reading.isRight(loose, golds[i]),
        "strict accuracy": set.reading.isRight(strict, golds[i]),
      },
    };
  });
}

async function likeliestAnswers(
  writer: Answering,
  set: ChoiceSet,
  records: readonly InstructionRecord[],
  options: EvaluateOptions,
): Promise<ItemPrediction[]> {
  const { prompts: { evaluation } } = options;
  const listed = records.map((record) => listedAnswers(set, record));
  const asked = records.map((record, i) => {
    const ends = listed[i].names.map((name) => writer.continuationIds(`the correct answer is ${name}`));
    // What all answers begin with is as likely for each: it is read with the prompt.
    const shared = sharedLength(ends);
    const ids = [...writer.idsOf(promptOf(evaluation, record)), ...ends[0].slice(0, shared)];
    return question(record.where, ids, ends.map((own) => own.slice(shared)));
  });
  const scores = await scoresOf(writer, asked, options);
  return scores.map((own, i) => {
    const { names, label } = listed[i];
    const chosen = highest(own);
    return {
      where: records[i].where,
      gold: names[label],
      read: { "likelihood accuracy": names[chosen] },
      right: { "likelihood accuracy": chosen === label },
    };
  });
}

/** How many ids all of these begin with, at least one of each left over. */
function sharedLength(ends: readonly (readonly number[])[]): number {
  const most = Math.min(...ends.map(({ length }) => length)) - 1;
  let shared = 0;
  while (shared < most && ends.every((own) => own[shared] === ends[0][shared])) shared++;
  return shared;
}

async function likeliestOptions(
  writer: Answering,
  set: ChoiceSet,
  records: readonly InstructionRecord[],
  options: EvaluateOptions,
): Promise<ItemPrediction[]> {
  const all = records.map((record) => choicesOf(set, record));
  const candidates = all.map((choices) => set.cloze.candidates(choices));
  const asked = candidates.flatMap((own, i) =>
    byContext(own).map(({ context, ends }) => {
      const ids = writer.idsOf(context);
      // As the harness has it, a token that spans the place where they meet counts as the context's.
      const of = (end: string) => writer.idsOf(context + end).slice(ids.length);
      return question(records[i].where, ids, ends.map(of));
    })
  );
  const scores = (await scoresOf(writer, asked, options)).flat().values();
  return all.map(({ where, options, label }, i) => {
    const sums = candidates[i].map(() => scores.next().value!);
    const chosen = {
      acc: highest(sums),
      acc_norm: highest(sums.map((sum, j) => sum / candidates[i][j].characters)),
    };
    const optionOf = (metric: "acc" | "acc_norm") => candidates[i][chosen[metric]].option;
    const of = <T>(value: (option: number) => T) =>
      Object.fromEntries(set.cloze.metrics.map((metric) => [metric, value(optionOf(metric))]));
    return {
      where,
      gold: options[label].name,
      read: of((option) => options[option].name),
      right: of((option) => option === label),
    };
  });
}

/** Candidates in their order, those after the same context together. */
function byContext(
  candidates: readonly Candidate[],
): { readonly context: string; readonly ends: string[] }[] {
  const found: { context: string; ends: string[] }[] = [];
  for (const { context, continuation } of candidates) {
    if (found.at(-1)?.context !== context) found.push({ context, ends: [] });
    found.at(-1)!.ends.push(continuation);
  }
  return found;
}

/** The index of the highest score; of equal ones the first. */
function highest(scores: readonly number[]): number {
  return scores.indexOf(Math.max(...scores));
}

/** Ids to go on from. */
interface Asked {
  /** File and record. */
  readonly where: string;
  readonly ids: readonly number[];
  /** With all that may come after them. */
  readonly tokens: number;
}

interface Question extends Asked {
  readonly ends: readonly (readonly number[])[];
}

function question(where: string, ids: readonly number[], ends: readonly (readonly number[])[]): Question {
  return { where, ids, ends, tokens: ids.length + Math.max(...ends.map(({ length }) => length)) };
}

/** Σ log p of each question's ends. */
async function scoresOf(
  writer: Answering,
  asked: readonly Question[],
  options: EvaluateOptions,
): Promise<number[][]> {
  const scores = await inBatches(
    writer,
    asked,
    options,
    (batch) => writer.scoreEach(batch.map(({ ids }) => ids), batch.map(({ ends }) => ends)),
  );
  scores.forEach((own, i) => checkFinite(own, `${asked[i].where}: its scores`));
  return scores;
}

/** What `use` makes of each, in batches of similar lengths. Throws an Error first that names one that is too long. */
async function inBatches<T extends Asked, R>(
  writer: Answering,
  asked: readonly T[],
  { batchSize, signal, onBatch }: EvaluateOptions,
  use: (batch: readonly T[]) => Promise<R[]>,
): Promise<R[]> {
  const long = asked.find(({ tokens }) => tokens > writer.maxTokens);
  if (long) {
    throw new Error(
      `${long.where} and its answer may have ${long.tokens} tokens, and the model reads ${writer.maxTokens} in all: leave it out`,
    );
  }
  const order = asked.map((_, i) => i).toSorted((a, b) => asked[a].tokens - asked[b].tokens);
  const results = new Array<R>(asked.length);
  const size = Math.min(batchSize, order.length);
  for (let done = 0; done < order.length; done += size) {
    signal?.throwIfAborted();
    const indices = order.slice(done, done + size);
    // A batch that is not full repeats its last: another number of texts would have other programs, and room of its own.
    const found = await use(Array.from({ length: size }, (_, j) => asked[indices[j] ?? indices.at(-1)!]));
    indices.forEach((i, j) => results[i] = found[j]);
    onBatch?.({ done: done + indices.length, all: asked.length });
  }
  return results;
}
