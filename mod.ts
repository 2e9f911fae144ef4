/**
 * Parameter-efficient fine-tuning of encoders and decoders on WebGPU: BoRA and the methods that it is compared with.
 *
 * Load a model (`loadEncoder`, `loadDecoder`, `loadUseLite`), attach a method to it (`attach`), train it (`fineTune`, or step by
 * step with `Trainer`), save the adapter (`saveAdapter`) or the merged model (`saveMerged`), and predict (`AdaptedModel`) or write
 * (`Writer`). Builders of graphs, of models and methods, and of data sets find more in `lib/front/graph.ts`, `lib/front/models.ts` and `lib/front/data.ts`.
 *
 * ```ts
 * import { attach, bora, fineTune, loadUseLite, openGpu, taskByName } from "./mod.ts";
 * ```
 *
 * @module
 */

export {
  type AdapterSummary,
  type Gpu,
  type MemoryReport,
  NoAdapterError,
  openGpu,
  type OpenGpuOptions,
} from "./lib/gpu/device.ts";
export type { AutotuneOptions } from "./lib/gpu/autotuner.ts";

export type { Decoder, Model } from "./lib/models/model.ts";
export { loadEncoder } from "./lib/models/load_encoder.ts";
export { type DecoderOptions, loadDecoder } from "./lib/models/load_decoder.ts";
export { loadModel } from "./lib/models/load_model.ts";
export { loadUseLite } from "./lib/models/use_lite.ts";
export { packModel } from "./lib/models/packing.ts";
export type { HubOptions } from "./lib/models/hub.ts";
export type { PackageOptions } from "./lib/npm_files.ts";
export { FilesInMemory } from "./lib/files_in_memory.ts";

export { type Adapter, attach, type AttachOptions } from "./lib/adapters/attach.ts";
export { methodByName, methods } from "./lib/adapters/registry.ts";
export { full, headOnly } from "./lib/adapters/base_only.ts";
export { bora, type BoraOptions, boraWithoutExp, boraWithoutNorm } from "./lib/adapters/bora.ts";
export { boraBanded } from "./lib/adapters/bora_banded.ts";
export { boraDense } from "./lib/adapters/bora_dense.ts";
export { dora, type DoraOptions } from "./lib/adapters/dora.ts";
export { doraBora } from "./lib/adapters/dora_bora.ts";
export { graLora } from "./lib/adapters/gralora.ts";
export { hira, type HiraOptions } from "./lib/adapters/hira.ts";
export { hydraLora, type HydraLoraOptions } from "./lib/adapters/hydralora.ts";
export { krona, type KronaOptions } from "./lib/adapters/krona.ts";
export { lora, rsLora } from "./lib/adapters/lora.ts";
export { melora } from "./lib/adapters/melora.ts";
export { moeLora, type MoeLoraOptions } from "./lib/adapters/moelora.ts";
export { randLora } from "./lib/adapters/randlora.ts";
export { reLora, type ReLoraOptions } from "./lib/adapters/relora.ts";
export { vera, type VeraOptions } from "./lib/adapters/vera.ts";

export type { Example, Split, Task } from "./lib/data/task.ts";
export type { LanguageRow } from "./lib/data/language_rows.ts";
export { taskByName } from "./lib/data/registry.ts";
export { loadOwnTask, type OwnTaskOptions } from "./lib/data/own_task.ts";
export { type LanguageTaskOptions, loadLanguageTask } from "./lib/data/language_task.ts";
export { glueTask } from "./lib/data/glue.ts";
export { llmAdaptersTask } from "./lib/data/llm_adapters.ts";

export {
  encodeExamples,
  type EpochScores,
  fineTune,
  type FineTuned,
  type FineTuneOptions,
  type Progress,
} from "./lib/train/fine_tune.ts";
export type { Predictions, Scores } from "./lib/train/evaluate.ts";
export type { Checkpointing } from "./lib/train/cell_checkpoint.ts";
export type { LanguageNotes } from "./lib/models/language_examples.ts";
export type { Notes } from "./lib/train/checkpoint.ts";
export type { WarmUp } from "./lib/train/schedule.ts";
export type { Encoded, Objective } from "./lib/objectives/objective.ts";
export { objectiveOf } from "./lib/objectives/registry.ts";
export { Trainer, type TrainerOptions, type TrainOptions } from "./lib/train/trainer.ts";
export { type AdamWOptions, DivergedError, type StepRecord } from "./lib/train/adamw.ts";

export type { Labels } from "./lib/adapters/labels.ts";
export {
  adapterFiles,
  loadAdapter,
  saveAdapter,
  type SavedAdapter,
  type SaveOptions,
} from "./lib/adapters/peft.ts";
export type { CardNotes } from "./lib/adapters/card/adapter_card.ts";
export type { CardEpoch, CardOptions, CardTraining } from "./lib/adapters/card/training.ts";
export { type LoraErrors, type LoraExport, toLora, type ToLoraOptions } from "./lib/train/to_lora.ts";
export {
  exportAdapter,
  type Exported,
  type ExportFormat,
  type ExportOptions,
} from "./lib/train/export_folder.ts";
export { saveMerged } from "./lib/train/merge_folder.ts";
export { type MergeGgufOptions, saveMergedGguf } from "./lib/train/merge_gguf.ts";
export type { GgufType } from "./lib/train/merged_gguf_file.ts";
export { AdaptedModel } from "./lib/train/adapted_model.ts";
export {
  type WriteOptions,
  Writer,
  type WriterOptions,
  type Written,
  type WrittenBeam,
} from "./lib/generate/writer.ts";
export type { Prompt } from "./lib/generate/prompts.ts";
export type { ChatMessage } from "./lib/models/chat_inputs.ts";
export { instructionPrompt } from "./lib/models/instruction_prompt.ts";
export type { CacheStorage } from "./lib/generate/reading.ts";
export type { SamplingOptions } from "./lib/generate/sampling.ts";
export type { BeamOptions } from "./lib/generate/beams.ts";
