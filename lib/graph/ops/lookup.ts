/** Rows of a table or of a part of one, for token, position and token-type embeddings. */

import text from "../../../wgsl/lookup.wgsl" with { type: "text" };
import { type Kernel, linearGrid, renderKernel } from "../../gpu/kernel.ts";
import type { Defines } from "../../gpu/render.ts";
import { describe, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { storageNamed } from "../storages/registry.ts";
import { embeddingGradient } from "./embedding.ts";
import type { StoredTensor } from "./product/product.ts";

/** Options of `lookup`. */
export interface LookupOptions {
  /**
   * The index that the table's first row belongs to; 0 by default. Negative if rows come before that of index
   * 0.
   */
  readonly firstRow?: number;
  /** Added to the result; shaped like it. */
  readonly onto?: Tensor;
}

interface Attrs {
  readonly firstRow: number;
  readonly hasScales: boolean;
}

/**
 * out[t] = onto[t] + table[index[t] − firstRow]. The second term is left out where the table has no such row,
 * so that a table whose rows lie in several buffers can be looked up part by part. index [batch, length] u32,
 * table [rows, n] → [batch·length, n], n a multiple of 4. A table that is not f32 is frozen: it has no gradient.
 */
export function lookup(
  index: Tensor,
  table: Tensor | StoredTensor,
  { firstRow = 0, onto }: LookupOptions = {},
): Tensor {
  const { values, scales }: StoredTensor = "values" in table ? table : { values: table };
  const inputs = [index, values, scales, onto].filter((tensor) => tensor !== undefined);
  return index.node.graph.apply(lookupOp, inputs, { firstRow, hasScales: scales !== undefined })[0];
}

/** The inputs by name. */
function named<T>([index, table, ...rest]: readonly T[], { hasScales }: Attrs) {
  return { index, table, scales: hasScales ? rest.shift() : undefined, onto: rest.at(0) };
}

/** Throws an Error where the table's rows cannot be looked up, or its scales do not fit. */
function checkTable(table: Spec, scales: Spec | undefined): void {
  const { scaleEvery, refusal, strideOf } = storageNamed(table.dtype);
  if (table.shape.length !== 2 || table.shape[1] % 4 !== 0) {
    throw new Error(`the table is ${describe(table)}, not rows of a multiple of 4`);
  }
  if (strideOf) throw new Error(`the table is ${describe(table)}, and its rows do not lie in one piece`);
  const refused = refusal(table.shape);
  if (refused) throw new Error(`the table is ${describe(table)}: ${refused}`);
  const wanted = scaleEvery ? sizeOf(table) / scaleEvery : 0;
  if ((scales ? sizeOf(scales) : 0) !== wanted) throw new Error(`${describe(table)} wants ${wanted} scales`);
}

function kernelOf({ dtype }: Spec, defines: Defines): Kernel {
  const { reading: { bindings, load } } = storageNamed(dtype);
  const parts = {
    "table.bindings": bindings({ name: "table", binding: 2, scalesBinding: 5 }),
    "table.load": load("table"),
  };
  return renderKernel({ name: "lookup", text, variant: dtype, parts }, defines);
}

const workgroup = 64;

const lookupOp: Op<Attrs> = {
  name: "lookup",
  wholeInputs: [0],
  storedInput: 1,
  infer(inputs, attrs) {
    const { index, table, scales, onto } = named(inputs, attrs);
    if (index.shape.length !== 2) {
      throw new Error(`the index is ${describe(index)}, not [batch, length]`);
    }
    checkTable(table, scales);
    const out = { shape: [sizeOf(index), table.shape[1]], dtype: "f32" } as const;
    if (onto && onto.shape.join() !== out.shape.join()) {
      throw new Error(`${describe(onto)} does not fit ${describe(out)}`);
    }
    return [out];
  },
  derivative({ inputs, attrs }, [gradient]) {
    const { index, table, onto } = named(inputs, attrs);
    const place = { scale: 1, vocabulary: table.shape[0], firstRow: attrs.firstRow };
    return [
      undefined,
      table.dtype === "f32" ? embeddingGradient(index, gradient!, place) : undefined,
      ...attrs.hasScales ? [undefined] : [],
      ...onto ? [gradient] : [],
    ];
  },
  // The table's values are those that its storage stands for, so its scales are not read.
  evaluate(inputs, { inputs: [, { shape: [rows, width] }], outputs, attrs }) {
    const { index, table, onto } = named(inputs, attrs);
    return [Float64Array.from({ length: sizeOf(outputs[0]) }, (_, i) => {
      const row = index[Math.floor(i / width)] - attrs.firstRow;
      return (onto ? onto[i] : 0) + (row >= 0 && row < rows ? table[row * width + i % width] : 0);
    })];
  },
  dispatches({ inputs, outputs: [out], attrs }, inPlace) {
    const { index, table, scales, onto } = named(inputs, attrs);
    const [rows, width] = table.shape;
    const size = sizeOf(out) / 4;
    return [{
      kernel: kernelOf(table, {
        STORED: Number(table.dtype !== "f32"),
        ONTO: Number(onto !== undefined),
        IN_PLACE: Number(inPlace),
        WORKGROUP: workgroup,
      }),
      // The kernel subtracts modulo 2³².
      params: { size, width: width / 4, rows, first_row: attrs.firstRow >>> 0 },
      bindings: { index, table, ...scales ? { scales } : {}, ...onto && !inPlace ? { onto } : {}, out },
      grid: linearGrid(size, workgroup),
    }];
  },
  overwrites: ({ inputs, attrs }) => named(inputs, attrs).onto ? [inputs.length - 1] : [],
};
