/** A training run's trainable tensors on the GPU, in flat buffers. */

import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { sizeOf } from "../graph/graph.ts";
import type { Weight } from "../models/model.ts";
import type { WeightPlace } from "./weight_store.ts";

/**
 * Tensors in the flat buffers start at multiples of this many floats (256 bytes, WebGPU's offset alignment).
 */
const alignment = 64;

/** A trainable tensor's place in the flat buffers, in floats. */
interface Place {
  readonly offset: number;
  readonly size: number;
}

/**
 * The trainable tensors: values, gradients and Adam's moments, each in a flat buffer, all with the same
 * layout.
 */
export class TrainableWeights implements WeightPlace, Disposable {
  readonly size: number;
  readonly values: GPUBuffer;
  readonly gradients: GPUBuffer;
  readonly moment1: GPUBuffer;
  readonly moment2: GPUBuffer;
  /** Shapes of the tensors by name, in the order of the flat buffers. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly #buffers: DisposableStack;
  readonly #places = new Map<string, Place>();

  constructor(private readonly gpu: Gpu, weights: ReadonlyMap<string, Weight>) {
    let offset = 0;
    for (const [name, { shape }] of weights) {
      const size = sizeOf({ shape, dtype: "f32" });
      this.#places.set(name, { offset, size });
      offset += Math.ceil(size / alignment) * alignment;
    }
    this.size = offset;
    this.shapes = new Map([...weights].map(([name, { shape }]) => [name, shape]));
    using buffers = new DisposableStack();
    const flat = (label: string) =>
      buffers.adopt(gpu.createBuffer(`trainable ${label}`, offset * 4), (own) => gpu.destroyBuffer(own));
    [this.values, this.gradients, this.moment1, this.moment2] = [
      "values",
      "gradients",
      "moment 1",
      "moment 2",
    ].map(flat);
    for (const [name, { data }] of weights) gpu.upload(this.values, data, this.#places.get(name)!.offset * 4);
    this.#buffers = buffers.move();
  }

  /** Names in the order of the flat buffers. */
  get names(): string[] {
    return [...this.#places.keys()];
  }

  /** The values of `name`, if it is trainable. */
  view(name: string): BufferView | undefined {
    return this.#view(this.values, name);
  }

  /** The gradient of `name`. Throws an Error when it is not trainable. */
  gradientView(name: string): BufferView {
    const view = this.#view(this.gradients, name);
    if (!view) throw new Error(`"${name}" is not trainable`);
    return view;
  }

  /**
   * A table with two floats for each 64 floats of the flat buffers: what `of` returns for the tensor that
   * they belong to.
   */
  perBlock(of: (name: string) => readonly [number, number]): Float32Array<ArrayBuffer> {
    const table = new Float32Array(this.size / alignment * 2);
    for (const [name, { offset, size }] of this.#places) {
      const [first, second] = of(name);
      for (let block = offset / alignment; block < Math.ceil((offset + size) / alignment); block++) {
        table.set([first, second], block * 2);
      }
    }
    return table;
  }

  /** Reads every tensor back. */
  async read(): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const flat = new Float32Array(await this.gpu.read(this.values, this.size * 4));
    return new Map(
      [...this.#places].map(([name, { offset, size }]) => [name, flat.slice(offset, offset + size)]),
    );
  }

  /** Replaces a tensor's values. Throws an Error when it is not trainable or has another length. */
  write(name: string, data: Float32Array<ArrayBuffer>): void {
    const place = this.#places.get(name);
    if (!place || place.size !== data.length) {
      throw new Error(
        `"${name}": ${data.length} values for ${place ? `a place of ${place.size}` : "no trainable tensor"}`,
      );
    }
    this.gpu.upload(this.values, data, place.offset * 4);
  }

  /** Replaces a tensor's two Adam moments with those that `edit` returns. Waits for the GPU. */
  async editMoments(
    name: string,
    edit: (
      moment1: Float32Array<ArrayBuffer>,
      moment2: Float32Array<ArrayBuffer>,
    ) => readonly Float32Array<ArrayBuffer>[],
  ): Promise<void> {
    const { offset, size } = this.#places.get(name)!;
    const buffers = [this.moment1, this.moment2];
    const [m, v] = await Promise.all(buffers.map((buffer) => this.gpu.read(buffer, size * 4, offset * 4)));
    edit(new Float32Array(m), new Float32Array(v)).forEach((values, i) =>
      this.gpu.upload(buffers[i], values, offset * 4)
    );
  }

  /** How many values each tensor of `state` holds. */
  get stateSizes(): Map<string, number> {
    return new Map(this.#stateBuffers().map(([name]) => [name, this.size]));
  }

  /** The whole state as flat buffers, for a checkpoint. */
  async state(): Promise<Map<string, Weight>> {
    const result = new Map<string, Weight>();
    for (const [name, buffer] of this.#stateBuffers()) {
      result.set(name, {
        shape: [this.size],
        data: new Float32Array(await this.gpu.read(buffer, this.size * 4)),
      });
    }
    return result;
  }

  /** Uploads a state that `state` returned. */
  restore(state: ReadonlyMap<string, Weight>): void {
    for (const [name, buffer] of this.#stateBuffers()) this.gpu.upload(buffer, state.get(name)!.data);
  }

  #stateBuffers(): [string, GPUBuffer][] {
    const { values, moment1, moment2 } = this;
    return Object.entries({ values, moment1, moment2 });
  }

  #view(buffer: GPUBuffer, name: string): BufferView | undefined {
    const place = this.#places.get(name);
    return place && { buffer, offset: place.offset * 4, bytes: place.size * 4 };
  }

  [Symbol.dispose](): void {
    this.#buffers.dispose();
  }
}
