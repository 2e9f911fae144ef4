/**
 * The GPU a job runs on: an adapter's or the caller's device, with the limits it needs, a name, a memory
 * count and no silent errors.
 */

import { mayUseUserCache } from "../user_cache.ts";
import { type AutotuneOptions, Autotuner } from "./autotuner.ts";
import { type DeviceTraits, plainDevice } from "./kernel.ts";
import { PipelineCache } from "./pipelines.ts";

/** What the adapter reports about itself. It is part of every result. */
export interface AdapterSummary {
  /** The adapter's own name, such as "NVIDIA H100" or "llvmpipe (LLVM 15.0.6, 256 bits)". */
  readonly name: string;
  /** The vendor as the runtime reports it: a PCI number in Deno, a word in browsers. */
  readonly vendor: string;
  /** True for a software rasteriser that reports itself as one. */
  readonly software: boolean;
}

/** Number of values uploaded at a time: wgpu holds a copy of them until the next submit. */
const uploadPiece = 4 * 2 ** 20;

/** Usage of buffers that are copied into and read. In Node, its names are there only once the caller has assigned them. */
const stagingUsage = () => GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;

/** Milliseconds within which a failed read is told that its device was lost. */
const lostWithin = 100;

/** Options of `openGpu`. */
export interface OpenGpuOptions {
  /**
   * The caller's own device. It may be Dawn's, from npm `webgpu`; keep the instance that `create()` returns
   * as long as the device. Default: a device of the adapter that `gpu` finds.
   */
  readonly device?: GPUDevice;
  /**
   * The WebGPU that finds the adapter, if `device` is not given: in Node, what npm `webgpu`'s `create([])` returns (its `globals`
   * must be assigned to `globalThis`). Default: `navigator.gpu`, which Deno and browsers have.
   */
  readonly gpu?: GPU;
  /**
   * Times the kernels of each program that is compiled and uses the fastest. It changes no bit of a result.
   * The cache needs Deno's permission to read HOME and XDG_CACHE_HOME (on Windows LOCALAPPDATA) and to read
   * and write the user's cache folder. By default true on a GPU where the program has these permissions, so
   * that the next process need not time them again; false on software drivers, and in a browser.
   */
  readonly autotune?: boolean | AutotuneOptions;
  /**
   * How large products on a GPU hold the numbers that they multiply: as f32 (default), or rounded to f16, with sums in f32, which
   * halves their traffic within the GPU. Values beyond 65504 overflow then, and those below 3e-8 become 0, on some GPUs all below 6e-5:
   * gradients of a mean over thousands of tokens can be as small, and there is no loss scaling. Software drivers compute in f32 in
   * any case.
   */
  readonly operands?: "f32" | "f16";
}

/** Bytes in GPU buffers made through `Gpu`. */
export interface MemoryReport {
  /** In use now. */
  readonly bytes: number;
  /** The most at one time, but for what the autotuner takes to time kernels: where that has no room, nothing is timed. */
  readonly peakBytes: number;
  /** How many buffers are in use. */
  readonly buffers: number;
}

const noAdapter = `No WebGPU adapter: navigator.gpu.requestAdapter() found no driver.
  - On a machine with a GPU: install its Vulkan driver and the loader (Debian: apt-get install libvulkan1).
  - Without one: a software driver will do (Debian: apt-get install mesa-vulkan-drivers); \`sh tasks/setup.sh\` does this.
  - Several drivers: VK_DRIVER_FILES=/path/to/icd.json picks one.
  - In Node, which has no WebGPU of its own: openGpu({ gpu: create([]) }) with npm's webgpu.
  - In a browser: WebGPU wants a page from https:// or 127.0.0.1; chrome://gpu says whether the browser has it.`;

/** Thrown when there is no WebGPU adapter. The message says what to install. */
export class NoAdapterError extends Error {}

/**
 * Opens a device with every limit and optional feature of its adapter that kernels here can use.
 * @throws NoAdapterError that says what to install, and Error for operands that there are not or that the adapter cannot have.
 *
 * @example
 * ```ts
 * import { openGpu } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * console.log(gpu.adapter.name, gpu.device.limits.maxBufferSize);
 * ```
 */
