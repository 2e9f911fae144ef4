/**
 * A device that computes nothing and counts the memory it is asked for. A trainer builds its programs on it
 * as on any other device, so the count comes from the trainer itself and not from a formula. Reads return
 * zeros. It has no limits; compare the count with a device's limits afterwards.
 */

import { Gpu } from "./device.ts";
import { type DeviceTraits, plainDevice } from "./kernel.ts";

/** A buffer that was created. */
export interface CountedBuffer {
  /** Its purpose, such as `arena 0` for the largest of the buffers shared by intermediate results. */
  readonly label: string;
  /** Its size. */
  readonly bytes: number;
}

/** A dry run: the device and the buffers it was asked for. */
export interface DryRun extends Disposable {
  /** Its `memory.peakBytes` are those of a run on a device with the same traits. */
  readonly gpu: Gpu;
  /** The largest buffer so far. */
  largest(): CountedBuffer;
}

/** Starts a dry run for a device with these traits, by which kernels are chosen. */
export function dryRun(traits: DeviceTraits = plainDevice): DryRun {
  let largest: CountedBuffer = { label: "none", bytes: 0 };
  const device = countingDevice((buffer) => {
    if (buffer.bytes > largest.bytes) largest = buffer;
  });
  const gpu = new Gpu(device, { description: "dry run" } as GPUAdapterInfo, traits);
  return { gpu, largest: () => largest, [Symbol.dispose]: () => gpu[Symbol.dispose]() };
}

const nothing = () => {};

/** The part of WebGPU that `Gpu`, the pipelines and the programs use. */
function countingDevice(onBuffer: (buffer: CountedBuffer) => void): GPUDevice {
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, finish: nothing };
  const limits = {
    maxBufferSize: Infinity,
    maxStorageBufferBindingSize: Infinity,
    maxStorageBuffersPerShaderStage: Infinity,
    maxComputeInvocationsPerWorkgroup: Infinity,
    maxComputeWorkgroupStorageSize: Infinity,
  };
  const device = {
    limits,
    features: new Set(),
    lost: new Promise(nothing),
    queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: () => Promise.resolve() },
    addEventListener: nothing,
    pushErrorScope: nothing,
    popErrorScope: () => Promise.resolve(null),
    createBuffer({ label = "", size }: GPUBufferDescriptor) {
      onBuffer({ label, bytes: size });
      return emptyBuffer(label, size);
    },
    createCommandEncoder: () => encoder,
    createShaderModule: nothing,
    createBindGroupLayout: nothing,
    createPipelineLayout: nothing,
    createComputePipelineAsync: () => Promise.resolve(),
    createBindGroup: nothing,
  };
  return device as unknown as GPUDevice;
}

/** A buffer without memory. */
function emptyBuffer(label: string, size: number) {
  return {
    label,
    size,
    mapState: "unmapped",
    mapAsync() {
      this.mapState = "mapped";
      return Promise.resolve();
    },
    // New zeros take no host memory until they are written to; a copy of zeros does.
    getMappedRange: () => ({ slice: (from: number, to: number) => new ArrayBuffer(to - from) }),
    unmap: nothing,
    destroy: nothing,
  };
}
