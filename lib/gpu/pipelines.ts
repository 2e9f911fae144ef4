/** Compiles each rendered kernel once. Errors contain the compiler's messages and the lines they refer to. */

import { type Kernel, type KernelNeeds, needsOf } from "./kernel.ts";

/** A compiled kernel. */
export interface Pipeline {
  readonly kernel: Kernel;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by their WGSL text: the simplest key that cannot be wrong. */
export class PipelineCache {
  #byCode = new Map<string, Promise<Pipeline>>();

  /** `header` precedes the text of every kernel, such as `enable subgroups;` and a newline. */
  constructor(private readonly device: GPUDevice, private readonly header = "") {}

  /** How many pipelines were compiled. */
  get size(): number {
    return this.#byCode.size;
  }

  /**
   * The pipeline of `kernel`, compiled on first use: in Deno synchronously, in browsers several at a time.
   * @throws Error with the kernel's name and the limit it exceeds, or the compiler's messages, each with its
   * WGSL line.
   */
  get(kernel: Kernel): Promise<Pipeline> {
    const known = this.#byCode.get(kernel.code) ?? this.#compile(kernel);
    this.#byCode.set(kernel.code, known);
    return known;
  }

  async #compile(kernel: Kernel): Promise<Pipeline> {
    this.#checkLimits(kernel);
    this.device.pushErrorScope("validation");
    const code = this.header + kernel.code;
    const module = this.device.createShaderModule({ label: kernel.label, code });
    const layout = this.device.createBindGroupLayout({
      label: kernel.label,
      entries: kernel.bindings.map(({ index, type }) => ({
        binding: index,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
    });
    const pipeline = this.device.createComputePipelineAsync({
      label: kernel.label,
      layout: this.device.createPipelineLayout({ label: kernel.label, bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const [error, compiled] = await Promise.all([
      this.device.popErrorScope(),
      pipeline.catch((refusal: GPUPipelineError) => refusal),
    ]);
    if (!error && !(compiled instanceof Error)) return { kernel, pipeline: compiled, layout };
    throw new Error(await describeFailure(kernel.label, code, module, error ?? compiled as GPUPipelineError));
  }

  /**
   * Runs before the compiler, which may accept a kernel (naga does not count workgroup memory) that the
   * driver then runs incorrectly.
   */
  #checkLimits(kernel: Kernel): void {
    for (const [limit, need] of Object.entries(needsOf(kernel))) {
      const most = this.device.limits[limit as keyof KernelNeeds];
      // An unknown need (NaN) is refused too.
      if (!(need <= most)) throw new Error(`${kernel.label} needs ${limit} ${need}; this device has ${most}`);
    }
  }
}

async function describeFailure(
  label: string,
  code: string,
  module: GPUShaderModule,
  error: GPUError | GPUPipelineError,
): Promise<string> {
  const lines = code.split("\n");
  const messages = (await module.getCompilationInfo()).messages.map((message) =>
    `  line ${message.lineNum}:${message.linePos} ${message.message}\n    ${
      lines[message.lineNum - 1]?.trim() ?? ""
    }`
  );
  return `Kernel "${label}" does not compile:\n${messages.join("\n") || `  ${error.message}`}`;
}
