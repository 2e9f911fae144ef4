/** A decoder and its adapters by name, ready to write. */

import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import type { CacheStorage } from "../../lib/generate/reading.ts";
import { Writer } from "../../lib/generate/writer.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";

/** What is served. */
export interface ServedOptions {
  readonly gpu: Gpu;
  readonly model: Decoder;
  /** By the names that requests have for them; none is called like the model itself. */
  readonly adapters: ReadonlyMap<string, SavedAdapter>;
  readonly cache?: CacheStorage;
}

/** The model alone under its own name, and with each adapter under the adapter's. Its weights are on the GPU once for all. */
export class ServedModels implements Disposable {
  readonly model: Decoder;
  readonly #writers = new Map<string, Writer>();
  readonly #owned: DisposableStack;

  /** Uploads the model's weights and the adapters'. */
  constructor({ gpu, model, adapters, cache }: ServedOptions) {
    this.model = model;
    using owned = new DisposableStack();
    const frozen = owned.use(FrozenWeights.forTraining(gpu, model));
    const alone = owned.use(new Writer({ gpu, model, frozen, cache }));
    this.#writers.set(model.name, alone);
    for (const [name, { adapter, weights }] of adapters) {
      this.#writers.set(
        name,
        owned.use(new Writer({ gpu, model, adapter, weights, frozen, cache, turnsWith: alone })),
      );
    }
    this.#owned = owned.move();
  }

  /** The model's name and the adapters'. */
  get names(): readonly string[] {
    return [...this.#writers.keys()];
  }

  /** What writes under a name, if there is such a one. */
  writerOf(name: string): Writer | undefined {
    return this.#writers.get(name);
  }

  /** Frees all weights. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