export async function openGpu(options: OpenGpuOptions = {}): Promise<Gpu> {
  if (options.device) return wrap(options.device, options.device.adapterInfo, options);
  const { gpu = globalThis.navigator?.gpu } = options;
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new NoAdapterError(noAdapter);
  const device = await adapter.requestDevice({
    label: "bora",
    requiredFeatures: featuresOf(adapter),
    requiredLimits: adapterLimits(adapter),
  });
  return wrap(device, adapter.info, options, gpu);
}

/** An adapter's name for people. Browsers report only vendor and architecture. */
function nameOf(info: GPUAdapterInfo): string {
  return info.description || info.device || `${info.vendor} ${info.architecture}`.trim() || "unnamed adapter";
}

/**
 * The tuner of a device; undefined if kernels are not to be timed. Without a place to keep the choices, every
 * process would have to wait for them.
 */
function tunerFor(
  { isFallbackAdapter }: GPUAdapterInfo,
  asked: OpenGpuOptions["autotune"],
): Autotuner | undefined {
  const options = asked ?? (isFallbackAdapter === false && mayUseUserCache());
  return options === false ? undefined : new Autotuner(options === true ? {} : options);
}

async function wrap(
  device: GPUDevice,
  info: GPUAdapterInfo,
  { autotune, operands = "f32" }: OpenGpuOptions,
  source?: GPU,
): Promise<Gpu> {
  const f16 = device.features.has("shader-f16");
  if (operands !== "f32" && operands !== "f16") {
    throw new Error(`operands is ${JSON.stringify(operands)}: use "f32" or "f16"`);
  }
  if (operands === "f16" && !f16) {
    throw new Error(
      `${nameOf(info)} has no shader-f16, which operands in f16 want: leave out \`operands\``,
    );
  }
  const tuner = tunerFor(info, autotune);
  const header = await subgroupHeader(device);
  const traits = {
    subgroupSize: header === undefined ? 0 : fixedSubgroupSize(info),
    software: info.isFallbackAdapter,
    f16,
    halfOperands: operands === "f16",
    choices: tuner?.choices,
  };
  return new Gpu(device, info, traits, header, tuner, source);
}

/**
 * The text that must precede a kernel that uses subgroups; undefined where kernels cannot use them. Tint
 * (browsers, Dawn) requires an `enable` directive that Deno's naga does not know.
 */
async function subgroupHeader(device: GPUDevice): Promise<string | undefined> {
  if (!device.features.has("subgroups")) return undefined;
  for (const header of ["enable subgroups;\n", ""]) {
    device.pushErrorScope("validation");
    device.createShaderModule({
      label: "subgroup probe",
      code: `${header}@compute @workgroup_size(4) fn main() { _ = subgroupBroadcast(1u, 0u); }`,
    });
    if (await device.popErrorScope() === null) return header;
  }
  return undefined;
}

/**
 * @internal The optional features that the kernels can use. Deno 2.9 does not list "subgroups" among an
 * adapter's features, but grants them. An adapter that reports the same least and greatest subgroup size has
 * them; OpenGL's, which reports 4 and 128, does not.
 */
export function featuresOf(adapter: GPUAdapter): GPUFeatureName[] {
  return [
    ...(["timestamp-query", "shader-f16"] as const).filter((name) => adapter.features.has(name)),
    ...fixedSubgroupSize(adapter.info) > 0 ? ["subgroups" as const] : [],
  ];
}

/** Lanes per subgroup; 0 if they can differ or the adapter does not report them. */
function fixedSubgroupSize({ subgroupMinSize = 0, subgroupMaxSize = 0 }: GPUAdapterInfo): number {
  return subgroupMinSize === subgroupMaxSize ? subgroupMinSize : 0;
}

/** The limits that a large model reaches first, at the adapter's values (WebGPU's defaults are small). */
function adapterLimits(adapter: GPUAdapter): Record<string, number> {
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
  ] as const;
  return Object.fromEntries(names.map((name) => [name, adapter.limits[name]]));
}

/**
 * An open device. Errors that the driver reports outside of a call are thrown by the next `check`, which
 * every run makes.
 */
export class Gpu implements Disposable {
  /** What the adapter reports about itself. */
  readonly adapter: AdapterSummary;
  /** @internal The compiled kernels. */
  readonly pipelines: PipelineCache;
  #bytes = 0;
  #peakBytes = 0;
  #buffers = new Map<GPUBuffer, number>();
  #failure: Error | undefined;
  /** The results of the allocations that no `settled` has waited for. */
  readonly #pending = new Set<Promise<Error | undefined>>();
  #uploadsSinceSubmit = 0;
  #bytesSinceWait = 0;
  #closed = false;

