/** Describes this machine as far as a run's requirements depend on it. */

import { measureRates } from "../lib/analysis/rates.ts";
import { type Gpu, NoAdapterError, openGpu } from "../lib/gpu/device.ts";
import { type Room as DeviceRoom, roomOn } from "../lib/run/room.ts";
import type { TrainingEstimate } from "../lib/train/estimate.ts";
import { UsageError } from "./usage.ts";

/** The available room. */
export interface Room extends DeviceRoom {
  /** Where `memoryBytes` comes from, if it is known. */
  readonly memoryFrom?: string;
}

/** Opens the adapter; undefined if there is none. */
export async function findGpu(): Promise<Gpu | undefined> {
  try {
    return await openGpu();
  } catch (error) {
    if (error instanceof NoAdapterError) return undefined;
    throw error;
  }
}

/** The available room; `memory` is `--memory` in GiB, because WebGPU does not tell a GPU's memory. */
export function roomOf(gpu: Gpu | undefined, memory: string | undefined): Room {
  const room = gpu ? roomOn(gpu) : {};
  if (memory !== undefined) {
    return { ...room, memoryBytes: positive("memory", memory) * 2 ** 30, memoryFrom: "--memory" };
  }
  return room.memoryBytes === undefined ? room : { ...room, memoryFrom: "the host's that is free" };
}

/** What does not fit; empty if the run fits, as far as is known. */
export function misfits(
  { peakBytes, largestBuffer }: Pick<TrainingEstimate, "peakBytes" | "largestBuffer">,
  { bufferBytes = Infinity, memoryBytes = Infinity }: Room,
): ("buffer" | "memory")[] {
  return [
    ...largestBuffer.bytes > bufferBytes ? ["buffer" as const] : [],
    ...peakBytes > memoryBytes ? ["memory" as const] : [],
  ];
}

/** FLOPs per second: from `--rate` in TFLOP/s, otherwise measured; undefined without either. */
export async function rateOf(gpu: Gpu | undefined, rate: string | undefined): Promise<number | undefined> {
  if (rate !== undefined) return positive("rate", rate) * 1e12;
  return gpu && (await measureRates(gpu)).flopsPerSecond;
}

/** The value of `--name`. Throws a UsageError unless it is above 0. */
export function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new UsageError(`--${name} wants a number above 0, not "${text}"`);
}
