/**
 * AdamW over the flat trainable buffer: three dispatches at the end of every step, however many tensors there
 * are.
 */

import text from "../../wgsl/adamw.wgsl" with { type: "text" };
import type { Gpu } from "../gpu/device.ts";
import { linearGrid, renderKernel } from "../gpu/kernel.ts";
import type { BufferView, Call } from "../gpu/program.ts";
import type { TrainableWeights } from "../run/trainable_weights.ts";

/** AdamW's hyper-parameters. The defaults are PyTorch's, except for the weight decay. */
export interface AdamWOptions {
  /** Decay rate of the first moment. */
  readonly beta1: number;
  /** Decay rate of the second moment. */
  readonly beta2: number;
  /** Added to the square root of the second moment. */
  readonly epsilon: number;
  /**
   * Decoupled weight decay, multiplied by the learning rate. It applies to everything except biases and
   * norms, as in transformers' Trainer, and so also to an adapter's vectors such as DoRA's magnitudes.
   */
  readonly weightDecay: number;
  /** Gradients are clipped to this global norm; 0 turns clipping off. */
  readonly maxNorm: number;
}

/**
 * β = (0.9, 0.999), ε = 1e-8, no weight decay (the paper's GLUE protocol), gradients clipped to a norm of 1.
 */
export const adamWDefaults: AdamWOptions = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxNorm: 1,
};

const chunk = 4096;

/** How many steps' losses and gradient norms the GPU keeps until they are read. */
const ringSize = 1024;

/** What a DivergedError says after the step: the first one's loss does not depend on the learning rate. */
const beforeAnyStep =
  "before any weight moved: look at the data, such as labels too large to square in float32 (divide them), " +
  "and at the model's own weights.";
const afterSteps = "with the weights of the step before; use a lower learning rate or look at the data.";

/** A loss or gradient was not finite. The weights are those of the step before. */
export class DivergedError extends Error {}

/** Loss and gradient norm of one step. */
export interface StepRecord {
  /** Counted from 0. */
  readonly step: number;
  /** Mean over the step's examples. */
  readonly loss: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
}

/** The optimizer's state, except for the moments, and the dispatches that run it. */
export class AdamW implements Disposable {
  readonly #buffers: Record<"partial" | "state" | "ring" | "schedule" | "groups", GPUBuffer>;
  readonly #owned: DisposableStack;
  readonly #partials: number;
  #readUpTo = 0;
  /** The error message, once training has diverged and steps no longer change anything. */
  #diverged: string | undefined;

  /** `rates`: the learning rate of every step. Weight decay skips tensors for which `decayed` is false. */
  constructor(
    private readonly gpu: Gpu,
    private readonly weights: TrainableWeights,
    private readonly options: AdamWOptions,
    rates: readonly number[],
    decayed: (name: string) => boolean,
  ) {
    this.#partials = Math.ceil(weights.size / chunk);
    const schedule = Float32Array.from(
      rates.flatMap((rate, i) => [rate, 1 - options.beta1 ** (i + 1), 1 - options.beta2 ** (i + 1)]),
    );
    const groups = weights.perBlock((name) => [1, decayed(name) ? options.weightDecay : 0]);
    using owned = new DisposableStack();
    const buffer = (label: string, bytes: number) =>
      owned.adopt(gpu.createBuffer(label, bytes), (own) => gpu.destroyBuffer(own));
    this.#buffers = {
      partial: buffer("adamw partial", this.#partials * 4),
      state: buffer("adamw state", 8),
      ring: buffer("loss ring", ringSize * 8),
      schedule: buffer("adamw schedule", schedule.byteLength),
      groups: buffer("adamw groups", groups.byteLength),
    };
    gpu.upload(this.#buffers.schedule, schedule);
    gpu.upload(this.#buffers.groups, groups);
    this.#owned = owned.move();
  }

  /** The dispatches of one step, to run once `gradients` are computed; `clock` is [2] u32: seed and step. */
  calls(loss: BufferView, clock: BufferView, gradients: GPUBuffer = this.weights.gradients): Call[] {
    const { beta1, beta2, epsilon, maxNorm } = this.options;
    const { size, values, moment1, moment2 } = this.weights;
    const whole = (buffer: GPUBuffer): BufferView => ({ buffer, offset: 0, bytes: buffer.size });
    const flat = (buffer: GPUBuffer): BufferView => ({ buffer, offset: 0, bytes: size * 4 });
    const { partial, state, ring, schedule, groups } = this.#buffers;
    const params = {
      size,
      partials: this.#partials,
      ring_size: ringSize,
      beta1,
      beta2,
      epsilon,
      max_norm: maxNorm,
    };
    // Tensors start at multiples of 64 floats, so four neighbours are of one tensor.
    const [WIDTH, WORKGROUP] = this.gpu.traits.software ? [1, 64] : [4, 256];
    const call = (PASS: number, views: Record<string, BufferView>, grid: Call["grid"]): Call => ({
      label: `adamw pass ${PASS}`,
      kernel: renderKernel({ name: "adamw", text }, { PASS, WIDTH, WORKGROUP, CHUNK: chunk }),
      params,
      views,
      grid,
    });
    return [
      call(0, { gradient: flat(gradients), partial: whole(partial) }, linearGrid(this.#partials, 1)),
      call(1, { partial: whole(partial), loss, clock, state: whole(state), ring: whole(ring) }, [1, 1, 1]),
      call(2, {
        gradient: flat(gradients),
        state: whole(state),
        clock,
        schedule: whole(schedule),
        groups_of: whole(groups),
        weights: flat(values),
        moment1: flat(moment1),
        moment2: flat(moment2),
      }, linearGrid(size / WIDTH, WORKGROUP)),
    ];
  }

  /** How many steps may run before their records must be read. */
  get capacity(): number {
    return ringSize;
  }

  /** Marks the records of the steps before `step` as read and finite, for a resumed run. */
  skipTo(step: number): void {
    this.#readUpTo = step;
    this.#diverged = undefined;
    this.gpu.upload(this.#buffers.state, new Float32Array(2));
  }

  /**
   * True when the records of all steps before `step` have been read. Throws a DivergedError if one was not
   * finite.
   */
  hasRead(step: number): boolean {
    if (this.#diverged !== undefined) throw new DivergedError(this.#diverged);
    return this.#readUpTo === step;
  }

  /**
   * Reads the records of the steps not read yet, up to `step` (exclusive). Waits for the GPU.
   * @throws DivergedError that names the first step whose loss or gradient is not finite. Every later call
   * throws it too, because no step after that one has changed anything.
   */
  async read(step: number): Promise<StepRecord[]> {
    if (this.#diverged !== undefined) throw new DivergedError(this.#diverged);
    const ring = new Float32Array(await this.gpu.read(this.#buffers.ring, ringSize * 8));
    const records: StepRecord[] = [];
    for (; this.#readUpTo < step; this.#readUpTo++) {
      const at = 2 * (this.#readUpTo % ringSize);
      records.push({ step: this.#readUpTo, loss: ring[at], gradientNorm: ring[at + 1] });
    }
    const bad = records.find(({ loss, gradientNorm }) =>
      !Number.isFinite(loss) || !Number.isFinite(gradientNorm)
    );
    if (bad) {
      const { step, loss, gradientNorm } = bad;
      this.#diverged = `Step ${step}: loss ${loss}, gradient norm ${gradientNorm}. Training stopped ${
        step === 0 ? beforeAnyStep : afterSteps
      }`;
      throw new DivergedError(this.#diverged);
    }
    return records;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
