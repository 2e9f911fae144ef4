/** Masked multi-head attention and its gradients, without a tokens×tokens tensor in memory. */

import text from "../../../wgsl/attention.wgsl" with { type: "text" };
import { type Grid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";

interface Attrs {
  readonly batch: number;
  readonly length: number;
  readonly heads: number;
  readonly scale: number;
}

/**
 * softmax(scale · q kᵀ) v for each head, over the first `lengths[b]` tokens of each text.
 * q, k, v and the result: [batch·length, heads·headDim]; lengths: [batch] u32, each ≥ 1; headDim a multiple of 4.
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  lengths: Tensor,
  options: { heads: number; scale: number },
): Tensor {
  const batch = lengths.shape[0];
  const attrs = { ...options, batch, length: q.shape[0] / batch };
  return q.node.graph.apply(attentionOp, [q, k, v, lengths], attrs)[0];
}

function headDim(spec: Spec, { heads }: Attrs): number {
  return spec.shape[1] / heads;
}

function infer(inputs: readonly Spec[], attrs: Attrs): void {
  const [q, k, v] = inputs;
  const width = headDim(q, attrs);
  if (k.shape.join() !== q.shape.join() || v.shape.join() !== q.shape.join()) {
    throw new Error(`q ${describe(q)}, k ${describe(k)} and v ${describe(v)} differ`);
  }
  if (width % 4 !== 0) {
    throw new Error(`head size ${q.shape[1]}/${attrs.heads} = ${width} is not a multiple of 4`);
  }
  if (!Number.isInteger(attrs.length)) {
    throw new Error(`${q.shape[0]} tokens are not ${attrs.batch} texts of one length`);
  }
}

/** Runs `visit(p, i, j, rowI, rowJ)` over every head and every pair of a query row and an unmasked key row. */
function forEachWeight(
  [q, k, , lengths]: readonly Float64Array[],
  spec: Spec,
  attrs: Attrs,
  visit: (p: number, rowI: number, rowJ: number, stat: number, lse: number) => void,
): void {
  const width = headDim(spec, attrs);
  const offset = (b: number, h: number, row: number) => ((b * attrs.length + row) * attrs.heads + h) * width;
  for (let b = 0; b < attrs.batch; b++) {
    for (let h = 0; h < attrs.heads; h++) {
      for (let i = 0; i < attrs.length; i++) {
        const scores = Array.from(
          { length: lengths[b] },
          (_, j) => attrs.scale * dot(q, offset(b, h, i), k, offset(b, h, j), width),
        );
        const top = Math.max(...scores);
        const lse = top + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
        const stat = (b * attrs.heads + h) * attrs.length + i;
        scores.forEach((score, j) =>
          visit(Math.exp(score - lse), offset(b, h, i), offset(b, h, j), stat, lse)
        );
      }
    }
  }
}

function dot(a: Float64Array, atA: number, b: Float64Array, atB: number, width: number): number {
  let sum = 0;
  for (let c = 0; c < width; c++) sum += a[atA + c] * b[atB + c];
  return sum;
}

/** target[at…] += factor · source[from…] */
function addRow(
  target: Float64Array,
  at: number,
  factor: number,
  source: Float64Array,
  from: number,
  width: number,
): void {
  for (let c = 0; c < width; c++) target[at + c] += factor * source[from + c];
}

const workgroup = 16;

function dispatch(pass: number, node: Node<Attrs>, bindings: Dispatch["bindings"]): Dispatch {
  const { attrs, inputs } = node;
  const defines = { PASS: pass, HEAD_DIM: headDim(inputs[0], attrs), WORKGROUP: workgroup };
  const grid: Grid = [Math.ceil(attrs.length / workgroup), attrs.heads, attrs.batch];
  return {
    kernel: renderKernel({ name: "attention", text }, defines),
    params: { length: attrs.length, heads: attrs.heads, scale: attrs.scale },
    bindings,
    grid,
  };
}

function statistics(attrs: Attrs): Spec {
  return { shape: [attrs.batch, attrs.heads, attrs.length], dtype: "f32" };
}

/** Outputs: the attended values, and each row's log-sum-exp for the backward pass. */
const attentionOp: Op<Attrs> = {
  name: "attention",
  infer(inputs, attrs) {
    infer(inputs, attrs);
    return [{ shape: inputs[0].shape, dtype: "f32" }, statistics(attrs)];
  },
  derivative({ inputs, outputs, attrs, graph }, [gradient]) {
    return graph.apply(attentionGradientOp, [...inputs, outputs[0], outputs[1], gradient!], attrs).slice(
      0,
      3,
    );
  },
  evaluate(values, { inputs, outputs, attrs }) {
    const [out, lses] = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
    const width = headDim(inputs[0], attrs);
    forEachWeight(values, inputs[0], attrs, (p, rowI, rowJ, stat, lse) => {
      addRow(out, rowI, p, values[2], rowJ, width);
      lses[stat] = lse;
    });
    return [out, lses];
  },
  dispatches(node) {
    const [q, k, v, lengths] = node.inputs;
    const [o, lse] = node.outputs;
    return [dispatch(0, node, { q, k, v, lengths, o, lse })];
  },
};

/** Inputs: q, k, v, lengths, o, lse, do. Outputs: dq, dk, dv, and (scratch) each row's lse and do·o. */
const attentionGradientOp: Op<Attrs> = {
  name: "attentionGradient",
  infer(inputs, attrs) {
    infer(inputs, attrs);
    const same: Spec = { shape: inputs[0].shape, dtype: "f32" };
    return [same, same, same, { shape: [...statistics(attrs).shape, 2], dtype: "f32" }];
  },
  evaluate(values, { inputs, outputs, attrs }) {
    const [q, k, v, , o, , dO] = values;
    const [dQ, dK, dV, rows] = outputs.map((tensor) => new Float64Array(sizeOf(tensor)));
    const width = headDim(inputs[0], attrs);
    forEachWeight(values, inputs[0], attrs, (p, rowI, rowJ, stat, lse) => {
      const delta = dot(dO, rowI, o, rowI, width);
      rows.set([lse, delta], 2 * stat);
      const dS = p * (dot(dO, rowI, v, rowJ, width) - delta) * attrs.scale;
      addRow(dQ, rowI, dS, k, rowJ, width);
      addRow(dK, rowJ, dS, q, rowI, width);
      addRow(dV, rowJ, p, dO, rowI, width);
    });
    return [dQ, dK, dV, rows];
  },
  dispatches(node) {
    const [q, k, v, lengths, o, lse, d_o] = node.inputs;
    const [d_q, d_k, d_v, rows] = node.outputs;
    return [
      dispatch(1, node, { o, d_o, lse, rows }),
      dispatch(2, node, { q, k, v, lengths, rows, d_o, d_q }),
      dispatch(3, node, { q, k, v, lengths, rows, d_o, d_k, d_v }),
    ];
  },
};
