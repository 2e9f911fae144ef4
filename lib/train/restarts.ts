/**
 * ReLoRA's restarts: the adapter is merged into the run's own copy of the base and initialised again, and
 * Adam's moments are pruned.
 */

import type { Adapter } from "../adapters/attach.ts";
import { initialise } from "../adapters/initialise.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import type { Model, Weight } from "../models/model.ts";
import { compileMerge } from "./merge_weight.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import type { TrainableWeights } from "../run/trainable_weights.ts";

/** Factor of the learning rate at `step`: a linear warm-up after each restart, otherwise 1. */
export function rewarmFactor({ method: { restarts }, options }: Adapter, step: number): number {
  if (!restarts) return 1;
  const [every, warmup] = [restarts.every(options), restarts.warmup(options)];
  const since = step % every;
  return step >= every && since < warmup ? (since + 1) / (warmup + 1) : 1;
}

/** True when the adapter restarts before `step`. */
export function restartsBefore({ method: { restarts }, options }: Adapter, step: number): boolean {
  return restarts !== undefined && step > 0 && step % restarts.every(options) === 0;
}

/** The run's own copy of the adapted layers' weights. Restarts merge into it. */
export class RestartableBase implements Disposable {
  readonly #weights: FrozenWeights;

  constructor(private readonly gpu: Gpu, model: Model, private readonly adapter: Adapter) {
    const names = adapter.modules.map(({ module }) => `${module.path}.weight`);
    this.#weights = new FrozenWeights(gpu, names.map((name) => [name, model.weights.get(name)!] as const));
  }

  /** The buffer of `name`, if it is one of the adapted layers' weights. */
  view(name: string): BufferView | undefined {
    return this.#weights.view(name);
  }

  /**
   * Merges the adapter, initialises it again from (seed, restart), and prunes the moments. Waits for the GPU.
   */
  async restart(trainable: TrainableWeights, seed: number, restart: number): Promise<void> {
    await this.#merge(trainable);
    const share = this.adapter.method.restarts!.prune(this.adapter.options);
    for (const [name, spec] of this.adapter.parameters) {
      // The restart is part of the name, so that a restart does not draw the matrix that was just merged.
      const { data } = initialise(`${name}, restart ${restart}`, spec, seed);
      trainable.write(name, data);
      await trainable.editMoments(name, (m, v) => pruneMoments(m, v, share));
    }
  }

  async #merge(trainable: TrainableWeights): Promise<void> {
    const views = (name: string) => trainable.view(name) ?? this.view(name)!;
    for (const adapted of this.adapter.modules) {
      const { compiled, merged } = await compileMerge(this.gpu, this.adapter, adapted, views);
      using program = compiled;
      const target = this.view(`${adapted.module.path}.weight`)!;
      program.run([{ from: program.view(merged), to: target.buffer, toOffset: target.offset }]);
    }
  }

  /** The weights' shapes, by name. */
  get shapes(): Map<string, readonly number[]> {
    return new Map(this.adapter.modules.map(({ module: { path, m, n } }) => [`${path}.weight`, [m, n]]));
  }

  /** Reads the current weights back, by name. */
  async read(): Promise<Map<string, Weight>> {
    const result = new Map<string, Weight>();
    for (const [name, shape] of this.shapes) {
      const { buffer, offset, bytes } = this.view(name)!;
      result.set(name, { shape, data: new Float32Array(await this.gpu.read(buffer, bytes, offset)) });
    }
    return result;
  }

  /** Uploads weights that `read` returned. */
  restore(weights: ReadonlyMap<string, Weight>): void {
    for (const { module: { path } } of this.adapter.modules) {
      const { buffer, offset } = this.view(`${path}.weight`)!;
      this.gpu.upload(buffer, weights.get(`${path}.weight`)!.data, offset);
    }
  }

  [Symbol.dispose](): void {
    this.#weights[Symbol.dispose]();
  }
}

/**
 * Sets a share of the entries of both moments to 0: those with the smallest first moment in magnitude. Both
 * moments of an entry are set together, because a first moment without its second would be divided by ε
 * alone.
 */
function pruneMoments(
  m: Float32Array<ArrayBuffer>,
  v: Float32Array<ArrayBuffer>,
  share: number,
): Float32Array<ArrayBuffer>[] {
  const order = m.map(Math.abs).sort();
  const dropped = Math.floor(share * order.length);
  const floor = dropped < order.length ? order[dropped] : Infinity;
  const prune = (values: Float32Array<ArrayBuffer>) =>
    values.map((value, i) => Math.abs(m[i]) < floor ? 0 : value);
  return [prune(m), prune(v)];
}
