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

/** Timestamps per query set: WebGPU's limit is 4096, two a dispatch. */
const batch = 2048;

/** Collects timings over one or more programs. */
export class Profile {
  /** In the order they ran. */
  readonly timings: Timing[] = [];
  /** "timestamps", or "wall" where the device has no timestamp queries (each time then includes a ≥ 10 ms wait). */
  clock: "timestamps" | "wall" = "timestamps";

  /** @internal Runs the dispatches once, in order, timing each. */
  async run(gpu: Gpu, label: string, dispatches: readonly Dispatchable[]): Promise<void> {
    if (!gpu.device.features.has("timestamp-query")) return await this.#runByWallTime(gpu, label, dispatches);
    for (let start = 0; start < dispatches.length; start += batch) {
      await this.#runByTimestamps(gpu, label, dispatches.slice(start, start + batch));
    }
  }

  async #runByTimestamps(gpu: Gpu, label: string, dispatches: readonly Dispatchable[]): Promise<void> {
    const queries = gpu.device.createQuerySet({ label, type: "timestamp", count: dispatches.length * 2 });
    const bytes = dispatches.length * 16;
    const resolved = gpu.createBuffer(
      `${label} timestamps`,
      bytes,
      GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    );
    const encoder = gpu.device.createCommandEncoder({ label });
    for (const [i, dispatch] of dispatches.entries()) {
      const pass = encoder.beginComputePass({
        label: dispatch.label,
        timestampWrites: {
          querySet: queries,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      encodeOne(pass, dispatch);
    }
    encoder.resolveQuerySet(queries, 0, dispatches.length * 2, resolved, 0);
    gpu.device.queue.submit([encoder.finish()]);
    const stamps = new BigUint64Array(await gpu.read(resolved, bytes));
    for (const [i, { label }] of dispatches.entries()) {
      this.timings.push({ label, milliseconds: Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e6 });
    }
    queries.destroy();
    gpu.destroyBuffer(resolved);
  }

  async #runByWallTime(gpu: Gpu, label: string, dispatches: readonly Dispatchable[]): Promise<void> {
    this.clock = "wall";
    for (const dispatch of dispatches) {
      const encoder = gpu.device.createCommandEncoder({ label });
      encodeOne(encoder.beginComputePass({ label: dispatch.label }), dispatch);
      const start = performance.now();
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.device.queue.onSubmittedWorkDone();
      this.timings.push({ label: dispatch.label, milliseconds: performance.now() - start });
    }
  }
}

function encodeOne(pass: GPUComputePassEncoder, { pipeline, group, grid }: Dispatchable): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  pass.end();
}
