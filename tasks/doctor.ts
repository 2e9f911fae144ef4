/** `deno task doctor`: the adapter Deno finds, its limits and features; exits 1 with the fix when there is none. */

import { parseArgs } from "node:util";
import { openGpu } from "../lib/gpu/device.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: { json: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
});

if (values.help) {
  console.log(
    "deno task doctor [--json]\n\nPrints the WebGPU adapter, its limits and features; exits 1 when there is none.",
  );
  Deno.exit(0);
}

try {
  using gpu = await openGpu();
  const { limits, features } = gpu.device;
  const report = {
    adapter: gpu.adapter.name,
    software: gpu.adapter.software,
    runtime: `Deno ${Deno.version.deno}`,
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    timestamps: features.has("timestamp-query"),
  };
  if (values.json) console.log(JSON.stringify(report));
  else for (const [name, value] of Object.entries(report)) console.log(`${name.padEnd(34)}${value}`);
} catch (error) {
  console.error((error as Error).message);
  Deno.exit(1);
}
