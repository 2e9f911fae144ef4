/** A model with named adapters, like PEFT's `PeftModel`: add, load, switch, disable, merge, combine, save. */

import { type Adapter, attach } from "../adapters/attach.ts";
import { checkAdapter } from "../adapters/check_adapter.ts";
import { checkWeights } from "../adapters/check_weights.ts";
import { headOnly } from "../adapters/base_only.ts";
import { combineLoras } from "../adapters/combine.ts";
import type { Labels } from "../adapters/labels.ts";
import type { Method } from "../adapters/method.ts";
import { moduleOf } from "../adapters/names.ts";
import { loadAdapter, saveAdapter, type SavedAdapter } from "../adapters/peft.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import type { Gpu } from "../gpu/device.ts";
import type { BufferView } from "../gpu/program.ts";
import { Arena } from "../graph/compile.ts";
import { denseWeight, type Model, type Weight } from "../models/model.ts";
import type { PackedWeight } from "../models/packing.ts";
import type { Encoded, Objective } from "../objectives/objective.ts";
import { checkTexts } from "../run/check_examples.ts";
import { mergedWeight } from "./merge_weight.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { Kept } from "../run/kept.ts";
import { Predictor } from "../run/predictor.ts";
import { Shared } from "../run/shared.ts";
import { WeightStore } from "../run/weight_store.ts";

/** Examples in a prediction batch. */
const batchSize = 32;

/** Adapters, or states of one, that stay ready to predict. */
const mostReady = 4;

/** The predictor of an adapter, merged or not, or of the bare model, with its weights. */
interface Ready extends Disposable {
  readonly predictor: Predictor;
}

/**
 * Named adapters on one model, for inference. The model's own weights are never changed: merging computes
 * merged copies, so unmerging restores the original bits.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { AdaptedModel, attach, loadUseLite, lora, openGpu } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * const model = await loadUseLite();
 * const adapter = attach(model, lora, { r: 2, target: ["query"] });
 * const trained = new Map(
 *   [...adapter.parameters].map(([name, { shape }]) => [
 *     name,
 *     { shape, data: new Float32Array(shape[0] * shape[1]).fill(0.1) },
 *   ]),
 * );
 * using adapted = new AdaptedModel(gpu, model);
 * adapted.add("mine", adapter, trained);
 * await adapted.merge();
 * // W + s·BA, with s = 16/2 and BA = 2·0.1·0.1 everywhere.
 * const name = "layer.0.attention.query.weight";
 * const [before, after] = [model.weights.get(name)!, adapted.mergedWeights().get(name)!];
 * assert.ok(Math.abs(after.data[0] - before.data[0] - 8 * 2 * 0.01) < 1e-6);
 * adapted.unmerge();
 * ```
 */
export class AdaptedModel implements Disposable {
  readonly #gpu: Gpu;
  readonly #model: Model;
  readonly #base: Shared<FrozenWeights>;
  readonly #ready = new Kept<Ready>(mostReady);
  readonly #adapters = new Map<string, SavedAdapter>();
  /** The active adapter's merged weights, while it is merged. */
  #merged: Map<string, Weight> | undefined;
  #active: string | undefined;
  #enabled = true;

  /** Uploads the model's weights. */
  constructor(gpu: Gpu, model: Model) {
    this.#gpu = gpu;
    this.#model = model;
    this.#base = new Shared(FrozenWeights.of(gpu, model));
  }

