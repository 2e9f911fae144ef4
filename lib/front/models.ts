/**
 * For builders of models, methods and objectives: their interfaces, what the ones here are made of, and what can be measured of an
 * adapter.
 *
 * ```ts
 * import { comparedPairs, type Method, type Model, scaleOf } from "@bora/webgpu/models";
 * ```
 *
 * @module
 */

export {
  type Cache,
  type CachedAttention,
  type Decoder,
  type HeadLayout,
  headPathsOf,
  type Language,
  type LinearModule,
  type LinearRole,
  type Model,
  plainHead,
  type Sequence,
  type Tokenizer,
  type Tokens,
  type Tracer,
  type Weight,
} from "../models/model.ts";
export type { MergedAdapter } from "../models/merged_adapters.ts";
export type { DecoderTokenizer, EncodeOptions } from "../models/decoder_tokenizer.ts";
export type { DecodeOptions, StreamingDecoder } from "../models/token_texts.ts";
export type { Reading } from "../models/text_encoder.ts";
export type { ChatTemplates } from "../models/chat_template.ts";
export { comparedPairs, joinedPairs, type Pairing } from "../models/pairing.ts";
export { type Pooling, vectorsOf } from "../models/pooling.ts";
export type { PackedWeight } from "../models/packing.ts";
export type { WeightFingerprint } from "../models/fingerprint.ts";
export type { Packing, WritablePacking } from "../graph/storages/registry.ts";
export type { DType, Graph, Node, Op, Source, Spec, Tensor } from "../graph/graph.ts";
export type { FusedActivation } from "../graph/ops/product/epilogue.ts";
export { type Initializer, type ParameterSpec, zeros } from "../models/parameter.ts";
export type {
  BatchShape,
  Encoded,
  InputArrays,
  Objective,
  ObjectiveKind,
  ObjectiveStep,
} from "../objectives/objective.ts";
export { objectives } from "../objectives/registry.ts";
export { type TextObjective, textObjective } from "../objectives/text_head.ts";
export {
  type AdapterOptions,
  blockDefaults,
  type BlockOptions,
  type Cost,
  type DownSite,
  type Halves,
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
  throughHalves,
  type UpSite,
} from "../adapters/method.ts";
export type { Adapter } from "../adapters/attach.ts";
export type { AdaptedModule, Targeting } from "../adapters/targeting.ts";
export { expand, project } from "../adapters/block_products.ts";
export { resolveBlocks } from "../adapters/blocks.ts";
export { startingWeights } from "../adapters/starting_weights.ts";
export { type TraceContext, tracer } from "../adapters/trace.ts";
export { interpretedUpdates, type Update } from "../analysis/updates.ts";
export { type Spectrum, spectrumOf } from "../analysis/spectrum.ts";
