/** Weights that no run changes, on the GPU. */

import type { Gpu } from "../gpu/device.ts";
import { type DeviceTraits, sharingLanes } from "../gpu/kernel.ts";
import type { BufferView } from "../gpu/program.ts";
import { fitsPanels, toPanels } from "../graph/storages/f32_panels.ts";
import { type Model, scalesOf } from "../models/model.ts";
import { isInPieces, PieceRoom } from "../models/stored_weight.ts";
import type { WeightPlace } from "./weight_store.ts";

/** The content of a buffer: values, or words of packed values. */
type Stored = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** A model's weights, constants and packed words, by name. */
function allOf({ weights, constants, packed = new Map() }: Model): [string, { readonly data: Stored }][] {
  const words = [...packed].flatMap(([name, { words, scales }]): [string, { data: Stored }][] => [
    [name, { data: words }],
    ...scales ? [[scalesOf(name), { data: scales }] as [string, { data: Stored }]] : [],
  ]);
  return [...weights, ...constants, ...words];
}

/** The shapes of the weights that `FrozenWeights.forTraining` stores in panels on a device, by name. */
export function panelsForTraining(
  traits: DeviceTraits,
  { linears, weights }: Model,
): Map<string, readonly number[]> {
  const wantsPanels = traits.software && sharingLanes(traits) > 0;
  return new Map(
    linears.map(({ path, m, n }) => [`${path}.weight`, [m, n]] as const)
      .filter(([name, shape]) => wantsPanels && weights.has(name) && fitsPanels(shape)),
  );
}

/**
 * Weights that do not change, on the GPU: a model's, which several runs may share, or other tensors, each in its own buffer.
 */
export class FrozenWeights implements WeightPlace, Disposable {
  readonly #views = new Map<string, BufferView>();
  readonly #buffers: DisposableStack;

  /**
   * Uploads `weights`. All buffers are created before the first upload. On a software driver, staging memory
   * and buffers are memory of the same kind: a buffer created between uploads would take the staging memory
   * just freed, and the next upload would need more.
   */
  constructor(
    gpu: Gpu,
    weights: Iterable<readonly [string, { readonly data: Stored }]>,
    /** Shapes of the weights to store in panels, by name. */
    inPanels: ReadonlyMap<string, readonly number[]> = new Map(),
  ) {
    using buffers = new DisposableStack();
    const own = new Map(weights);
    for (const [name, shape] of inPanels) {
      if (!fitsPanels(shape)) throw new Error(`"${name}" is [${shape}], which cannot lie in panels`);
    }
    for (const [name, weight] of own) {
      const bytes = isInPieces(weight) ? weight.bytes : weight.data.byteLength;
      const buffer = buffers.adopt(gpu.createBuffer(name, bytes), (own) => gpu.destroyBuffer(own));
      this.#views.set(name, { buffer, offset: 0, bytes, inPanels: inPanels.has(name) });
    }
    const room = new PieceRoom();
    for (const [name, weight] of own) {
      const { buffer } = this.#views.get(name)!;
      const shape = inPanels.get(name);
      const upload = (values: Stored, at: number) => gpu.upload(buffer, values, 4 * at);
      let at = 0;
      for (const piece of isInPieces(weight) ? weight.pieces(room) : [weight.data]) {
        if (shape) toPanels(piece as Float32Array<ArrayBuffer>, at, shape, upload);
        else upload(piece, at);
        at += piece.length;
      }
    }
    this.#buffers = buffers.move();
  }

  /**
   * Uploads a model's weights and constants. Packed weights are uploaded as words, with their scales under
   * the name that `scalesOf` gives.
   */
  static of(gpu: Gpu, model: Model): FrozenWeights {
    return new FrozenWeights(gpu, allOf(model));
  }

  /**
   * Uploads a model's weights for training. On software drivers, linear layers' weights are stored in panels
   * where their shape allows it, and a graph that reads them must know (see `WeightStore.storage`). GPUs do not need
   * this: a workgroup loads one tile at a time, wherever its rows are.
   */
  static forTraining(gpu: Gpu, model: Model): FrozenWeights {
    return new FrozenWeights(gpu, allOf(model), panelsForTraining(gpu.traits, model));
  }

  /** The buffer of `name`, if it is among these weights. */
  view(name: string): BufferView | undefined {
    return this.#views.get(name);
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#buffers.dispose();
    this.#views.clear();
  }
}