  /** Names of the adapters. */
  get names(): string[] {
    return [...this.#adapters.keys()];
  }

  /** The active adapter's name; undefined if there is none or it is disabled. */
  get active(): string | undefined {
    return this.#enabled ? this.#active : undefined;
  }

  /** True while the active adapter is merged. */
  get merged(): boolean {
    return this.#merged !== undefined;
  }

  /**
   * Adds an adapter with its trained weights (`Trainer.weights`), and what its head's outputs mean, if `save` is to write
   * that. It becomes the active one if none is, as the first one and the next after the active one was deleted.
   * @throws Error when the name is taken, the adapter was attached to another model, or a weight is missing, of another shape, not
   * finite or of another adapter.
   */
  add(name: string, adapter: Adapter, weights: ReadonlyMap<string, Weight>, labels?: Labels): void {
    if (this.#adapters.has(name)) {
      throw new Error(`there is an adapter "${name}" already: delete it, or use another name`);
    }
    checkAdapter(this.#model, adapter);
    checkWeights(this.#model, adapter, weights);
    this.#adapters.set(name, { adapter, weights, labels });
    this.#active ??= name;
  }

  /**
   * Loads an adapter folder (PEFT's layout) under the name `name`. `known` lists the accepted methods, and
   * `report` receives `loadAdapter`'s messages. Throws what `loadAdapter` throws, and then adds nothing.
   */
  async load(
    name: string,
    folder: string,
    known?: readonly Method[],
    report?: (line: string) => void,
  ): Promise<void> {
    const { adapter, weights, labels } = await loadAdapter(folder, this.#model, known, report);
    this.add(name, adapter, weights, labels);
  }

  /** Writes an adapter folder in PEFT's layout, as `saveAdapter` does, with the labels that it was added or loaded with. */
  async save(name: string, folder: string): Promise<void> {
    const { adapter, weights, labels } = this.#get(name);
    await saveAdapter(folder, this.#model, adapter, weights, labels);
  }

  /** Makes `name` the active adapter, and undoes `disable`. Throws an Error if an adapter is merged. */
  setActive(name: string): void {
    this.#get(name);
    this.#refuseMerged("switch adapters");
    this.#active = name;
    this.#enabled = true;
  }

  /**
   * Predictions use the bare model, with the adapter's head and the layers that the checkpoint lacks, until `enable` or `setActive` is
   * called. Throws an Error if an adapter is merged.
   */
  disable(): void {
    this.#refuseMerged("disable the adapter");
    this.#enabled = false;
  }

  /** Undoes `disable`. */
  enable(): void {
    this.#enabled = true;
  }

  /**
   * Removes an adapter. If it was active, no adapter is active afterwards. Throws an Error while it is
   * merged.
   */
  delete(name: string): void {
    const saved = this.#get(name);
    if (name === this.#active) {
      this.#refuseMerged("delete the adapter");
      this.#active = undefined;
    }
    this.#adapters.delete(name);
    this.#forget(saved);
  }

  /**
   * Adds `name` as the exact weighted sum Σ w_i·ΔW_i of LoRA adapters, by concatenating their factors (PEFT's
   * `combination_type="cat"`). The result has no head: heads are not summed.
   * @throws Error as `combineLoras` does.
   */
  addWeighted(name: string, parts: Readonly<Record<string, number>>): void {
    const named = Object.entries(parts).map(([part, weight]) => ({ ...this.#get(part), weight }));
    const { adapter, weights } = combineLoras(this.#model, named);
    this.add(name, adapter, weights);
  }

  /**
   * Computes the active adapter's merged weights. Predictions then cost as much as the bare model's. Changes nothing when
   * another adapter has become active before it is done.
   */
  async merge(): Promise<void> {
    this.#refuseDisposed();
    const saved = this.#activeAdapter();
    if (!this.#enabled) throw new Error("the adapter is disabled: call enable() before you merge it");
    this.#refuseMerged("merge again");
    const name = this.#active!;
    const merged = await this.#base.use((base) => this.#mergedOf(saved, base));
    // Merging waits for the GPU; another adapter may have become active in the meantime, also one of this name.
    if (this.active !== name || this.#get(name) !== saved) {
      throw new Error(`"${name}" is no longer active: the merge was given up`);
    }
    this.#refuseMerged("merge again");
    this.#merged = merged;
  }

  /** The merged weights of an adapter's layers. */
  async #mergedOf({ adapter, weights }: SavedAdapter, base: FrozenWeights): Promise<Map<string, Weight>> {
    using own = this.#ownWeights(adapter, weights);
    const views = (name: string): BufferView => own.view(name) ?? base.view(name)!;
    for (const { module: { path } } of adapter.modules) denseWeight(this.#model, `${path}.weight`);
    const merged = new Map<string, Weight>();
    for (const adapted of adapter.modules) {
      const { path, m, n } = adapted.module;
      const data = await mergedWeight(this.#gpu, adapter, adapted, views);
      merged.set(`${path}.weight`, { shape: [m, n], data });
    }
    return merged;
  }

  /**
   * Undoes `merge`: the model's own weights, bit for bit, with the adapter beside them. Throws an Error when
   * nothing is merged.
   */
  unmerge(): void {
    if (!this.#merged) throw new Error("nothing is merged");
    this.#merged = undefined;
    this.#forget(this.#activeAdapter());
  }

  /**
   * All weights of the model, the merged ones in place of the originals. Throws an Error when nothing is
   * merged.
   */
  mergedWeights(): Map<string, Weight> {
    if (!this.#merged) throw new Error("nothing is merged: call merge() first");
    const own = this.#activeAdapter();
    const trained = [...own.adapter.trainedBase].map((
      name,
    ): [string, Weight] => [name, own.weights.get(name)!]);
    return new Map([...this.#model.weights, ...trained, ...this.#merged]);
  }

  /** The active adapter's trainable parameters, without its head's, and those of the whole model with it. */
  countParameters(): { readonly trainable: number; readonly all: number } {
    const { adapter } = this.#activeAdapter();
    const { weights, packed = new Map<string, PackedWeight>() } = this.#model;
    const base = [...weights.values(), ...packed.values()].reduce(
      (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
      0,
    );
    const trainable = adapter.trainableParameters;
    return { trainable, all: adapter.method.trainsBase ? base : base + trainable };
  }

  /**
   * Prints PEFT's line for the active adapter: `trainable params: 24,576 || all params: 7,000,320 ||
   * trainable%: 0.3511`.
   */
  printTrainableParameters(): void {
    const { trainable, all } = this.countParameters();
    const number = (value: number) => value.toLocaleString("en-US");
    const percent = (100 * trainable / all).toFixed(4);
    console.log(
      `trainable params: ${number(trainable)} || all params: ${number(all)} || trainable%: ${percent}`,
    );
  }

  /**
   * Predicts every example with the adapter that is active at the call, and its head: `[class scores]`, `[value]` or
   * `[option scores]`. Weights and programs are kept for the next call with this same `objective`, of which `objectiveOf` makes one. Calls may run at once, and
   * adapters may be switched, merged and deleted meanwhile.
   * @throws Error when the adapter has no head, or when the model cannot take an example's texts (it names
   * the first).
   */
  async predict(objective: Objective, examples: readonly Encoded[]): Promise<Float32Array[]> {
    this.#refuseDisposed();
    checkTexts(this.#model, objective, examples);
    const key = [this.#activeAdapter(), this.#enabled, this.#merged, objective];
    return await this.#base.use((base) =>
      this.#ready.use(
        key,
        () => this.#prepare(objective, base),
        ({ predictor }) => predictor.predict(examples),
      )
    );
  }

  /** Uploads what the active adapter adds to the model. */
  #prepare(objective: Objective, base: FrozenWeights): Ready {
    const [gpu, model] = [this.#gpu, this.#model];
    const bare = attach(model, headOnly, { target: "all-linear" });
    const { adapter, weights } = this.active === undefined
      ? { adapter: bare, weights: this.#lackedByModel() }
      : this.#get(this.active);
    this.#checkHead(objective, weights);
    using owned = new DisposableStack();
    const own = owned.use(this.#ownWeights(adapter, weights, this.#merged));
    const arena = owned.use(new Arena(gpu));
    const predictor = owned.use(
      new Predictor(gpu, {
        model,
        adapter: this.#merged ? bare : adapter,
        objective,
        weights: new WeightStore(own, base),
        batchSize,
        arena,
      }),
    );
    const all = owned.move();
    return { predictor, [Symbol.dispose]: () => all.dispose() };
  }

  /** Throws an Error unless the active adapter's head is of the objective's shapes. */
  #checkHead({ parameters }: Objective, weights: ReadonlyMap<string, Weight>): void {
    for (const [name, { shape }] of parameters) {
      const own = weights.get(name);
      if (!own) throw new Error(`no weight "${name}": train the adapter with this head first`);
      if (own.shape.join() === shape.join()) continue;
      throw new Error(
        `"${name}" of the active adapter "${this.#active}" is [${own.shape}], and the objective wants [${shape}]: ` +
          "call setActive with the adapter that was trained for it",
      );
    }
  }

  /**
   * Disabling an adapter keeps its head and the layers that the checkpoint lacks, on which the head was trained, so that
   * predictions with and without the adapter can be compared.
   */
  #lackedByModel(): ReadonlyMap<string, Weight> {
    const { weights } = this.#activeAdapter();
    const { head, fresh = [] } = this.#model;
    return new Map(
      [...weights].filter(([name]) => name.startsWith(`${head.module}.`) || fresh.includes(moduleOf(name))),
    );
  }

  /** The adapter's weights and constants, and the base weights that it replaces, on the GPU. */
  #ownWeights(
    adapter: Adapter,
    weights: ReadonlyMap<string, Weight>,
    merged: ReadonlyMap<string, Weight> = new Map(),
  ): FrozenWeights {
    return new FrozenWeights(
      this.#gpu,
      new Map([...constantWeights(this.#model, adapter), ...weights, ...merged]),
    );
  }

  #get(name: string): SavedAdapter {
    const found = this.#adapters.get(name);
    if (!found) throw new Error(`no adapter "${name}"; have ${this.names.join(", ") || "none"}`);
    return found;
  }

  #activeAdapter(): SavedAdapter {
    if (this.#active === undefined) throw new Error("no adapter is active: add one, or call setActive(name)");
    return this.#get(this.#active);
  }

  #refuseMerged(what: string): void {
    if (this.#merged) throw new Error(`"${this.#active}" is merged: call unmerge() before you ${what}`);
  }

  #refuseDisposed(): void {
    if (this.#base.disposed) {
      throw new Error("this AdaptedModel has been disposed of: use it within its scope");
    }
  }

  /** Frees what was uploaded to predict with this adapter, or leaves that to the calls that use it. */
  #forget(saved: SavedAdapter): void {
    this.#ready.drop(([own]) => own === saved);
  }

  /** Frees the model's weights, when the last call that uses them ends. */
  [Symbol.dispose](): void {
    this.#ready[Symbol.dispose]();
    this.#base[Symbol.dispose]();
  }
}
