/** Token embeddings with positions. The table's gradient is gathered, so it needs no atomics. */

import text from "../../../wgsl/embedding.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Tensor } from "../graph.ts";

interface GradientAttrs {
  readonly scale: number;
  /** Rows of the table. */
  readonly vocabulary: number;
  /** The id of the table's first row. */
  readonly firstRow: number;
}

interface Attrs extends GradientAttrs {
  readonly length: number;
}

/**
 * scale · table[ids] + positions: ids [batch, length] u32, table [vocabulary, n], positions [≥ length, n] (frozen)
 * → [batch·length, n].
 */
export function embedding(ids: Tensor, table: Tensor, positions: Tensor, scale: number): Tensor {
  const attrs = { scale, length: ids.shape[1], vocabulary: table.shape[0], firstRow: 0 };
  return ids.node.graph.apply(embeddingOp, [ids, table, positions], attrs)[0];
}

/**
 * The gradient of the table [vocabulary, n] from the gradient of its looked-up rows [batch·length, n]: row v
 * is Σ scale · gradient[t] over the tokens t with id firstRow + v.
 */
export function embeddingGradient(ids: Tensor, gradient: Tensor, attrs: GradientAttrs): Tensor {
  return ids.node.graph.apply(embeddingGradientOp, [ids, gradient], { ...attrs, length: ids.shape[1] })[0];
}

const workgroup = 64;

function dispatch(
  pass: number,
  { attrs, inputs }: Node<Attrs>,
  size: number,
  out: Tensor,
  bindings: Dispatch["bindings"],
): Dispatch {
  const WIDTH = pass === 0 && out.shape[1] % 4 === 0 ? 4 : 1;
  return {
    kernel: renderKernel({ name: "embedding", text }, { PASS: pass, WIDTH, WORKGROUP: workgroup }),
    params: {
      size: size / WIDTH,
      width: out.shape[1] / WIDTH,
      length: attrs.length,
      tokens: sizeOf(inputs[0]),
      scale: attrs.scale,
      ...(pass === 0 ? {} : { rows: attrs.vocabulary, first_row: attrs.firstRow >>> 0 }),
    },
    bindings: { ...bindings, out },
    grid: linearGrid(size / WIDTH, workgroup),
  };
}

const embeddingOp: Op<Attrs> = {
  name: "embedding",
  wholeInputs: [0],
  infer([ids, table, positions]) {
    if (ids.shape.length !== 2) {
      throw new Error(`ids are ${describe(ids)}, not [batch, length]`);
    }
    if (positions.shape[0] < ids.shape[1] || positions.shape[1] !== table.shape[1]) {
      throw new Error(
        `positions ${describe(positions)} do not fit ids ${describe(ids)} and table ${describe(table)}`,
      );
    }
    return [{ shape: [sizeOf(ids), table.shape[1]], dtype: "f32" }];
  },
  derivative({ inputs: [ids], attrs }, [gradient]) {
    return [undefined, embeddingGradient(ids, gradient!, attrs), undefined];
  },
  evaluate([ids, table, positions], { outputs, attrs }) {
    const width = outputs[0].shape[1];
    const out = new Float64Array(sizeOf(outputs[0]));
    return [out.map((_, i) => {
      const [token, col] = [Math.floor(i / width), i % width];
      return attrs.scale * table[ids[token] * width + col] + positions[(token % attrs.length) * width + col];
    })];
  },
  dispatches(node) {
    const [ids, table, positions] = node.inputs;
    return [dispatch(0, node, sizeOf(node.outputs[0]), node.outputs[0], { ids, table, positions })];
  },
};

const embeddingGradientOp: Op<Attrs> = {
  name: "embeddingGradient",
  wholeInputs: [0],
  infer([, gradient], attrs) {
    return [{ shape: [attrs.vocabulary, gradient.shape[1]], dtype: "f32" }];
  },
  evaluate([ids, gradient], { outputs, attrs }) {
    const width = outputs[0].shape[1];
    const out = new Float64Array(sizeOf(outputs[0]));
    gradient.forEach((value, i) => {
      const row = ids[Math.floor(i / width)] - attrs.firstRow;
      if (row >= 0 && row < attrs.vocabulary) out[row * width + i % width] += attrs.scale * value;
    });
    return [out];
  },
  dispatches(node) {
    const [ids, gradient] = node.inputs;
    const out = node.outputs[0];
    return [
      dispatch(1, node, sizeOf(out), out, {}),
      dispatch(2, node, sizeOf(gradient), out, { ids, gradient }),
    ];
  },
};
