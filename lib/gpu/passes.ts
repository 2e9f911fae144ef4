/** Passes of dispatches, and how many go to the GPU in one submit. */

import type { Grid } from "./kernel.ts";

/** A dispatch of a program. */
export interface Dispatchable {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: Grid;
  /** As in a graph's `Dispatch`. */
  readonly multiplyAdds?: number;
}

/** Dispatches that run, or are timed, together. */
export interface Pass {
  readonly label: string;
  readonly dispatches: readonly Dispatchable[];
}

/**
 * The multiply-adds of a submit, beyond which what comes next begins another: half a second at 0.5 TFLOP/s.
 * Systems reset a GPU whose submit takes too long: Windows after 2 seconds (TdrDelay), Linux's amdgpu after 10
 * (lockup_timeout).
 */
export const submitWork = 1.25e11;

/** What has work, in order, by submit; one submit of nothing if there is none. */
export function inSubmits<T extends Pick<Dispatchable, "multiplyAdds">>(all: readonly T[]): T[][] {
  const submits: T[][] = [[]];
  let work = 0;
  for (const own of all) {
    const { multiplyAdds = 0 } = own;
    if (work > 0 && work + multiplyAdds > submitWork) {
      submits.push([]);
      work = 0;
    }
    submits.at(-1)!.push(own);
    work += multiplyAdds;
  }
  return submits;
}

/** The passes, in order, by submit. */
export function passesInSubmits(passes: readonly Pass[]): Pass[][] {
  return inSubmits(passes.map((pass) => ({
    ...pass,
    multiplyAdds: pass.dispatches.reduce((sum, { multiplyAdds = 0 }) => sum + multiplyAdds, 0),
  })));
}

/** Records the dispatches, and ends the pass. */
export function encodePass(pass: GPUComputePassEncoder, dispatches: readonly Dispatchable[]): void {
  let current: GPUComputePipeline | undefined;
  for (const { pipeline, group, grid } of dispatches) {
    if (pipeline !== current) pass.setPipeline(current = pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  }
  pass.end();
}
