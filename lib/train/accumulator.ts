/** Gradient accumulation: one optimizer step on the mean of several micro-batches' gradients. */

import text from "../../wgsl/accumulate.wgsl" with { type: "text" };
import type { Gpu } from "../gpu/device.ts";
import { linearGrid, renderKernel } from "../gpu/kernel.ts";
import { type BufferView, buildProgram, type Call, type Program } from "../gpu/program.ts";
import type { AdamW } from "./adamw.ts";
import type { TrainableWeights } from "./weights.ts";

const workgroup = 64;

/** Sums of a step's gradients and losses, and the program that steps the optimizer on them. */
export class Accumulator implements Disposable {
  readonly #gradients: GPUBuffer;
  readonly #loss: GPUBuffer;
  readonly #micro: GPUBuffer;
  readonly #clock: GPUBuffer;
  readonly #program: Program;
  readonly #owned: DisposableStack;

  private constructor(
    private readonly gpu: Gpu,
    private readonly weights: TrainableWeights,
    buffers: readonly GPUBuffer[],
    program: Program,
    owned: DisposableStack,
  ) {
    [this.#gradients, this.#loss, this.#micro, this.#clock] = buffers;
    this.#program = program;
    this.#owned = owned;
  }

  /** Sums for `weights`, which `optimizer` steps. Throws what compilation and allocation throw. */
  static async create(gpu: Gpu, weights: TrainableWeights, optimizer: AdamW): Promise<Accumulator> {
    using owned = new DisposableStack();
    const buffers = [["gradients", weights.size * 4], ["loss", 4], ["micro-batch", 8], ["clock", 8]].map(
      ([label, bytes]) =>
        owned.adopt(
          gpu.createBuffer(`accumulated ${label}`, bytes as number),
          (own) => gpu.destroyBuffer(own),
        ),
    );
    const [gradients, loss, , clock] = buffers;
    const calls = optimizer.calls(viewOf(loss, 4), viewOf(clock, 8), gradients);
    const program = owned.use(await buildProgram(gpu, "optimizer", calls));
    return new Accumulator(gpu, weights, buffers, program, owned.move());
  }

  /** The launch that adds a micro-batch's gradients, and its `loss`, at the end of its program. */
  call(loss: BufferView): Call {
    const { size, gradients } = this.weights;
    return {
      label: "accumulate",
      kernel: renderKernel({ name: "accumulate", text }, { WORKGROUP: workgroup }),
      params: { size },
      views: {
        micro: viewOf(this.#micro, 8),
        gradient: viewOf(gradients, size * 4),
        loss,
        gradient_sum: viewOf(this.#gradients, size * 4),
        loss_sum: viewOf(this.#loss, 4),
      },
      grid: linearGrid(size, workgroup),
    };
  }

  /** Says which micro-batch of how many of its step comes next; call it before the program is replayed. */
  begin(index: number, count: number): void {
    this.gpu.upload(this.#micro, Uint32Array.of(index, count));
  }

  /** Steps the optimizer on the sums: one submit. */
  step(seed: number, step: number): void {
    this.gpu.upload(this.#clock, Uint32Array.of(seed, step));
    this.#program.replay();
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function viewOf(buffer: GPUBuffer, bytes: number): BufferView {
  return { buffer, offset: 0, bytes };
}
