/** Compiles each rendered kernel once; a failure carries the compiler's messages and the lines they point at. */

import type { Kernel } from "./kernel.ts";

/** A compiled kernel. */
export interface Pipeline {
  readonly kernel: Kernel;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by their WGSL text: the simplest key that cannot be wrong. */
export class PipelineCache {
  #byCode = new Map<string, Pipeline>();

  constructor(private readonly device: GPUDevice) {}

  /** How many pipelines were compiled. */
  get size(): number {
    return this.#byCode.size;
  }

  /**
   * The pipeline of `kernel`, compiled on first use (synchronously in Deno, whatever the API's name).
   * @throws Error with the kernel's name and the compiler's messages, each with its WGSL line.
   */
  async get(kernel: Kernel): Promise<Pipeline> {
    const known = this.#byCode.get(kernel.code);
    if (known) return known;
    this.checkBindings(kernel);
    this.device.pushErrorScope("validation");
    const module = this.device.createShaderModule({ label: kernel.label, code: kernel.code });
    const layout = this.device.createBindGroupLayout({
      label: kernel.label,
      entries: kernel.bindings.map(({ index, type }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const pipeline = this.device.createComputePipeline({
      label: kernel.label,
      layout: this.device.createPipelineLayout({ label: kernel.label, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const error = await this.device.popErrorScope();
    if (error) throw new Error(await describeFailure(kernel, module, error));
    const compiled = { kernel, pipeline, layout };
    this.#byCode.set(kernel.code, compiled);
    return compiled;
  }

  private checkBindings(kernel: Kernel): void {
    const storage = kernel.bindings.filter((binding) => binding.type !== "uniform").length;
    const most = this.device.limits.maxStorageBuffersPerShaderStage;
    if (storage > most) {
      throw new Error(`${kernel.label} binds ${storage} storage buffers; this device has ${most}`);
    }
  }
}

async function describeFailure(kernel: Kernel, module: GPUShaderModule, error: GPUError): Promise<string> {
  const lines = kernel.code.split("\n");
  const messages = (await module.getCompilationInfo()).messages.map((message) =>
    `  line ${message.lineNum}:${message.linePos} ${message.message}\n    ${
      lines[message.lineNum - 1]?.trim() ?? ""
    }`
  );
  return `Kernel "${kernel.label}" does not compile:\n${messages.join("\n") || `  ${error.message}`}`;
}
