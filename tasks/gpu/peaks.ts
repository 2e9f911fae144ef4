/**
 * `peaks.ts FILE`: the rates that a device's work is held against, each by a small kernel that does nothing else, as
 * JSON in a file.
 */

import * as v from "npm:valibot@1.5.0";
import { readJson, writeWhole } from "../../lib/files.ts";
import { type Gpu, openGpu } from "../../lib/gpu/device.ts";
import { linearGrid, renderKernel } from "../../lib/gpu/kernel.ts";
import { buildProgram, type Call, Program } from "../../lib/gpu/program.ts";
import { runCommand } from "../usage.ts";
import copyText from "./copy.wgsl" with { type: "text" };
import fmaText from "./fma.wgsl" with { type: "text" };

const positive = v.pipe(v.number(), v.finite(), v.minValue(0));

const peaksSchema = v.object({
  /** FLOPs a second in f32, two a multiply-add. */
  flopsPerSecond: positive,
  /** Bytes a second, read and written, when copying more than a cache holds. */
  bytesPerSecond: positive,
  /** Microseconds that a dispatch of one workgroup takes among others like it. */
  dispatchMicroseconds: positive,
  /** Milliseconds of submitting next to nothing and reading four bytes back. */
  readMilliseconds: positive,
});

/** What a device does at most. */
export type Peaks = v.InferOutput<typeof peaksSchema>;

/** Reads what `peaks.ts` wrote. Throws an Error that names the file and the field that is wrong. */
export async function readPeaks(path: string): Promise<Peaks> {
  return await readJson(path, peaksSchema);
}

/** Enough to fill a device, an array beyond its caches, and dispatches enough to time. */
const sizes = {
  hardware: { groups: 16384, rounds: 512, arrayBytes: 2 ** 28, dispatches: 1000 },
  software: { groups: 64, rounds: 512, arrayBytes: 2 ** 25, dispatches: 50 },
} as const;

/** Laps of a measurement, of which the best counts, and the milliseconds of a lap at least. */
const [laps, lapMilliseconds] = [5, 50];

/** Seconds that `calls` take. */
async function secondsOf(gpu: Gpu, label: string, calls: readonly Call[]): Promise<number> {
  using program = await buildProgram(gpu, label, calls);
  const [once] = await Program.timeInTurn(gpu, [program, program], 1);
  const repeats = Math.ceil(Math.min(1000, lapMilliseconds / Math.max(once, 1e-3)));
  let best = Infinity;
  for (let lap = 0; lap < laps; lap++) {
    const [milliseconds] = await Program.timeInTurn(gpu, [program], repeats);
    best = Math.min(best, milliseconds / repeats);
  }
  return best / 1000;
}

/** Measures `gpu` in a few seconds. */
export async function measurePeaks(gpu: Gpu): Promise<Peaks> {
  const { groups, rounds, arrayBytes, dispatches } = sizes[gpu.adapter.software ? "software" : "hardware"];
  const bytes = Math.min(
    arrayBytes,
    gpu.device.limits.maxStorageBufferBindingSize,
    gpu.device.limits.maxBufferSize,
  );
  using owned = new DisposableStack();
  const view = (label: string) => ({
    buffer: owned.adopt(gpu.createBuffer(label, bytes), (own) => gpu.destroyBuffer(own)),
    offset: 0,
    bytes,
  });
  const [a, out] = [view("a"), view("out")];
  const fma = (rounds: number, groups: number): Call => ({
    label: "fma",
    kernel: renderKernel({ name: "fma", text: fmaText }),
    params: { rounds, factor: 0.999, addend: 1e-3 },
    views: { out },
    grid: [groups, 1, 1],
  });
  const copy: Call = {
    label: "copy",
    kernel: renderKernel({ name: "copy", text: copyText }),
    params: {},
    views: { a, out },
    grid: linearGrid(bytes / 16, 256),
  };
  const tiny = await secondsOf(gpu, "tiny", Array.from({ length: dispatches }, () => fma(0, 1)));
  return {
    flopsPerSecond: 2 * 32 * rounds * 256 * groups / await secondsOf(gpu, "fma", [fma(rounds, groups)]),
    bytesPerSecond: 2 * bytes / await secondsOf(gpu, "copy", [copy]),
    dispatchMicroseconds: tiny / dispatches * 1e6,
    readMilliseconds: await readMilliseconds(gpu, out.buffer),
  };
}

async function readMilliseconds(gpu: Gpu, buffer: GPUBuffer): Promise<number> {
  let best = Infinity;
  for (let lap = 0; lap < laps; lap++) {
    const start = performance.now();
    await gpu.read(buffer, 4);
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

if (import.meta.main) {
  await runCommand(async () => {
    using gpu = await openGpu();
    await writeWhole(Deno.args[0], `${JSON.stringify(await measurePeaks(gpu), undefined, 1)}\n`);
  });
}
