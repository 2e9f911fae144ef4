/** A decoder on the GPU that writes as it is, is taught, and writes with what it has learnt. */

import { Writer } from "../../lib/generate/writer.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import { FilesInMemory } from "../../lib/files_in_memory.ts";
import { loadDecoder } from "../../lib/models/load_decoder.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { packagedModel } from "../../lib/models/packaged_models.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { learn, type Learnt, type Lesson, type LessonWatch } from "./lesson.ts";

/** Bytes of a model's files, by name. */
export type ModelFiles = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;

/** It owns GPU memory, and its files' bytes: dispose of it. */
export class Pupil implements Disposable {
  readonly #bare: Writer;
  /** Writes with the adapter that was trained last. */
  #adapted: Writer | undefined;

  private constructor(
    private readonly gpu: Gpu,
    readonly model: Decoder,
    private readonly frozen: FrozenWeights,
    private readonly owned: DisposableStack,
  ) {
    this.#bare = owned.use(new Writer({ gpu, model, frozen }));
  }

  /** Reads a model and uploads its weights. Throws what `loadDecoder` and the upload throw. */
  static async of(gpu: Gpu, name: string, files: ModelFiles): Promise<Pupil> {
    using owned = new DisposableStack();
    const read = await loadDecoder(owned.use(new FilesInMemory(name, files)).path);
    // The server's models have the ids of packaged ones; names of files that were picked have an ending.
    const model = { ...read, hubId: packagedModel(name)?.hubId };
    const frozen = owned.use(FrozenWeights.forTraining(gpu, model));
    return new Pupil(gpu, model, frozen, owned.move());
  }

  /** Learns, and writes with that from now on. Throws what `learn` throws. */
  async learn(lesson: Lesson, watch: LessonWatch): Promise<Learnt> {
    const { gpu, model, frozen } = this;
    const learnt = await learn(gpu, frozen, lesson, watch);
    this.#adapted?.[Symbol.dispose]();
    this.#adapted = new Writer({ gpu, model, frozen, adapter: lesson.adapter, weights: learnt.trained });
    return learnt;
  }

  /** Writes as it was before all lessons, or after the last; undefined if there was none. */
  writer(when: "before" | "after"): Writer | undefined {
    return when === "before" ? this.#bare : this.#adapted;
  }

  /** Frees all that it owns. */
  [Symbol.dispose](): void {
    this.#adapted?.[Symbol.dispose]();
    this.owned.dispose();
  }
}
