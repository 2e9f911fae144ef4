/** Rows of a table or of a part of one, for token, position and token-type embeddings. */

import text from "../../../wgsl/lookup.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Op, sizeOf, type Tensor } from "../graph.ts";
import { embeddingGradient } from "./embedding.ts";

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
}

/**
 * out[t] = onto[t] + table[index[t] − firstRow]. The second term is left out where the table has no such row,
 * so that a table whose rows lie in several buffers can be looked up part by part. index [batch, length] u32,
 * table [rows, n] → [batch·length, n], n a multiple of 4.
 */
export function lookup(index: Tensor, table: Tensor, { firstRow = 0, onto }: LookupOptions = {}): Tensor {
  const inputs = onto ? [index, table, onto] : [index, table];
  return index.node.graph.apply(lookupOp, inputs, { firstRow })[0];
}

const workgroup = 64;

const lookupOp: Op<Attrs> = {
  name: "lookup",
  infer([index, table, onto]) {
    if (index.dtype !== "u32" || index.shape.length !== 2) {
      throw new Error(`the index is ${describe(index)}, not [batch, length] u32`);
    }
    if (table.shape.length !== 2 || table.shape[1] % 4 !== 0) {
      throw new Error(`the table is ${describe(table)}, not rows of a multiple of 4`);
    }
    const out = { shape: [sizeOf(index), table.shape[1]], dtype: "f32" } as const;
    if (onto && onto.shape.join() !== out.shape.join()) {
      throw new Error(`${describe(onto)} does not fit ${describe(out)}`);
    }
    return [out];
  },
  derivative({ inputs: [index, table, onto], attrs }, [gradient]) {
    const place = { scale: 1, vocabulary: table.shape[0], firstRow: attrs.firstRow };
    return [undefined, embeddingGradient(index, gradient!, place), ...(onto ? [gradient] : [])];
  },
  evaluate([index, table, onto], { inputs: [, { shape: [rows, width] }], outputs, attrs }) {
    return [Float64Array.from({ length: sizeOf(outputs[0]) }, (_, i) => {
      const row = index[Math.floor(i / width)] - attrs.firstRow;
      return (onto ? onto[i] : 0) + (row >= 0 && row < rows ? table[row * width + i % width] : 0);
    })];
  },
  dispatches({ inputs: [index, table, onto], outputs: [out], attrs }, inPlace) {
    const [rows, width] = table.shape;
    const size = sizeOf(out) / 4;
    const defines = { ONTO: Number(onto !== undefined), IN_PLACE: Number(inPlace), WORKGROUP: workgroup };
    return [{
      kernel: renderKernel({ name: "lookup", text }, defines),
      // The kernel subtracts modulo 2³².
      params: { size, width: width / 4, rows, first_row: attrs.firstRow >>> 0 },
      bindings: { index, table, ...(onto && !inPlace ? { onto } : {}), out },
      grid: linearGrid(size, workgroup),
    }];
  },
  inPlaceInput: ({ inputs }) => inputs.length === 3 ? 2 : -1,
};
