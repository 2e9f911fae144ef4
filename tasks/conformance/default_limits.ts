/** Devices that ask for no limit beyond the ones every WebGPU device has. */

import { featuresOf, type Gpu, openGpu } from "../../lib/gpu/device.ts";

/** The smallest limits that WebGPU lets a device have, of those that kernels and buffers here could pass. */
export const defaultLimits = {
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxBufferSize: 256 * 2 ** 20,
  maxComputeWorkgroupStorageSize: 16 * 2 ** 10,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBuffersPerShaderStage: 8,
} as const;

/** The device of `adapter` at WebGPU's default limits, with the features that `openGpu` asks for. */
export async function openAtDefaultLimits(adapter: GPUAdapter): Promise<Gpu> {
  return await openGpu({ device: await adapter.requestDevice({ requiredFeatures: featuresOf(adapter) }) });
}

/** The device's limits by the names above. */
export function limitsOf({ device: { limits } }: Gpu): Record<keyof typeof defaultLimits, number> {
  const names = Object.keys(defaultLimits) as (keyof typeof defaultLimits)[];
  return Object.fromEntries(names.map((name) => [name, limits[name]])) as Record<
    keyof typeof defaultLimits,
    number
  >;
}
