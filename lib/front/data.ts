/**
 * For builders of data sets: the interface of a task, the ones there are, how examples are split, and how predictions are scored and
 * handed in.
 *
 * ```ts
 * import { evaluateMetrics, splitByKeys, type Task, tasks } from "@bora/webgpu/data";
 * ```
 *
 * @module
 */

export type { Example, MetricName, Scoring, Split, Task, TaskFamily, Tests } from "../data/task.ts";
export { families, taskByName, taskFrom, tasks } from "../data/registry.ts";
export {
  type CompletionRow,
  type InstructionRow,
  type LanguageRow,
  type Message,
  type MessagesRow,
  readLanguageRows,
  type TextRow,
} from "../data/language_rows.ts";
export { loadOwnTask, type OwnTaskOptions } from "../data/own_task.ts";
export { type GlueTask, glueTask, type GlueTestSet } from "../data/glue.ts";
export { glueSubmission, saveGlueSubmission } from "../data/glue_submission.ts";
export { llmAdaptersTask } from "../data/llm_adapters.ts";
export { type LlmAdaptersTestedOptions, llmAdaptersTestedTask } from "../data/llm_adapters_tested.ts";
export {
  type LlmAdaptersLanguageOptions,
  llmAdaptersLanguageTask,
  readTestRecords,
  type TrainingSetName,
  trainingSetNames,
} from "../data/llm_adapters_language.ts";
export {
  type PromptLayout,
  promptOf,
  type PromptVariant,
  promptVariants,
} from "../data/llm_adapters_prompts.ts";
export type { InstructionRecord } from "../data/llm_adapters_records.ts";
export {
  type AnySet,
  type ChoiceSet,
  type MathSet,
  type TestSet,
  testSets,
} from "../data/llm_adapters_sets.ts";
export type { Choices, Option } from "../data/llm_adapters_choices.ts";
export {
  type Answer,
  type AnswerReading,
  letterAnswers,
  namedAnswers,
  numberAnswers,
} from "../data/answer_extraction.ts";
export type { Candidate, ClozeForm } from "../data/cloze.ts";
export {
  type Answering,
  evaluate,
  type EvaluateOptions,
  type Evaluation,
  type EvaluationMetric,
  type ItemPrediction,
} from "../generate/evaluate.ts";
export { hashOf, inHashOrder, isDevKey, type Keyed, splitByKeys } from "../data/split.ts";
export { type PartOfSpeech, readSynsets, type Relation, type Synset } from "../data/wordnet.ts";
export { evaluateMetrics } from "../train/metrics.ts";
export { majorityBaseline } from "../train/fine_tune.ts";
export type { PackageOptions } from "../npm_files.ts";
