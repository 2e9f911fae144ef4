/** Attention of new tokens over the keys and values of all tokens so far, which a cache holds. */

import text from "../../../wgsl/cached_attention.wgsl" with { type: "text" };
import { type DeviceTraits, renderKernel } from "../../gpu/kernel.ts";
import { describe, type Node, type Op, sizeOf, type Spec, type Tensor } from "../graph.ts";
import { type CacheExtents, hasParts, launchesOfParts, scratchOfParts } from "./cached_attention_parts.ts";
import { lanesOf } from "./layer_norm.ts";
import { isRotatable, rotatedBy } from "./rotary.ts";
import { checkFloats, checkMatrices } from "./shapes.ts";
import { checkCache, type KeysAndValues } from "./write_tokens.ts";

/** Options of `cachedAttention`. */
export interface CachedAttentionOptions {
  /** Texts in the cache. */
  readonly texts: number;
  /** Number of query heads. */
  readonly heads: number;
  /** Number of key and value heads, each shared by neighbouring query heads. */
  readonly kvHeads: number;
  /** Factor of the scores q·k. */
  readonly scale: number;
  /** How many tokens a token attends to, itself included; all by default. */
  readonly window?: number;
  /** Rotates the queries by their places on the way: a table (see `rotaryTable`) for heads of a multiple of 8 values. */
  readonly rotation?: Tensor;
}

/**
 * softmax(scale · q kᵀ) v for each head. q and the result: [texts·length, heads·headDim]; keys and values: [texts·capacity,
 * kvHeads·headDim], f32 or f16; places, u32, one for each row of q: a token sees the keys of its text up to its place. headDim is
 * a multiple of 4. No gradient. Throws an Error naming the shapes when they do not fit.
 */
export function cachedAttention(
  q: Tensor,
  { keys, values }: KeysAndValues,
  places: Tensor,
  { window = Infinity, rotation, ...options }: CachedAttentionOptions,
): Tensor {
  const inputs = [q, keys, values, places, ...rotation ? [rotation] : []];
  return q.node.graph.apply(cachedAttentionOp, inputs, { window, ...options })[0];
}

type Attrs = Required<Omit<CachedAttentionOptions, "rotation">>;

function extents([q, k]: readonly Spec[], { texts, heads }: Attrs) {
  return { headDim: q.shape[1] / heads, length: q.shape[0] / texts, capacity: k.shape[0] / texts };
}

/** The extents for kernels that take the keys in parts: those of GPUs, but for the widest heads. Else undefined. */
function inParts({ inputs, attrs }: Node<Attrs>, device: DeviceTraits): CacheExtents | undefined {
  const { headDim, capacity } = extents(inputs, attrs);
  const { heads, kvHeads } = attrs;
  const own = { rows: inputs[0].shape[0], heads, kvHeads, headDim, capacity };
  return !device.software && hasParts(own) ? own : undefined;
}

const cachedAttentionOp: Op<Attrs> = {
  name: "cachedAttention",
  storedInput: "any",
  wholeInputs: [3],
  infer(inputs, attrs) {
    const [q, k, v, places, rotation] = inputs;
    checkMatrices(q, k);
    checkFloats(q, ...rotation ? [rotation] : []);
    checkCache(k);
    const { headDim, length, capacity } = extents(inputs, attrs);
    const areWhole = [headDim / 4, length, capacity, attrs.heads / attrs.kvHeads].every(Number.isInteger);
    const fits = k.shape[1] === attrs.kvHeads * headDim && describe(v) === describe(k);
    if (!areWhole || !fits || sizeOf(places) !== q.shape[0]) {
      throw new Error(
        `q ${describe(q)} at places ${describe(places)} does not fit k ${describe(k)} and v ${
          describe(v)
        } of ${attrs.texts} ` +
          `texts, with ${attrs.heads} heads on ${attrs.kvHeads}`,
      );
    }
    if (rotation && !(rotation.shape[1] === headDim && isRotatable(q, { table: rotation, places }))) {
      throw new Error(
        `q ${describe(q)} is not heads, of a multiple of 8 values, that ${describe(rotation)} rotates`,
      );
    }
    return [{ shape: q.shape, dtype: "f32" }];
  },
  evaluate([unturned, k, v, places, rotation], { inputs, outputs: [out], attrs }) {
    const { heads, kvHeads, scale, window } = attrs;
    const { headDim, length, capacity } = extents(inputs, attrs);
    const q = rotation ? rotatedBy(rotation, places, headDim, heads * headDim, unturned) : unturned;
    const values = new Float64Array(sizeOf(out));
    for (let row = 0; row < places.length; row++) {
      const text = Math.floor(row / length);
      const end = Math.min(places[row] + 1, capacity);
      const first = Math.max(0, end - window);
      for (let head = 0; head < heads; head++) {
        const own = (row * heads + head) * headDim;
        const at = (j: number) =>
          ((text * capacity + j) * kvHeads + Math.floor(head * kvHeads / heads)) * headDim;
        const scores = Array.from({ length: end - first }, (_, j) => {
          let sum = 0;
          for (let c = 0; c < headDim; c++) sum += q[own + c] * k[at(first + j) + c];
          return sum * scale;
        });
        const top = Math.max(...scores);
        const shares = scores.map((score) => Math.exp(score - top));
        const total = shares.reduce((sum, share) => sum + share, 0);
        shares.forEach((share, j) => {
          for (let c = 0; c < headDim; c++) values[own + c] += share / total * v[at(first + j) + c];
        });
      }
    }
    return [values];
  },
  scratch(node, device) {
    const parts = inParts(node, device);
    return parts ? scratchOfParts(node, parts) : [];
  },
  dispatches(node, _, device) {
    const { inputs, outputs: [o], attrs } = node;
    const [q, k, v, places, table] = inputs;
    const { heads, kvHeads, scale, window } = attrs;
    const { headDim, length, capacity } = extents(inputs, attrs);
    const lanes = lanesOf(device);
    const isWindowed = window < capacity;
    const params = { length, capacity, heads, kv_heads: kvHeads, scale, ...isWindowed ? { window } : {} };
    const parts = inParts(node, device);
    if (parts) return launchesOfParts(node, parts, params);
    return [{
      kernel: renderKernel({ name: "cached_attention", text }, {
        QUADS: headDim / 4,
        DIMS: Math.ceil(headDim / 4 / lanes),
        WINDOW: Number(isWindowed),
        F16: Number(k.dtype === "f16"),
        ROTATE: Number(table !== undefined),
        WORKGROUP: lanes,
      }),
      params,
      bindings: { q, k, v, places, o, ...table ? { table } : {} },
      grid: [q.shape[0], heads, 1],
    }];
  },
};