  /** Wraps `device`; prefer `openGpu`. */
  constructor(
    readonly device: GPUDevice,
    info: GPUAdapterInfo,
    /** @internal The properties that kernels are chosen by. */
    readonly traits: DeviceTraits = plainDevice,
    header = "",
    /** @internal Chooses kernels; undefined without autotuning. */
    readonly tuner?: Autotuner | undefined,
    /** @internal What the device comes from, held because Dawn frees its devices when nothing holds it. */
    readonly source?: GPU | undefined,
  ) {
    this.adapter = {
      name: nameOf(info),
      vendor: info.vendor,
      software: info.isFallbackAdapter ?? false,
    };
    this.pipelines = new PipelineCache(device, header);
    device.addEventListener(
      "uncapturederror",
      (event: Event) => this.#fail((event as GPUUncapturedErrorEvent).error),
    );
    device.lost.then((info) => {
      if (this.#closed) return;
      this.#failure = new Error(
        `The GPU device was lost (${
          info.message || info.reason
        }) with ${this.memory.bytes} bytes in use on ` +
          `${this.adapter.name}. Run it again (deno task reproduce: with --resume); if it happens at once, use a smaller batch.`,
      );
    });
  }

  /** Keeps the driver's first error for the next `check`. */
  #fail({ message }: GPUError): void {
    this.#failure ??= new Error(
      `WebGPU error on ${this.adapter.name}: ${message}\n` +
        "What this Gpu computed since may be wrong, so it computes nothing more: open another (openGpu).",
    );
  }

  /** Buffers made and not yet destroyed. */
  get memory(): MemoryReport {
    return { bytes: this.#bytes, peakBytes: this.#peakBytes, buffers: this.#buffers.size };
  }

  /** Restarts the count of peak bytes, from what is in use now. */
  resetPeak(): void {
    this.#peakBytes = this.#bytes;
  }

  /** Throws the first error that the driver reported since the device opened. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /**
   * A zeroed storage buffer of at least `bytes` (rounded up to 16).
   * @throws Error naming need and limit when no binding can be that large. Running out of memory is reported
   * by `settled`.
   */
  createBuffer(label: string, bytes: number, usage = 0): GPUBuffer {
    const { buffer, refusal } = this.#allocate(label, bytes, usage);
    this.#pending.add(refusal);
    return buffer;
  }

  /**
   * @internal As `createBuffer`, and waits for the memory: returns the Error where there is none, which nobody else is told.
   */
  async tryBuffer(label: string, bytes: number): Promise<GPUBuffer | Error> {
    const { buffer, refusal } = this.#allocate(label, bytes, 0);
    const error = await refusal;
    if (!error) return buffer;
    this.destroyBuffer(buffer);
    return error;
  }

  #allocate(label: string, bytes: number, usage: number) {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const limit = Math.min(this.device.limits.maxBufferSize, this.device.limits.maxStorageBufferBindingSize);
    if (size > limit) {
      throw new Error(
        `Buffer "${label}" needs ${size} bytes; ${this.adapter.name} binds at most ${limit}. ` +
          `Use a smaller batch, shorter texts or a smaller model.`,
      );
    }
    this.device.pushErrorScope("out-of-memory");
    const buffer = this.device.createBuffer({
      label,
      size,
      usage: usage || GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    const inUse = this.#bytes;
    const refusal = this.device.popErrorScope().then((error) =>
      error
        ? new Error(
          `Out of GPU memory: "${label}" needs ${size} bytes with ${inUse} already in use. ${error.message} ` +
            `Use a smaller batch, shorter texts or a smaller model.`,
        )
        : undefined
    );
    this.#buffers.set(buffer, size);
    this.#bytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    return { buffer, refusal };
  }

  /**
   * Waits for the allocations so far; throws if one of them ran out of memory. Of those that several calls wait for, all are
   * told: each may go on to use them.
   */
  async settled(): Promise<void> {
    const pending = [...this.#pending];
    try {
      const refused = (await Promise.all(pending)).find((error) => error !== undefined);
      if (refused) throw refused;
    } finally {
      for (const own of pending) this.#pending.delete(own);
    }
    this.check();
  }

  /** @internal Runs `body`, which frees what it allocates; that does not count for the peak. */
  async besidePeak<T>(body: () => Promise<T>): Promise<T> {
    const before = this.#peakBytes;
    try {
      return await body();
    } finally {
      this.#peakBytes = Math.max(before, this.#bytes);
    }
  }

  /** Frees a buffer made by `createBuffer` (legal after submit: WebGPU keeps it until the queue is done with it). */
  destroyBuffer(buffer: GPUBuffer): void {
    this.#bytes -= this.#buffers.get(buffer) ?? 0;
    this.#buffers.delete(buffer);
    buffer.destroy();
  }

  /**
   * Copies `data` into `buffer` at `offset` bytes. wgpu frees its staging memory only at a submit
   * (tracel-ai/cubecl issue 1120), so every 64 uploads or 16 MiB there is an empty submit. After 16 MiB it
   * also waits for the queue, if the runtime can do so within the call (Deno can): otherwise the queue could
   * hold the staging memory of a whole model.
   * @throws Error when the data do not fit into the buffer from there on.
   */
  upload(buffer: GPUBuffer, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>, offset = 0): void {
    const { queue } = this.device;
    if (offset + data.byteLength > buffer.size) {
      throw new Error(
        `"${buffer.label}" has ${buffer.size} bytes: ${data.byteLength} do not fit there from byte ${offset} on`,
      );
    }
    for (let at = 0; at < data.length; at += uploadPiece) {
      const size = Math.min(uploadPiece, data.length - at);
      queue.writeBuffer(buffer, offset + at * 4, data, at, size);
      this.#bytesSinceWait += size * 4;
      const many = this.#bytesSinceWait >= uploadPiece * 4;
      if (++this.#uploadsSinceSubmit < 64 && !many) continue;
      queue.submit([]);
      this.#uploadsSinceSubmit = 0;
      if (!many) continue;
      this.#pending.add(queue.onSubmittedWorkDone().then(() => undefined));
      this.#bytesSinceWait = 0;
    }
  }

  /**
   * Reads bytes back. It waits for everything submitted, and the wait itself is slow in Deno: read late and
   * together.
   * @throws Error when there is no memory to copy them into; the device goes on then.
   */
  async read(buffer: GPUBuffer, bytes: number, offset = 0): Promise<ArrayBuffer> {
    const read = await this.tryRead(buffer, bytes, offset);
    if (read instanceof Error) throw read;
    return read;
  }

  /** @internal As `read`, but returns the Error where there is no memory to copy the bytes into. */
  async tryRead(buffer: GPUBuffer, bytes: number, offset = 0): Promise<ArrayBuffer | Error> {
    this.check();
    const { buffer: staging, refusal } = this.#allocate(`read ${buffer.label}`, bytes, stagingUsage());
    try {
      // The copy is submitted at once, before what its caller runs next. If the memory was refused, the copy is an error too.
      this.device.pushErrorScope("validation");
      const encoder = this.device.createCommandEncoder({ label: "read" });
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
      this.device.queue.submit([encoder.finish()]);
      const [refused, invalid] = await Promise.all([refusal, this.device.popErrorScope()]);
      if (refused) return refused;
      if (invalid) this.#fail(invalid);
      return await this.readStaging(staging, bytes);
    } finally {
      this.destroyBuffer(staging);
    }
  }

  /** A buffer that can be copied into, for `readStaging` and for nothing else. Throws as `createBuffer` does. */
  createStaging(label: string, bytes: number): GPUBuffer {
    return this.createBuffer(label, bytes, stagingUsage());
  }

  /** The first bytes of a staging buffer. Waits for everything submitted; until then it is not to be copied into again. */
  async readStaging(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    try {
      await staging.mapAsync(GPUMapMode.READ);
    } catch (error) {
      // A lost device reports its loss shortly after its current operation has failed.
      await Promise.race([this.device.lost, new Promise((done) => setTimeout(done, lostWithin))]);
      this.check();
      throw new Error(`Reading ${bytes} bytes of "${staging.label}" failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.unmap();
    await this.settled();
    return copy;
  }

  /**
   * Destroys every buffer made here. The device itself is only dropped: `destroy()` after a submit has hung
   * Deno (#24798).
   */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const buffer of [...this.#buffers.keys()]) this.destroyBuffer(buffer);
  }
}
