/** The keys and values of new tokens into the cache of all tokens so far. */

import text from "../../../wgsl/write_tokens.wgsl" with { type: "text" };
import { linearGrid, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Dispatch, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { isRotatable, rotatedBy, type Rotation } from "./rotary.ts";
import { checkFloats, checkMatrices } from "./shapes.ts";

/** Keys and values: of new tokens, or of all. */
export interface KeysAndValues {
  /** [tokens, kvHeads·headDim]. */
  readonly keys: Tensor;
  /** Like the keys. */
  readonly values: Tensor;
}

/**
 * `cache` with the tokens of each text put in from place `at` on; keys are rotated first if there is a rotation, whose heads are of a
 * multiple of 8 values. cache: [texts·capacity, n] each, f32 or f16; tokens: [texts·length, n] each, n a multiple of 8; at: [texts]
 * u32. Tokens beyond the capacity are left out. As the updates of two states they are written in place. No gradient.
 * @throws Error naming the shapes when they do not fit.
 */
export function writeTokens(
  cache: KeysAndValues,
  { keys, values }: KeysAndValues,
  at: Tensor,
  rotation?: Rotation,
): KeysAndValues {
  const turned = rotation ? [rotation.table, rotation.places] : [];
  const inputs = [cache.keys, cache.values, keys, values, at, ...turned];
  const [allKeys, allValues] = at.node.graph.apply(writeTokensOp, inputs, undefined);
  return { keys: allKeys, values: allValues };
}

const workgroup = 64;

function extents([cache, , keys, , at]: readonly Spec[]) {
  const texts = sizeOf(at);
  return { width: keys.shape[1], length: keys.shape[0] / texts, capacity: cache.shape[0] / texts };
}

/** Throws an Error unless the keys or values of a cache are of a type that its kernels read. */
export function checkCache(cache: Spec): void {
  if (cache.dtype === "f32" || cache.dtype === "f16") return;
  throw new Error(`the cache is ${describe(cache)}: use f32 or f16`);
}

const writeTokensOp: Op<undefined> = {
  name: "writeTokens",
  storedInput: "any",
  wholeInputs: [4, 6],
  infer(inputs) {
    const [keys, values, newKeys, newValues, at, table, places] = inputs;
    checkMatrices(keys, newKeys);
    checkCache(keys);
    checkFloats(newKeys, newValues, ...table ? [table] : []);
    const { width, length, capacity } = extents(inputs);
    const areAlike = describe(keys) === describe(values) && newKeys.shape.join() === newValues.shape.join();
    const fits = keys.shape[1] === width && width % 8 === 0 && [length, capacity].every(Number.isInteger);
    if (!areAlike || !fits) {
      throw new Error(
        `keys ${describe(newKeys)} and values ${describe(newValues)} at ${
          describe(at)
        } do not fit the cache ${describe(keys)} and ${describe(values)}`,
      );
    }
    if (table && !isRotatable(newKeys, { table, places })) {
      throw new Error(
        `rows of ${describe(newKeys)} at places ${
          describe(places)
        } are not heads, of a multiple of 8 values, of ${describe(table)}`,
      );
    }
    return [keys, values].map(({ shape, dtype }) => ({ shape, dtype }));
  },
  evaluate([allKeys, allValues, keys, values, at, table, places], { inputs }) {
    const { width, length, capacity } = extents(inputs);
    const turned = table ? rotatedBy(table, places, inputs[5].shape[1], width, keys) : keys;
    const rounded = inputs[0].dtype === "f16"
      ? (value: number) => Math.f16round(value)
      : (value: number) => value;
    const written = (cache: Float64Array, rows: Float64Array) => {
      const out = cache.slice();
      at.forEach((first, text) => {
        for (let t = 0; t < Math.min(length, capacity - first); t++) {
          const from = (text * length + t) * width;
          out.set(rows.subarray(from, from + width).map(rounded), (text * capacity + first + t) * width);
        }
      });
      return out;
    };
    return [written(allKeys, turned), written(allValues, values)];
  },
  dispatches({ inputs, outputs }, inPlace) {
    const [beforeKeys, beforeValues, keys, values, at, table, places] = inputs;
    const { width, length, capacity } = extents(inputs);
    const half = (table ? table.shape[1] : width) / 8;
    const size = sizeOf(keys) / 8;
    const kernel = (defines: { COPY: number; ROTATE: number }) =>
      renderKernel({ name: "write_tokens", text }, {
        F16: Number(beforeKeys.dtype === "f16"),
        ...defines,
        WORKGROUP: workgroup,
      });
    const copy = (before: Tensor, after: Tensor): Dispatch => ({
      kernel: kernel({ COPY: 1, ROTATE: 0 }),
      params: { size: sizeOf(before) / 4 },
      bindings: { before, after },
      grid: linearGrid(sizeOf(before) / 4, workgroup),
    });
    return [
      ...inPlace ? [] : [copy(beforeKeys, outputs[0]), copy(beforeValues, outputs[1])],
      {
        kernel: kernel({ COPY: 0, ROTATE: Number(table !== undefined) }),
        params: { size, heads: width / 8 / half, half, length, capacity },
        bindings: {
          keys,
          values,
          at,
          all_keys: outputs[0],
          all_values: outputs[1],
          ...table ? { table, places } : {},
        },
        grid: linearGrid(size, workgroup),
      },
    ];
  },
  overwrites: () => [0, 1],
};
