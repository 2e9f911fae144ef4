/** Where a program's time goes: GPU timestamps around every dispatch, or wall time where the device has none. */

import type { Gpu } from "./device.ts";
import type { Grid } from "./kernel.ts";

/** Time of one dispatch. */
export interface Timing {
  /** The dispatch. */
  readonly label: string;
  /** Its time on the GPU. */
  readonly milliseconds: number;
}

interface Dispatchable {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: Grid;
}

/** Dispatches that are timed together. */
export interface Pass {
  readonly label: string;
  readonly dispatches: readonly Dispatchable[];
}

/** Passes per query set: WebGPU's limit is 4096 timestamps, two a pass. */
const batch = 2048;

/** Collects timings over one or more programs. */
export class Profile {
  /** In the order they ran. */
  readonly timings: Timing[] = [];
  /**
   * "timestamps", or "wall" where the device has no timestamp queries (each time then includes a wait for the
   * GPU).
   */
  clock: "timestamps" | "wall" = "timestamps";

  /** @internal Runs the dispatches once, in order, timing each. */
  async run(gpu: Gpu, label: string, dispatches: readonly Dispatchable[]): Promise<void> {
    if (!hasTimestamps(gpu)) this.clock = "wall";
    const passes = dispatches.map((dispatch) => ({ label: dispatch.label, dispatches: [dispatch] }));
    const times = await timePasses(gpu, label, passes);
    for (const [i, milliseconds] of times.entries()) {
      this.timings.push({ label: passes[i].label, milliseconds });
    }
  }
}

function hasTimestamps(gpu: Gpu): boolean {
  return gpu.device.features.has("timestamp-query");
}

/**
 * Runs the passes in order and returns the milliseconds of each, by wall time (see `Profile.clock`) without
 * timestamps.
 */
export async function timePasses(gpu: Gpu, label: string, passes: readonly Pass[]): Promise<number[]> {
  if (!hasTimestamps(gpu)) return await timeByWall(gpu, label, passes);
  const times: number[] = [];
  for (let start = 0; start < passes.length; start += batch) {
    times.push(...await timeByTimestamps(gpu, label, passes.slice(start, start + batch)));
  }
  return times;
}

async function timeByTimestamps(gpu: Gpu, label: string, passes: readonly Pass[]): Promise<number[]> {
  const queries = gpu.device.createQuerySet({ label, type: "timestamp", count: passes.length * 2 });
  const bytes = passes.length * 16;
  const resolved = gpu.createBuffer(
    `${label} timestamps`,
    bytes,
    GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  );
  const encoder = gpu.device.createCommandEncoder({ label });
  for (const [i, { label, dispatches }] of passes.entries()) {
    const timestampWrites = {
      querySet: queries,
      beginningOfPassWriteIndex: 2 * i,
      endOfPassWriteIndex: 2 * i + 1,
    };
    encodePass(encoder.beginComputePass({ label, timestampWrites }), dispatches);
  }
  encoder.resolveQuerySet(queries, 0, passes.length * 2, resolved, 0);
  gpu.device.queue.submit([encoder.finish()]);
  const stamps = new BigUint64Array(await gpu.read(resolved, bytes));
  queries.destroy();
  gpu.destroyBuffer(resolved);
  return passes.map((_, i) => Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6);
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

function encodePass(pass: GPUComputePassEncoder, dispatches: readonly Dispatchable[]): void {
  for (const { pipeline, group, grid } of dispatches) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  }
  pass.end();
}
