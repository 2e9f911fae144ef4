/**
 * A program: pipelines, bind groups and grids made once, replayed every step in one compute pass and one
 * submit, or in several where one would take too long. A replay makes no buffer, bind group or pipeline: making a
 * bind group takes longer than a dispatch.
 */

import type { Gpu } from "./device.ts";
import { type Grid, type Kernel, maxGroups, packParams } from "./kernel.ts";
import { type Dispatchable, encodePass, inSubmits } from "./passes.ts";
import { type Profile, timePasses } from "./profiler.ts";

/** A range of a buffer, in bytes; `offset` is a multiple of 256. */
export interface BufferView {
  /** The buffer. */
  readonly buffer: GPUBuffer;
  /** First byte. */
  readonly offset: number;
  /** Number of bytes. */
  readonly bytes: number;
  /** Whether the bytes are a matrix in panels (see `graph/storages/f32_panels.ts`). */
  readonly inPanels?: boolean;
}

/** One dispatch with everything it needs; `params` and `views` use the names of the WGSL. */
export interface Call {
  /** What the dispatch computes, for profiles and dumps, such as `matmul layer.0.query`. */
  readonly label: string;
  readonly kernel: Kernel;
  readonly params: Readonly<Record<string, number>>;
  readonly views: Readonly<Record<string, BufferView>>;
  readonly grid: Grid;
  /** As in a graph's `Dispatch`. */
  readonly multiplyAdds?: number;
}

/** A copy made after the dispatches of a replay, such as logits into the evaluation's ring. */
export interface Copy {
  /** What is copied. */
  readonly from: BufferView;
  /** Where to. */
  readonly to: GPUBuffer;
  /** The first byte there. */
  readonly toOffset: number;
}

/** Uniform slots start at multiples of the device's alignment, 256 bytes on every device. */
const uniformSlot = 256;

/**
 * Compiles `calls` and binds their buffers. Throws the errors of the pipeline cache, and an Error for a
 * missing view.
 */
export async function buildProgram(gpu: Gpu, label: string, calls: readonly Call[]): Promise<Program> {
  using owned = new DisposableStack();
  const uniforms = owned.adopt(
    gpu.createBuffer(
      `${label} params`,
      Math.max(1, calls.length) * uniformSlot,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    ),
    (own) => gpu.destroyBuffer(own),
  );
  const pipelines = await Promise.all(calls.map(({ kernel }) => gpu.pipelines.get(kernel)));
  // A buffer that was refused may not be bound: that is an error of the device, which then computes nothing more.
  await gpu.settled();
  const packed = new Uint8Array(Math.max(1, calls.length) * uniformSlot);
  const recorded = calls.map((call, i): Dispatchable => {
    packed.set(packParams(call.kernel, call.params), i * uniformSlot);
    const { pipeline, layout } = pipelines[i];
    const group = gpu.device.createBindGroup({
      label: call.label,
      layout,
      entries: call.kernel.bindings.map(({ index, variable, type }) => ({
        binding: index,
        resource: type === "uniform"
          ? { buffer: uniforms, offset: i * uniformSlot, size: uniformSlot }
          : resource(call, variable),
      })),
    });
    const { label, grid, multiplyAdds } = call;
    return { label, pipeline, group, grid, multiplyAdds };
  });
  checkGrids(label, calls);
  gpu.device.queue.writeBuffer(uniforms, 0, packed);
  return new Program(gpu, label, recorded, owned.move());
}

/** Throws an Error that names the first dispatch with more workgroups than any device allows. */
function checkGrids(label: string, calls: readonly Call[]): void {
  const tooWide = calls.find(({ grid }) => grid.some((extent) => extent > maxGroups));
  if (!tooWide) return;
  throw new Error(
    `${label}: ${tooWide.label} needs ${
      tooWide.grid.join("×")
    } workgroups, and no side may have more than ${maxGroups}: ` +
      "use a smaller batch or shorter texts",
  );
}

function resource(call: Call, variable: string): GPUBufferBinding {
  const view = call.views[variable];
  if (!view) throw new Error(`${call.label}: no buffer for "${variable}" of ${call.kernel.label}`);
  return { buffer: view.buffer, offset: view.offset, size: Math.max(4, Math.ceil(view.bytes / 4) * 4) };
}

/** Runs the dispatches in one pass, then the copies, as one submit. */
function submit(gpu: Gpu, label: string, dispatches: readonly Dispatchable[], copies: readonly Copy[]): void {
  const encoder = gpu.device.createCommandEncoder({ label });
  encodePass(encoder.beginComputePass({ label }), dispatches);
  for (const { from, to, toOffset } of copies) {
    encoder.copyBufferToBuffer(from.buffer, from.offset, to, toOffset, from.bytes);
  }
  gpu.device.queue.submit([encoder.finish()]);
}

/** A recorded list of dispatches. */
export class Program implements Disposable {
  private readonly submits: readonly (readonly Dispatchable[])[];

  /** Prefer `buildProgram`. */
  constructor(
    private readonly gpu: Gpu,
    readonly label: string,
    private readonly recorded: readonly Dispatchable[],
    private readonly owned: DisposableStack,
  ) {
    this.submits = inSubmits(recorded);
  }

  /** Dispatches in one replay. */
  get dispatches(): number {
    return this.recorded.length;
  }

  /** Runs the whole list once, then `copies`. Does not wait. */
  replay(copies: readonly Copy[] = []): void {
    this.gpu.check();
    const last = this.submits.length - 1;
    for (const [i, dispatches] of this.submits.entries()) {
      submit(this.gpu, this.label, dispatches, i === last ? copies : []);
    }
  }

  /** Runs the list with a timestamp around every dispatch; see `profiler.ts`. */
  profile(profile: Profile): Promise<void> {
    return profile.run(this.gpu, this.label, this.recorded);
  }

  /** @internal Milliseconds that each of `programs` takes for `repeats` runs, in turn (see `timePasses`). */
  static timeInTurn(gpu: Gpu, programs: readonly Program[], repeats: number): Promise<number[]> {
    const passes = programs.map(({ label, recorded }) => ({
      label,
      dispatches: Array.from({ length: repeats }, () => recorded).flat(),
    }));
    return timePasses(gpu, "in turn", passes);
  }

  /** Frees the parameters; the tensors' buffers belong to whoever made them. */
  [Symbol.dispose](): void {
    this.owned.dispose();
  }
}
