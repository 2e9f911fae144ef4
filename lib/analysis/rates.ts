/** How fast a device is, measured with this library's own kernels in a few seconds. */

import type { Gpu } from "../gpu/device.ts";
import { add } from "../graph/ops/binary.ts";
import { matmul } from "../graph/ops/matmul.ts";
import { streamOf, uniform } from "../graph/random.ts";
import { type RunInput, type RunTrace, type TracedRun, tracedRun } from "../graph/traced_run.ts";

/** What a device does a second. */
export interface Rates {
  /** FLOPs of a product, two a multiply-add: y = x Wᵀ of RoBERTa-base's feed-forward layer. */
  readonly flopsPerSecond: number;
  /** Bytes read and written in adding two arrays too large for a cache. */
  readonly bytesPerSecond: number;
}

/** How long a lap is to take at least, and all of them at most but for one; the best counts. */
const [lapSeconds, allSeconds] = [0.25, 1];

/** Tokens of the product and floats of an array: enough to fill a GPU and more than its cache holds. */
const [hardware, software] = [{ tokens: 2048, floats: 2 ** 24 }, { tokens: 512, floats: 2 ** 22 }];
const [width, inner] = [768, 3072];

/** Measures `gpu`: a few seconds. Throws what compilation and allocation throw. */
export async function measureRates(gpu: Gpu): Promise<Rates> {
  const { tokens, floats } = gpu.adapter.software ? software : hardware;
  const product = await secondsOf(
    gpu,
    { x: random("x", [tokens, width]), w: random("w", [inner, width]) },
    ({ x, w }) => [matmul(x, w, { transposeB: true })],
  );
  const array = { shape: [floats], data: new Float32Array(floats).fill(1) };
  const sum = await secondsOf(gpu, { a: array, b: array }, ({ a, b }) => [add(a, b)]);
  return { flopsPerSecond: 2 * tokens * width * inner / product, bytesPerSecond: 12 * floats / sum };
}

function random(name: string, shape: readonly number[]): RunInput {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { shape, data: uniform(0, streamOf(name), size, 1) };
}

/** Seconds a run, in the best lap. */
async function secondsOf(
  gpu: Gpu,
  inputs: Readonly<Record<string, RunInput>>,
  trace: RunTrace,
): Promise<number> {
  const run = await tracedRun(gpu, inputs, trace);
  try {
    await run.lap(1);
    let [runs, best, all] = [1, Infinity, 0];
    while (all < allSeconds) {
      const seconds = await secondsALap(run, runs);
      all += seconds;
      best = Math.min(best, seconds / runs);
      if (seconds < lapSeconds) runs *= 2;
    }
    return best;
  } finally {
    run.dispose();
  }
}

async function secondsALap(run: TracedRun, runs: number): Promise<number> {
  const start = performance.now();
  await run.lap(runs);
  return (performance.now() - start) / 1000;
}
