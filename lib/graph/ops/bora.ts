/** The two ops specific to BoRA: its diagonals Σ from σ, and mixing the blocks' projections by Σ. */

import sigmaText from "../../../wgsl/bora_sigma.wgsl" with { type: "text" };
import { type DeviceTraits, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Tensor } from "../graph.ts";
import { mixGradientLaunches, mixGradientScratch, mixLaunches } from "./bora_mix_launches.ts";
import { checkMatrices } from "./shapes.ts";

/** Which parts of Σ = exp(σ / Mav(σ)) are applied. The paper's ablations drop one each. */
export interface SigmaMap {
  /** Applies exp; without it Σ = σ / Mav(σ). */
  readonly exp: boolean;
  /** Divides by Mav(σ) = ‖σ‖₁ / (b²r); without it Σ = exp(σ). */
  readonly norm: boolean;
}

/** Σ from σ, both [b, b, r] (output block, input block, rank). */
export function boraSigma(sigma: Tensor, map: SigmaMap): Tensor {
  return sigma.node.graph.apply(sigmaOp, [sigma], map)[0];
}

/** V[t, j, c] = Σ_k Σ[j, k, c] U[t, k, c]: U and V [T, b·r], Σ [b, b, r]. */
export function boraMix(u: Tensor, diagonal: Tensor): Tensor {
  return u.node.graph.apply(mixOp, [u, diagonal], { transpose: false })[0];
}

/** μ = Mav(σ), never 0. */
function meanAbsolute(sigma: Float64Array, { norm }: SigmaMap): number {
  return norm ? Math.max(sigma.reduce((sum, value) => sum + Math.abs(value), 0) / sigma.length, 1e-30) : 1;
}

/** One workgroup for all of Σ: on a GPU, one that has more invocations than a software driver has lanes to run at once. */
function sigmaDispatch(
  map: SigmaMap,
  { software }: DeviceTraits,
  bindings: Dispatch["bindings"],
): Dispatch[] {
  const BACKWARD = Number(bindings.d_diagonal !== undefined);
  const WORKGROUP = software ? 64 : 256;
  const defines = { BACKWARD, EXP: Number(map.exp), NORM: Number(map.norm), WORKGROUP };
  return [{
    kernel: renderKernel({ name: "bora_sigma", text: sigmaText }, defines),
    params: { size: sizeOf(bindings.sigma) },
    bindings,
    grid: [1, 1, 1],
  }];
}

const sigmaOp: Op<SigmaMap> = {
  name: "boraSigma",
  infer([sigma]) {
    if (sigma.shape.length !== 3 || sigma.shape[0] !== sigma.shape[1]) {
      throw new Error(`σ is ${describe(sigma)}, not [b, b, r]`);
    }
    return [{ shape: sigma.shape, dtype: "f32" }];
  },
  derivative: ({ inputs: [sigma], attrs, graph }, [gradient]) =>
    graph.apply(sigmaGradientOp, [sigma, gradient!], attrs),
  evaluate([sigma], { attrs }) {
    const mu = meanAbsolute(sigma, attrs);
    return [sigma.map((value) => attrs.exp ? Math.exp(value / mu) : value / mu)];
  },
  dispatches: ({ inputs: [sigma], outputs: [out], attrs }, _, device) =>
    sigmaDispatch(attrs, device, { sigma, out }),
};

/** dσ = g/μ − sign(σ)⟨g, σ⟩/(Nμ²) with g = dΣ ⊙ f′(σ/μ); the second term only with Norm. */
const sigmaGradientOp: Op<SigmaMap> = {
  name: "boraSigmaGradient",
  infer: ([sigma]) => [sigma],
  evaluate([sigma, dDiagonal], { attrs }) {
    const mu = meanAbsolute(sigma, attrs);
    const g = dDiagonal.map((value, i) => attrs.exp ? value * Math.exp(sigma[i] / mu) : value);
    const inner = attrs.norm ? g.reduce((sum, value, i) => sum + value * sigma[i], 0) : 0;
    return [g.map((value, i) => value / mu - Math.sign(sigma[i]) * inner / (sigma.length * mu * mu))];
  },
  dispatches: ({ inputs: [sigma, d_diagonal], outputs: [out], attrs }, _, device) =>
    sigmaDispatch(attrs, device, { sigma, d_diagonal, out }),
};

interface MixAttrs {
  readonly transpose: boolean;
}

/**
 * Calls `visit(jkc, tjc, tkc)` for every token and entry of Σ, with the indices of Σ_jkc, V_tjc and U_tkc.
 */
function forEachTerm(
  node: Node,
  diagonal: Tensor,
  visit: (jkc: number, tjc: number, tkc: number) => void,
): void {
  const [b, , r] = diagonal.shape;
  const tokens = node.inputs[0].shape[0];
  for (let t = 0; t < tokens; t++) {
    for (let jkc = 0; jkc < b * b * r; jkc++) {
      const [j, k, c] = [Math.floor(jkc / r / b), Math.floor(jkc / r) % b, jkc % r];
      visit(jkc, (t * b + j) * r + c, (t * b + k) * r + c);
    }
  }
}

/** V from U or, with `transpose`, dU from dV. */
const mixOp: Op<MixAttrs> = {
  name: "boraMix",
  infer([u, diagonal]) {
    checkMatrices(u);
    const [b, input, r, ...more] = diagonal.shape;
    if (input !== b || more.length > 0 || u.shape[1] !== b * r) {
      throw new Error(`U ${describe(u)} does not fit Σ ${describe(diagonal)}`);
    }
    return [{ shape: u.shape, dtype: "f32" }];
  },
  derivative({ inputs: [u, diagonal], attrs, graph }, [gradient]) {
    if (attrs.transpose) throw new Error("the transposed mix is only used in backward passes");
    return [
      graph.apply(mixOp, [gradient!, diagonal], { transpose: true })[0],
      graph.apply(mixGradientOp, [gradient!, u], { shape: diagonal.shape })[0],
    ];
  },
  evaluate([x, diagonal], node) {
    const out = new Float64Array(x.length);
    forEachTerm(node, node.inputs[1], (jkc, tjc, tkc) => {
      if (node.attrs.transpose) out[tkc] += diagonal[jkc] * x[tjc];
      else out[tjc] += diagonal[jkc] * x[tkc];
    });
    return [out];
  },
  dispatches: ({ inputs: [x, diagonal], outputs: [out], attrs }, _, device) =>
    mixLaunches(attrs.transpose, { x, diagonal, out }, device),
};

/** dΣ[j, k, c] = Σ_t dV[t, j, c] U[t, k, c]. */
const mixGradientOp: Op<{ readonly shape: readonly number[] }> = {
  name: "boraMixGradient",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  evaluate([dV, u], node) {
    const out = new Float64Array(sizeOf(node.outputs[0]));
    forEachTerm(node, node.outputs[0], (jkc, tjc, tkc) => out[jkc] += dV[tjc] * u[tkc]);
    return [out];
  },
  dispatches: (node, _, device) => mixGradientLaunches(node, device),
  scratch: mixGradientScratch,
};
