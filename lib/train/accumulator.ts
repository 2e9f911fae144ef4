/** Gradient accumulation: one optimizer step on the mean over all examples of several micro-batches. */

import text from "../../wgsl/accumulate.wgsl" with { type: "text" };
import type { Gpu } from "../gpu/device.ts";
import { linearGrid, renderKernel } from "../gpu/kernel.ts";
import { type BufferView, buildProgram, type Call, type Program } from "../gpu/program.ts";
import type { AdamW } from "./adamw.ts";
import type { TrainableWeights } from "../run/trainable_weights.ts";

const workgroup = 64;

/** What a step sums up, under the names that the kernel uses. */
type Sums = Readonly<Record<"gradient_sum" | "loss_sum" | "weight_sum", BufferView>>;

/** Sums the gradients, losses and example weights of a step, and runs the optimizer on their means. */
export class Accumulator implements Disposable {
  private constructor(
    private readonly gpu: Gpu,
    private readonly size: number,
    private readonly gradients: BufferView,
    private readonly sums: Sums,
    /** [1] u32: index of the next micro-batch within its step. */
    private readonly index: BufferView,
    /** [2] u32: seed and step. */
    private readonly clock: BufferView,
    private readonly program: Program,
    private readonly owned: DisposableStack,
  ) {}

  /**
   * Allocates the sums for `weights`, which `optimizer` updates. Throws what compilation and allocation
   * throw.
   */
  static async create(gpu: Gpu, weights: TrainableWeights, optimizer: AdamW): Promise<Accumulator> {
    using owned = new DisposableStack();
    const view = (label: string, bytes: number): BufferView => {
      const buffer = owned.adopt(
        gpu.createBuffer(`accumulated ${label}`, bytes),
        (own) => gpu.destroyBuffer(own),
      );
      return { buffer, offset: 0, bytes };
    };
    const { size } = weights;
    const sums = {
      gradient_sum: view("gradients", size * 4),
      loss_sum: view("loss", 4),
      weight_sum: view("weight", 4),
    };
    const [index, clock] = [view("micro-batch", 4), view("clock", 8)];
    const calls = [
      callOf(1, size, sums),
      ...optimizer.calls(sums.loss_sum, clock, sums.gradient_sum.buffer),
    ];
    const program = owned.use(await buildProgram(gpu, "optimizer", calls));
    const gradients = { buffer: weights.gradients, offset: 0, bytes: size * 4 };
    return new Accumulator(gpu, size, gradients, sums, index, clock, program, owned.move());
  }

  /**
   * The dispatch that adds a micro-batch's gradients and its `loss` to the sums; both are means over
   * `weight`. It comes last in the micro-batch's program.
   */
  call(loss: BufferView, weight: BufferView): Call {
    return callOf(0, this.size, { ...this.sums, index: this.index, gradient: this.gradients, loss, weight });
  }

  /** Sets the index of the next micro-batch within its step. Call it before replaying the program. */
  begin(index: number): void {
    this.gpu.upload(this.index.buffer, Uint32Array.of(index));
  }

  /** Runs one optimizer step on the means, in one submit. */
  step(seed: number, step: number): void {
    this.gpu.upload(this.clock.buffer, Uint32Array.of(seed, step));
    this.program.replay();
  }

  [Symbol.dispose](): void {
    this.owned.dispose();
  }
}

function callOf(PASS: 0 | 1, size: number, views: Call["views"]): Call {
  return {
    label: `accumulate pass ${PASS}`,
    kernel: renderKernel({ name: "accumulate", text }, { PASS, WORKGROUP: workgroup }),
    params: { size },
    views,
    grid: linearGrid(size, workgroup),
  };
}
