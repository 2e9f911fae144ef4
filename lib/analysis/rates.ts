/** Measures a device's speed with this library's own kernels, in a few seconds. */

import type { Gpu } from "../gpu/device.ts";
import { add } from "../graph/ops/binary.ts";
import { matmul } from "../graph/ops/product/product.ts";
import { streamOf, uniform } from "../graph/random.ts";
import { type RunInput, type RunTrace, type TracedRun, tracedRun } from "../run/traced_run.ts";

/** A device's speed. */
export interface Rates {
  /**
   * FLOPs per second in a matrix product, two per multiply-add: y = x Wᵀ of RoBERTa-base's feed-forward
   * layer.
   */
  readonly flopsPerSecond: number;
  /** Bytes read and written per second when adding two arrays too large for a cache. */
  readonly bytesPerSecond: number;
}

/** Least seconds per lap, and the seconds after which no more laps start. The best lap counts. */
const [lapSeconds, allSeconds] = [0.25, 1];

/** Tokens in the product and floats in an array: enough to keep a GPU busy and to exceed its cache. */
const [hardware, software] = [{ tokens: 2048, floats: 2 ** 24 }, { tokens: 512, floats: 2 ** 22 }];
const [width, inner] = [768, 3072];

/** Measures `gpu` in a few seconds. Throws what compilation and allocation throw. */
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

/** Seconds per run in the best lap. */
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
