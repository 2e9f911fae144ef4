/**
 * Loads the model in a folder onto the GPU, packed as int8 if there is a second argument `int8`, and prints, as JSON, how much host memory that took. Runs in its
 * own process, for `host_memory_test.ts`.
 */

import { openGpu } from "../../lib/gpu/device.ts";
import { loadModel } from "../../lib/models/load_model.ts";
import { processStatus } from "../../lib/report/process_status.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";

/** What it prints. */
export interface MemoryOfLoading {
  /** Of all weights on the GPU. */
  readonly gpuBytes: number;
  /**
   * The largest growth of the process's memory, without the buffers of a software driver, which are part of
   * it.
   */
  readonly hostBytes: number;
}

if (import.meta.main) {
  using gpu = await openGpu();
  const { residentBytes } = processStatus();
  const [folder, packing] = Deno.args;
  const model = await loadModel(folder, { packing: packing === "int8" ? packing : undefined });
  using _frozen = FrozenWeights.forTraining(gpu, model);
  await gpu.settled();
  const gpuBytes = gpu.memory.bytes;
  const grown = processStatus().peakResidentBytes - residentBytes;
  console.log(JSON.stringify({ gpuBytes, hostBytes: grown - (gpu.adapter.software ? gpuBytes : 0) }));
}
