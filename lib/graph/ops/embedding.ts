/** Token embeddings with positions. The table's gradient is gathered, so it needs no atomics. */

import text from "../../../wgsl/embedding.wgsl" with { type: "text" };
import orderText from "../../../wgsl/order_ids.wgsl" with { type: "text" };
import sumText from "../../../wgsl/sum_by_id.wgsl" with { type: "text" };
import { type DeviceTraits, linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Node, type Op, sizeOf, type Tensor } from "../graph.ts";
import { scratchTensors } from "../scratch.ts";
import { checkMatrices } from "./shapes.ts";

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

/** How a GPU cuts the tokens, in order of their ids, into chunks: the longest that leave it 16,384 invocations. */
function chunksOf({ inputs: [ids, gradient] }: Node<Attrs>) {
  const tokens = sizeOf(ids);
  const WIDTH = gradient.shape[1] % 4 === 0 ? 4 : 1;
  const width = gradient.shape[1] / WIDTH;
  const CHUNK = [64, 32].find((length) => Math.ceil(tokens / length) * width >= 16384) ?? 16;
  return { tokens, WIDTH, width, CHUNK, chunks: Math.ceil(tokens / CHUNK) };
}

/** The tokens in order of their ids, and the sums of the runs that chunks cut. */
function gradientScratch(node: Node<Attrs>, { software }: DeviceTraits): Tensor[] {
  if (software) return [];
  const { tokens, chunks } = chunksOf(node);
  return scratchTensors(node, [
    { shape: [tokens, 2], dtype: "u32" },
    { shape: [chunks, 2, node.inputs[1].shape[1]] },
  ]);
}

/** A GPU's launches: the ids are sorted, so that what an id's tokens add up to is read once. */
function sortedLaunches(node: Node<Attrs>, device: DeviceTraits): Dispatch[] {
  const { inputs: [ids, gradient], outputs: [out], attrs: { scale, vocabulary, firstRow } } = node;
  const { tokens, WIDTH, width, CHUNK, chunks } = chunksOf(node);
  const [order, cut] = gradientScratch(node, device);
  const sum = (PASS: number, read: Dispatch["bindings"]): Dispatch => ({
    kernel: renderKernel({ name: "sum_by_id", text: sumText }, { PASS, WIDTH, CHUNK }),
    params: { tokens, width, rows: vocabulary, first_row: firstRow >>> 0, scale },
    bindings: { ...read, order, cut, out },
    grid: [Math.ceil(width / 64), chunks, 1],
  });
  return [
    {
      kernel: renderKernel({ name: "order_ids", text: orderText }),
      params: { tokens },
      bindings: { ids, order },
      grid: [Math.ceil(tokens / 64), 1, 1],
    },
    sum(0, { gradient }),
    ...chunks > 1 ? [sum(1, {})] : [],
  ];
}

const embeddingOp: Op<Attrs> = {
  name: "embedding",
  wholeInputs: [0],
  infer([ids, table, positions]) {
    checkMatrices(table, positions);
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
  dispatches(node, _, device) {
    const { inputs: [ids, gradient], outputs: [out] } = node;
    const gather = () => [dispatch(2, node, sizeOf(gradient), out, { ids, gradient })];
    return [
      dispatch(1, node, sizeOf(out), out, {}),
      ...device.software ? gather() : sortedLaunches(node, device),
    ];
  },
  scratch: gradientScratch,
};
