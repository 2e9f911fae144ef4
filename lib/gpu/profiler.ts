/** Where a program's time goes: GPU timestamps around every dispatch, or wall time where the device has none. */

import type { Gpu } from "./device.ts";
import { type Dispatchable, encodePass, type Pass } from "./passes.ts";
import { nanosecondsPerTick, stampsOf } from "./timestamps.ts";

/** Time of one dispatch. */
export interface Timing {
  /** The dispatch. */
  readonly label: string;
  /** Its time on the GPU. */
  readonly milliseconds: number;
}

/** Passes per query set: WebGPU's limit is 4096 timestamps, two a pass. */
const batch = 2048;

/** Collects timings over one or more programs. */
export class Profile {
  /** In the order they ran. */
  readonly timings: Timing[] = [];
  /**
   * "timestamps", or "wall" where the device has none that can be used (each time then includes a wait for the GPU).
   */
  clock: "timestamps" | "wall" = "timestamps";

  /** @internal Runs the dispatches once, in order, timing each. */
  async run(gpu: Gpu, label: string, dispatches: readonly Dispatchable[]): Promise<void> {
    if (await nanosecondsPerTick(gpu) === undefined) this.clock = "wall";
    const passes = dispatches.map((dispatch) => ({ label: dispatch.label, dispatches: [dispatch] }));
    const times = await timePasses(gpu, label, passes);
    for (const [i, milliseconds] of times.entries()) {
      this.timings.push({ label: passes[i].label, milliseconds });
    }
  }
}

/**
 * Runs the passes in order and returns the milliseconds of each, by wall time (see `Profile.clock`) without
 * timestamps.
 */
export async function timePasses(gpu: Gpu, label: string, passes: readonly Pass[]): Promise<number[]> {
  const tick = await nanosecondsPerTick(gpu);
  if (tick === undefined) return await timeByWall(gpu, label, passes);
  const times: number[] = [];
  for (let start = 0; start < passes.length; start += batch) {
    const { ticks } = await stampsOf(gpu, label, passes.slice(start, start + batch));
    for (let i = 0; i < ticks.length; i += 2) times.push(Number(ticks[i + 1] - ticks[i]) * tick / 1e6);
  }
  return times;
}

async function timeByWall(gpu: Gpu, label: string, passes: readonly Pass[]): Promise<number[]> {
  const times: number[] = [];
  for (const { label: passLabel, dispatches } of passes) {
    const encoder = gpu.device.createCommandEncoder({ label });
    encodePass(encoder.beginComputePass({ label: passLabel }), dispatches);
    const start = performance.now();
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.device.queue.onSubmittedWorkDone();
    times.push(performance.now() - start);
  }
  return times;
}
