/**
 * Parameter-efficient fine-tuning of text encoders on WebGPU: BoRA and the methods that it is compared with,
 * the graph compiler that they run on, a trainer, and an embedded suite of tasks.
 *
 * Load a model (`loadEncoder`, `loadUseLite`), attach a method to it (`attach`), train it (`Trainer`,
 * `fineTune`), and save the adapter (`saveAdapter`) or the merged model (`writeMergedModel`).
 *
 * ```ts
 * import { attach, bora, loadUseLite, openGpu, Trainer } from "./mod.ts";
 * ```
 *
 * @module
 */

export {
  type AdapterSummary,
  Gpu,
  type MemoryReport,
  NoAdapterError,
  openGpu,
  type OpenGpuOptions,
} from "./lib/gpu/device.ts";
export type { AutotuneOptions } from "./lib/gpu/autotuner.ts";
export { Profile, type Timing } from "./lib/gpu/profiler.ts";
export type { BufferView, Copy, Program } from "./lib/gpu/program.ts";
export {
  type DType,
  Graph,
  type Node,
  type Op,
  type Source,
  type Spec,
  type Tensor,
} from "./lib/graph/graph.ts";
export { grad, type GradOptions } from "./lib/graph/grad.ts";
export { interpret, type SourceValues } from "./lib/graph/interpret.ts";
export { activate, type Activation } from "./lib/graph/ops/activation.ts";
export { add, multiply } from "./lib/graph/ops/binary.ts";
export { boraMix, boraSigma, type SigmaMap } from "./lib/graph/ops/bora.ts";
export { columnSum } from "./lib/graph/ops/column_sum.ts";
export { crossEntropy, meanSquaredError } from "./lib/graph/ops/losses.ts";
export { linear, matmul, type MatmulOptions, type StoredTensor } from "./lib/graph/ops/product/product.ts";
export type { FusedActivation } from "./lib/graph/ops/product/epilogue.ts";
export type { Blocks as ProductBlocks, Split as ProductSplit } from "./lib/graph/ops/product/blocks.ts";
export { scaleColumns, type ScaleOptions } from "./lib/graph/ops/scale_columns.ts";
export { softmaxRows } from "./lib/graph/ops/softmax_rows.ts";
export { compile, type CompiledGraph, type CompileOptions } from "./lib/graph/compile.ts";
export { type Adapter, attach, type AttachOptions } from "./lib/adapters/attach.ts";
export type { AdaptedModule, Targeting } from "./lib/adapters/targeting.ts";
export {
  type AdapterOptions,
  type BlockOptions,
  type Cost,
  lowRankDefaults,
  lowRankFactors,
  type LowRankOptions,
  type Method,
  type ParameterSpecs,
  type PeftFormat,
  productCost,
  type Restarts,
  scaleOf,
  type Site,
} from "./lib/adapters/method.ts";
export { type Initializer, type ParameterSpec, zeros } from "./lib/models/parameter.ts";
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
export { methodByName, methods } from "./lib/adapters/registry.ts";
export { type Labels, readLabels, writeLabels } from "./lib/adapters/labels.ts";
export { checkSavable, loadAdapter, saveAdapter, type SavedAdapter } from "./lib/adapters/peft.ts";
export { writeMergedModel } from "./lib/train/merge_folder.ts";
export { AdaptedModel } from "./lib/train/adapted_model.ts";
export { interpretedUpdates, type Update } from "./lib/analysis/updates.ts";
export { type Spectrum, spectrumOf } from "./lib/analysis/spectrum.ts";
export type {
  HeadLayout,
  LinearModule,
  LinearRole,
  Model,
  Sequence,
  Tokenizer,
  Tokens,
  Tracer,
  Weight,
} from "./lib/models/model.ts";
export type { Packing } from "./lib/graph/storages/registry.ts";
export { type PackedWeight, packModel } from "./lib/models/packing.ts";
export type { Pooling } from "./lib/models/pooling.ts";
export type { Pairing } from "./lib/models/pairing.ts";
export type { WeightFingerprint } from "./lib/models/fingerprint.ts";
export type { HubOptions } from "./lib/models/hub.ts";
export { loadEncoder } from "./lib/models/load_encoder.ts";
export type { PackageOptions } from "./lib/npm_files.ts";
export { loadUseLite } from "./lib/models/use_lite.ts";
export type { Example, MetricName, Split, Task, TaskFamily } from "./lib/data/task.ts";
export { families, taskByName, taskFrom, tasks } from "./lib/data/registry.ts";
export { type OwnTaskOptions, readOwnTask } from "./lib/data/own_task.ts";
export { type GlueTask, glueTask, type GlueTestSet } from "./lib/data/glue.ts";
export { glueSubmission, writeGlueSubmission } from "./lib/data/glue_submission.ts";
export { llmAdaptersTask } from "./lib/data/llm_adapters.ts";
export type {
  Encoded,
  InputArrays,
  Objective,
  ObjectiveKind,
  ObjectiveStep,
} from "./lib/objectives/objective.ts";
export { objectiveOf, objectives } from "./lib/objectives/registry.ts";
export { checkpointedCell, type Checkpointing } from "./lib/train/cell_checkpoint.ts";
export {
  encodeExamples,
  type EpochScores,
  fineTune,
  type FineTuned,
  type FineTuneOptions,
  type Progress,
  type Scores,
} from "./lib/train/fine_tune.ts";
export { type AdamWOptions, DivergedError, type StepRecord } from "./lib/train/adamw.ts";
export type { Notes } from "./lib/train/checkpoint.ts";
export { Trainer, type TrainOptions } from "./lib/train/trainer.ts";
export type { WarmUp } from "./lib/train/schedule.ts";
export { FrozenWeights } from "./lib/run/frozen_weights.ts";
