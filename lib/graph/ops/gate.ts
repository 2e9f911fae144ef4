/** Products of gates with vectors: mixtures of experts, and RandLoRA's scaled bases. */

import text from "../../../wgsl/gate.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { checkMatrices } from "./shapes.ts";

/**
 * z[t, e, c] = g[t, e] · u[t, c] if `shared`, with u [rows, width], one vector for all experts; else g[t, e]
 * · u[t, e, c] with u [rows, experts·width]. g [rows, experts] → z [rows, experts·width].
 */
export function gate(g: Tensor, u: Tensor, shared: boolean): Tensor {
  return g.node.graph.apply(gateOp, [g, u], { shared })[0];
}

interface Attrs {
  readonly shared: boolean;
}

const workgroup = 64;

function extents([g, u]: readonly Spec[], { shared }: Attrs): { experts: number; width: number } {
  return { experts: g.shape[1], width: shared ? u.shape[1] : u.shape[1] / g.shape[1] };
}

function dispatch(
  PASS: number,
  attrs: Attrs,
  factors: readonly Spec[],
  bindings: Dispatch["bindings"],
): Dispatch[] {
  const size = sizeOf(bindings.out);
  const defines = { PASS, SHARED: Number(attrs.shared), WORKGROUP: workgroup };
  return [{
    kernel: renderKernel({ name: "gate", text }, defines),
    params: { size, ...extents(factors, attrs) },
    bindings,
    grid: linearGrid(size, workgroup),
  }];
}

/** Calls `visit(te, tc, tec)` for every element of z, with the indices into g, u and z. */
function forEachProduct(
  factors: readonly Spec[],
  attrs: Attrs,
  visit: (te: number, tc: number, z: number) => void,
) {
  const { experts, width } = extents(factors, attrs);
  for (let z = 0; z < sizeOf(factors[0]) * width; z++) {
    const te = Math.floor(z / width);
    visit(te, attrs.shared ? Math.floor(te / experts) * width + z % width : z, z);
  }
}

const gateOp: Op<Attrs> = {
  name: "gate",
  infer([g, u], attrs) {
    checkMatrices(g, u);
    const { experts, width } = extents([g, u], attrs);
    if (g.shape[0] !== u.shape[0] || !Number.isInteger(width)) {
      throw new Error(`gates ${describe(g)} do not fit vectors ${describe(u)}`);
    }
    return [{ shape: [g.shape[0], experts * width], dtype: "f32" }];
  },
  derivative: ({ inputs: [g, u], attrs, graph }, [gradient]) =>
    graph.apply(gateGradientOp, [g, u, gradient!], attrs),
  evaluate([g, u], { inputs, outputs, attrs }) {
    const out = new Float64Array(sizeOf(outputs[0]));
    forEachProduct(inputs, attrs, (te, tc, z) => out[z] = g[te] * u[tc]);
    return [out];
  },
  dispatches: ({ inputs: [g, u], outputs: [out], attrs }) => dispatch(0, attrs, [g, u], { g, u, out }),
};

/** Inputs g, u, dz; outputs dg[t, e] = Σ_c u·dz and du. */
const gateGradientOp: Op<Attrs> = {
  name: "gateGradient",
  infer: ([g, u]) => [g, u],
  evaluate([g, u, dz], { inputs, outputs, attrs }) {
    const [dg, du] = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
    forEachProduct(inputs, attrs, (te, tc, z) => {
      dg[te] += u[tc] * dz[z];
      du[tc] += g[te] * dz[z];
    });
    return [dg, du];
  },
  dispatches: ({ inputs: [g, u, dz], outputs: [dg, du], attrs }) => [
    ...dispatch(2, attrs, [g, u], { u, dz, out: dg }),
    ...dispatch(1, attrs, [g, u], { g, dz, out: du }),
  ],
};
