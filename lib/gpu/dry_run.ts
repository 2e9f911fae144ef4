/**
 * A device that computes nothing and counts what it is asked to hold: a trainer builds its programs on it as on any other, so
 * that the bytes it will need are its own and not a formula's. Reads give zeros. It has no limits; compare them afterwards.
 */

import { Gpu } from "./device.ts";
import { type DeviceTraits, plainDevice } from "./kernel.ts";

/** A buffer that was asked for. */
export interface CountedBuffer {
  /** What it holds, such as `arena 0` for the largest of the buffers that intermediate results share. */
  readonly label: string;
  /** Its size. */
  readonly bytes: number;
}

/** A dry run: the device, and what it was asked for. */
export interface DryRun extends Disposable {
  /** Its `memory.peakBytes` are those of a run on a device with the same traits. */
  readonly gpu: Gpu;
  /** The largest buffer so far. */
  largest(): CountedBuffer;
}

/** Begins a dry run for a device of these traits, which kernels are chosen by. */
export function dryRun(traits: DeviceTraits = plainDevice): DryRun {
  let largest: CountedBuffer = { label: "none", bytes: 0 };
  const device = countingDevice((buffer) => {
    if (buffer.bytes > largest.bytes) largest = buffer;
  });
  const gpu = new Gpu(device, { description: "dry run" } as GPUAdapterInfo, traits);
  return { gpu, largest: () => largest, [Symbol.dispose]: () => gpu[Symbol.dispose]() };
}

const nothing = () => {};

/** As much of WebGPU as `Gpu`, the pipelines and the programs call. */
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
    // Fresh zeros take no memory of the host's until they are written to; a copy of zeros does.
    getMappedRange: () => ({ slice: (from: number, to: number) => new ArrayBuffer(to - from) }),
    unmap: nothing,
    destroy: nothing,
  };
}
