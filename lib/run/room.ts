/** Whether a model's weights have room on a device, reckoned from their sizes before anything is uploaded. */

import type { Gpu } from "../gpu/device.ts";
import { packedStorage, type Packing, type WritablePacking } from "../graph/storages/registry.ts";
import { packingFor } from "../models/decoder_storage.ts";
import { type Model, scalesOf } from "../models/model.ts";
import { storedLengths } from "../models/packing.ts";
import { tableOf } from "../models/stored_weight.ts";
import { bytesText } from "../show.ts";

/** The room on a device; a field is undefined if it is unknown. */
export interface Room {
  /** The largest buffer that the device can create and bind. */
  readonly bufferBytes?: number;
  /** Memory for all buffers. */
  readonly memoryBytes?: number;
}

/** The room on `gpu`. Memory is known of a software driver alone, where it is the machine's that is free: WebGPU tells no GPU's. */
export function roomOn({ device: { limits }, adapter }: Gpu): Room {
  return {
    bufferBytes: Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    memoryBytes: adapter.software ? freeMemory() : undefined,
  };
}

/** The machine's free memory; undefined in a browser, and for a program that may not know it. */
function freeMemory(): number | undefined {
  if (typeof Deno === "undefined") return undefined;
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted" ? Deno.systemMemoryInfo().available : undefined;
}

/** A buffer's name and bytes. */
type Sized = readonly [name: string, bytes: number];

/** The buffers of a model's weights, as they are or with its matrices packed otherwise. */
export function weightBuffers(
  { weights, packed = new Map(), constants, linears, language }: Model,
  packing?: WritablePacking,
): Sized[] {
  const layers = new Set(linears.filter(({ perText }) => !perText).map(({ path }) => `${path}.weight`));
  const other = (name: string, shape: readonly number[]) => {
    if (!layers.has(name) && !language) return undefined;
    const own = packingFor(tableOf(name), shape, packing);
    return own && packedStorage(own).refusal(shape) === undefined ? own : undefined;
  };
  const sized = (name: string, shape: readonly number[], as: Packing): Sized[] => {
    const { words, scales } = storedLengths({ shape, packing: as });
    return [[name, 4 * words], ...scales > 0 ? [[scalesOf(name), 4 * scales] as const] : []];
  };
  const dense = (shape: readonly number[]) => 4 * shape.reduce((product, extent) => product * extent, 1);
  return [
    ...[...weights].flatMap(([name, { shape }]): Sized[] => {
      const as = other(name, shape);
      return as ? sized(name, shape, as) : [[name, dense(shape)]];
    }),
    ...[...packed].flatMap(([name, own]) => sized(name, own.shape, other(name, own.shape) ?? own.packing)),
    ...[...constants].map(([name, { shape }]): Sized => [name, dense(shape)]),
  ];
}

/** What of the buffers has no room, in words; undefined if all do, as far as is known. */
function shortageOf(buffers: readonly Sized[], { bufferBytes, memoryBytes }: Room): string | undefined {
  const [name, largest] = buffers.reduce((top, own) => own[1] > top[1] ? own : top);
  if (bufferBytes !== undefined && largest > bufferBytes) {
    return `"${name}" takes ${bytesText(largest)}, and the device binds at most ${bytesText(bufferBytes)}`;
  }
  const all = buffers.reduce((sum, [, bytes]) => sum + bytes, 0);
  if (memoryBytes !== undefined && all > memoryBytes) {
    return `its weights take ${bytesText(all)}, and ${bytesText(memoryBytes)} of memory are free`;
  }
  return undefined;
}

/** What a model that is too large may be packed as, the most exact first. */
const ways: readonly WritablePacking[] = ["f16", "int8", "int4"];

/**
 * Throws an Error when the weights of `model` alone have no room: what is wanted, what there is, and the most exact packing that
 * fits. Reads no values.
 */
export function checkRoom(model: Model, room: Room): void {
  const shortage = shortageOf(weightBuffers(model), room);
  if (!shortage) return;
  const way = ways.find((packing) => !shortageOf(weightBuffers(model, packing), room));
  const all = (packing: WritablePacking) =>
    bytesText(weightBuffers(model, packing).reduce((sum, [, bytes]) => sum + bytes, 0));
  throw new Error(
    `${model.name} does not fit: ${shortage}. ` +
      (way
        ? `Packed as ${way} it takes ${
          all(way)
        } and fits: load it with packing: "${way}" (--packing ${way} of the commands)`
        : `Not even packed as int4, in ${
          all("int4")
        }, does it fit: take a smaller model or a larger machine`),
  );
}
