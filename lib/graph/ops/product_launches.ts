/** The launches of a block product, and its candidates for the autotuner. */

import type { DeviceTraits } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import type { Dispatch, Spec, Tensor, Variants } from "../graph.ts";
import type { LowRankTerm, MatmulAttrs } from "./product.ts";
import type { Activation } from "./activation.ts";
import { bucketOf, candidates, chosen, few, kChunkOf } from "./product_choice.ts";
import { type Problem, problemOf, transposed } from "./product_problem.ts";

/**
 * Whether to compute Cᵀ = Bᵀ A instead of C = Aᵀ B. An adapter's dB has r columns; its transpose has r rows,
 * which suits the lanes of the plain kernel.
 */
function isTallGradient(
  { transposeA, transposeB, hasBias, activation }: MatmulAttrs,
  { m, n }: Problem,
): boolean {
  return transposeA && !transposeB && !hasBias && !activation && n <= few && m > few;
}

/** Further operations in the product's kernel. */
export interface Fused {
  /** A low-rank product, added first. */
  readonly term?: LowRankTerm;
  /**
   * GELU of the result, applied last and without a residual: stored in this tensor as well, or ("alone")
   * instead of the product.
   */
  readonly gelu?: Tensor | "alone";
  /** An activation's derivative that multiplies the result, computed from `at` (see `activationGradient`). */
  readonly slope?: { readonly of: Activation; readonly at: Tensor };
}

/** The values of SLOPE in include/matmul.wgsl. */
const slopes: Readonly<Record<Activation, number>> = { relu: 1, tanh: 2, gelu: 3 };

function epilogueDefines(attrs: MatmulAttrs, inPlace: boolean, { term, gelu, slope }: Fused): Defines {
  return {
    SLOPE: slope ? slopes[slope.of] : 0,
    GELU: gelu === undefined ? 0 : gelu === "alone" ? 1 : 2,
    LOW_RANK: term ? (term.transposed ? 1 : 2) : 0,
    BIAS: Number(attrs.hasBias),
    RESIDUAL: attrs.hasResidual ? (inPlace ? 2 : 1) : 0,
    ACTIVATION: attrs.activation === "relu" ? 1 : attrs.activation === "tanh" ? 2 : 0,
  };
}

/** The epilogue of a launch that adds its part of k to the previous launch's output. */
const addToOutput: Defines = { SLOPE: 0, GELU: 0, LOW_RANK: 0, BIAS: 0, RESIDUAL: 2, ACTIVATION: 0 };

/** The candidates for a product of `inputs` [a, b] into `out`. */
export function productVariants(
  attrs: MatmulAttrs,
  inputs: readonly Spec[],
  out: Spec,
  device: DeviceTraits,
): Variants {
  const stated = problemOf(inputs, out, attrs);
  const problem = isTallGradient(attrs, stated) ? transposed(stated) : stated;
  const { m, n, k } = problem;
  return {
    bucket: bucketOf(attrs, problem),
    candidates: candidates(attrs, problem, device).map(({ name, kernel }) => ({
      name,
      kernel: kernel(addToOutput),
    })),
    multiplyAdds: m * n * k * attrs.blocks,
  };
}

/**
 * The launches of a product of `inputs` [a, b] into `out`. `extra`: the other tensors that the epilogue reads
 * (`bias`, `residual`, `scales` of a packed b). `fused`: further operations in the same kernel. Throws
 * nothing: shapes were checked at tracing.
 */
export function productDispatches(
  attrs: MatmulAttrs,
  [left, right]: readonly Tensor[],
  out: Tensor,
  extra: Readonly<Record<string, Tensor>>,
  inPlace: boolean,
  device: DeviceTraits,
  fused: Fused = {},
): Dispatch[] {
  const stated = problemOf([left, right], out, attrs);
  const swaps = isTallGradient(attrs, stated);
  const problem = swaps ? transposed(stated) : stated;
  const { m, n, k, a, b, c } = problem;
  const { kernel, grid } = chosen(attrs, problem, device);
  const kChunk = kChunkOf(attrs, problem, device);
  const { bias: _, residual: __, ...more } = extra;
  return Array.from({ length: Math.ceil(k / kChunk) }, (_, chunk): Dispatch => ({
    kernel: kernel(chunk === 0 ? epilogueDefines(attrs, inPlace, fused) : addToOutput),
    grid,
    params: {
      m,
      n,
      k: Math.min(kChunk, k - chunk * kChunk),
      blocks: attrs.blocks,
      ld_a: a.lead,
      ld_b: b.lead,
      ld_c: c.lead,
      stride_a: a.stride,
      stride_b: b.stride,
      stride_c: c.stride,
      stride_bias: attrs.splits.out === "columns" ? n : 0,
      start_a: chunk * kChunk * (attrs.transposeA ? a.lead : 1),
      start_b: chunk * kChunk * (attrs.transposeB ? 1 : b.lead),
      scale: attrs.scale,
      ...chunk === 0 ? termParams(fused, n) : {},
    },
    bindings: {
      a: swaps ? right : left,
      b: swaps ? left : right,
      c: out,
      ...chunk === 0 ? { ...extra, ...fusedBindings(fused) } : more,
    },
  }));
}

function termParams({ term }: Fused, n: number): Record<string, number> {
  if (!term) return {};
  const { v: { shape: [, width] }, blocks, scale } = term;
  return { rank: width / blocks, ld_v: width, block_cols: n / blocks, low_rank_scale: scale };
}

function fusedBindings({ term, gelu, slope }: Fused): Record<string, Tensor> {
  return {
    ...slope ? { slope_at: slope.at } : {},
    ...term ? { v: term.v, low: term.low } : {},
    ...gelu && gelu !== "alone" ? { activated: gelu } : {},
  };
}
