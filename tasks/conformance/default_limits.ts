/** Opens devices with no limit above those that every WebGPU device has. */

import { featuresOf, type Gpu, openGpu } from "../../lib/gpu/device.ts";

/** WebGPU's default limits, for those limits that kernels and buffers here could exceed. */
export const defaultLimits = {
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxBufferSize: 256 * 2 ** 20,
  maxComputeWorkgroupStorageSize: 16 * 2 ** 10,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBuffersPerShaderStage: 8,
} as const;

/**
 * Opens a device of `adapter` with WebGPU's default limits and the features that `openGpu` requests. Its kernels
 * are the usual ones, whatever is the fastest.
 */
export async function openAtDefaultLimits(adapter: GPUAdapter): Promise<Gpu> {
  const device = await adapter.requestDevice({ requiredFeatures: featuresOf(adapter) });
  return await openGpu({ device, autotune: false });
}

/** The device's values of the limits above. */
export function limitsOf({ device: { limits } }: Gpu): Record<keyof typeof defaultLimits, number> {
  const names = Object.keys(defaultLimits) as (keyof typeof defaultLimits)[];
  return Object.fromEntries(names.map((name) => [name, limits[name]])) as Record<
    keyof typeof defaultLimits,
    number
  >;
}
