/**
 * For builders of graphs: symbolic tensors, every op that a model or a method is made of, derivatives, and running a graph on a GPU
 * or in float64.
 *
 * ```ts
 * import { compile, Graph, grad, linear } from "@bora/webgpu/graph";
 * ```
 *
 * @module
 */

export {
  type DType,
  Graph,
  type Node,
  type Op,
  type Source,
  type Spec,
  type Tensor,
} from "../graph/graph.ts";
export { grad, type GradOptions } from "../graph/grad.ts";
export { interpret, interpretRun, type SourceValues } from "../graph/interpret.ts";
export { Arena, compile, type CompiledGraph, type CompileOptions, type Values } from "../graph/compile.ts";
export type { Packing, WritablePacking } from "../graph/storages/registry.ts";
export { activate, type Activation } from "../graph/ops/activation.ts";
export { attention, type AttentionOptions } from "../graph/ops/attention.ts";
export { add, multiply } from "../graph/ops/binary.ts";
export { boraMix, boraSigma, type SigmaMap } from "../graph/ops/bora.ts";
export { detachedInverseColumnNorm } from "../graph/ops/column_norm.ts";
export { cachedAttention, type CachedAttentionOptions } from "../graph/ops/cached_attention.ts";
export { sumByOwner } from "../graph/ops/sum_by_owner.ts";
export { type KeysAndValues, writeTokens } from "../graph/ops/write_tokens.ts";
export { columnSum, repeatRows } from "../graph/ops/column_sum.ts";
export { compareFeatures } from "../graph/ops/compare_features.ts";
export { dropout } from "../graph/ops/dropout.ts";
export { embedding } from "../graph/ops/embedding.ts";
export { firstToken } from "../graph/ops/first_token.ts";
export { gate } from "../graph/ops/gate.ts";
export { lastToken } from "../graph/ops/last_token.ts";
export { layerNorm } from "../graph/ops/layer_norm.ts";
export { reshape, rowMajor, swapAxes } from "../graph/ops/layout.ts";
export { lookup, type LookupOptions } from "../graph/ops/lookup.ts";
export { crossEntropy, meanSquaredError, weightOfLoss } from "../graph/ops/losses.ts";
export { meanPool } from "../graph/ops/mean_pool.ts";
export { linear, matmul, type MatmulOptions, type StoredTensor } from "../graph/ops/product/product.ts";
export type { FusedActivation } from "../graph/ops/product/epilogue.ts";
export type { Blocks as ProductBlocks, Split as ProductSplit } from "../graph/ops/product/blocks.ts";
export { rmsNorm } from "../graph/ops/rms_norm.ts";
export { rotary, rotaryFrequencies, rotaryTable, type Rotation } from "../graph/ops/rotary.ts";
export { scaleColumns, type ScaleOptions } from "../graph/ops/scale_columns.ts";
export { softmaxRows } from "../graph/ops/softmax_rows.ts";
export { type RowsToTake, takeRows } from "../graph/ops/take_rows.ts";
export { type NextTokens, vocabularyLoss, type VocabularyPiece } from "../graph/ops/vocabulary_loss.ts";
export { sumOfSquares } from "../graph/ops/sum_of_squares.ts";
export { type GateActivation, gatedUnit } from "../graph/ops/gated_unit.ts";
export { FrozenWeights } from "../run/frozen_weights.ts";
export { States } from "../run/states.ts";
export { type WeightPlace, WeightStore } from "../run/weight_store.ts";
export { Profile, type Timing } from "../gpu/profiler.ts";
export type { AdapterSummary, Gpu, MemoryReport } from "../gpu/device.ts";
export type { BufferView, Copy, Program } from "../gpu/program.ts";
