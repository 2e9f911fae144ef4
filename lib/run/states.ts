/** What programs keep from one run to the next. */

import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import type { WeightPlace } from "./weight_store.ts";

/** The states of one or several programs (see `Graph.state`): buffers by name, zeros at first. */
export class States implements WeightPlace, Disposable {
  readonly #views = new Map<string, BufferView>();
  readonly #buffers: DisposableStack;

  /** Allocates states of these sizes in bytes. */
  constructor(private readonly gpu: Gpu, sizes: Iterable<readonly [name: string, bytes: number]>) {
    using buffers = new DisposableStack();
    for (const [name, bytes] of sizes) {
      const buffer = buffers.adopt(gpu.createBuffer(name, bytes), (own) => gpu.destroyBuffer(own));
      this.#views.set(name, { buffer, offset: 0, bytes });
    }
    this.#buffers = buffers.move();
  }

  /** The buffer of the state `name`, if it is one of these. */
  view(name: string): BufferView | undefined {
    return this.#views.get(name);
  }

  /** Sets all states to zeros again. */
  clear(): void {
    const encoder = this.gpu.device.createCommandEncoder({ label: "clear states" });
    for (const { buffer } of this.#views.values()) encoder.clearBuffer(buffer);
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#buffers.dispose();
    this.#views.clear();
  }
}
