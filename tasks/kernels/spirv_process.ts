/**
 * A process of `spirv.ts`: makes the pipelines of the kernels that standard input lists, on llvmpipe below the
 * layer of `spirv_layer.c`, which writes each one's SPIR-V. Prints why kernels were refused, by file.
 */

import { openGpu } from "../../lib/gpu/device.ts";
import type { Kernel } from "../../lib/gpu/kernel.ts";
import { PipelineCache } from "../../lib/gpu/pipelines.ts";

/** The variable that names the layer's file. */
const fileVariable = "BORA_SPIRV_FILE";

const kernels: readonly [path: string, kernel: Kernel][] = await new Response(Deno.stdin.readable).json();
using gpu = await openGpu();
const pipelines = new PipelineCache(gpu.device);
const refusals: [path: string, message: string][] = [];
for (const [path, kernel] of kernels) {
  Deno.env.set(fileVariable, path);
  try {
    await pipelines.get(kernel);
  } catch (error) {
    refusals.push([path, (error as Error).message]);
  }
  Deno.env.delete(fileVariable);
}
console.log(JSON.stringify(refusals));
