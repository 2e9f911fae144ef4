/** How a decoder's weights lie on the GPU: in which packing, and tables in which parts. */

import {
  packedStorage,
  type Packing,
  type WritablePacking,
  writableStorage,
} from "../graph/storages/registry.ts";
import { decoderTables } from "./llama.ts";
import { type TablePart, tableParts } from "./stored_weight.ts";

/**
 * The packing of tables in a model that is packed otherwise: 8 bits at least, because the logits are products with a table and
 * rounding them costs more than rounding a layer.
 */
function tablePacking(packing: WritablePacking): WritablePacking {
  if (packing === "int4") return "int8";
  return /^q[45]/.test(packing) ? "q8_0" : packing;
}

/**
 * The packing of a weight in a model that is packed as `asked`; undefined for one that stays dense. Throws an Error for a
 * packing that only files have.
 */
export function packingFor(
  name: string,
  shape: readonly number[],
  asked: WritablePacking | undefined,
): WritablePacking | undefined {
  if (!asked || shape.length !== 2) return undefined;
  if (!decoderTables.includes(name)) return asked;
  const packing = tablePacking(asked);
  return writableStorage(packing).refusal(shape) ? undefined : packing;
}

/** Parts of a packed table begin at such rows, so that all packings' groups do. */
const rowsAtOnce = 64;

/** A table in parts of its rows that every device can bind; other weights whole. */
export function partsFor(
  name: string,
  shape: readonly number[],
  packing: Packing | undefined,
): readonly TablePart[] {
  if (!decoderTables.includes(name)) return [{ name, from: 0, to: shape[0] }];
  return tableParts(name, shape, packing && { bits: packedStorage(packing).bits, rowsAtOnce });
}
