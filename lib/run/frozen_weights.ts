/** Weights that no run changes, on the GPU. */

import type { Gpu } from "../gpu/device.ts";
import { type DeviceTraits, sharingLanes } from "../gpu/kernel.ts";
import type { BufferView } from "../gpu/program.ts";
import { fitsPanels, toPanels } from "../graph/storages/f32_panels.ts";
import type { StoredValues } from "../graph/storages/storage.ts";
import { type Model, scalesOf, type Weight } from "../models/model.ts";
import { PackedInPieces } from "../models/packed_in_pieces.ts";
import { type PackedWeight, storedLengths } from "../models/packing.ts";
import { isInPieces, PieceRoom } from "../models/stored_weight.ts";
import { checkRoom, roomOn } from "./room.ts";
import type { WeightPlace } from "./weight_store.ts";

/** A model's dense weights and constants, by name. */
function allOf({ weights, constants }: Model): [string, Weight][] {
  return [...weights, ...constants];
}

/** The content of a buffer: values, or words of packed values. */
type Stored = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** The content of one or two buffers, which is read together. */
interface Source {
  /** Names and bytes of the buffers. */
  readonly buffers: readonly (readonly [name: string, bytes: number])[];
  /** For every piece what goes to each of the buffers. */
  pieces(room: PieceRoom): Iterable<readonly Stored[]>;
}

function sourceOf(name: string, weight: { readonly data: Stored }): Source {
  if (!isInPieces(weight)) {
    return { buffers: [[name, weight.data.byteLength]], pieces: () => [[weight.data]] };
  }
  return {
    buffers: [[name, weight.bytes]],
    *pieces(room) {
      for (const piece of weight.pieces(room)) yield [piece];
    },
  };
}

/** Words of packed values, and their scales under the name that `scalesOf` gives. */
function packedSource(name: string, weight: PackedWeight): Source {
  const { words, scales } = storedLengths(weight);
  const both = ({ words, scales }: StoredValues) => scales ? [words, scales] : [words];
  return {
    buffers: [[name, 4 * words], ...scales > 0 ? [[scalesOf(name), 4 * scales] as const] : []],
    *pieces(room) {
      if (!(weight instanceof PackedInPieces)) return yield both(weight);
      for (const piece of weight.pieces(room)) yield both(piece);
    },
  };
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
  /** The weights of the model that these are, if they are a model's. */
  #model: Model["weights"] | undefined;

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
    /** Packed weights, by name. */
    packed: ReadonlyMap<string, PackedWeight> = new Map(),
  ) {
    using buffers = new DisposableStack();
    const sources = [
      ...[...new Map(weights)].map(([name, weight]) => sourceOf(name, weight)),
      ...[...packed].map(([name, weight]) => packedSource(name, weight)),
    ];
    for (const [name, shape] of inPanels) {
      if (!fitsPanels(shape)) throw new Error(`"${name}" is [${shape}], which cannot lie in panels`);
    }
    for (const [name, bytes] of sources.flatMap(({ buffers }) => buffers)) {
      const buffer = buffers.adopt(gpu.createBuffer(name, bytes), (own) => gpu.destroyBuffer(own));
      this.#views.set(name, { buffer, offset: 0, bytes, inPanels: inPanels.has(name) });
    }
    const room = new PieceRoom();
    for (const source of sources) this.#upload(gpu, source, inPanels, room);
    this.#buffers = buffers.move();
  }

  #upload(
    gpu: Gpu,
    { buffers, pieces }: Source,
    inPanels: ReadonlyMap<string, readonly number[]>,
    room: PieceRoom,
  ): void {
    const at = buffers.map(() => 0);
    for (const piece of pieces(room)) {
      piece.forEach((values, i) => {
        const [name] = buffers[i];
        const { buffer } = this.#views.get(name)!;
        const shape = inPanels.get(name);
        const upload = (run: Stored, from: number) => gpu.upload(buffer, run, 4 * from);
        if (shape) toPanels(values as Float32Array<ArrayBuffer>, at[i], shape, upload);
        else upload(values, at[i]);
        at[i] += values.length;
      });
    }
  }

  /**
   * Uploads a model's weights and constants. Packed weights are uploaded as words, with their scales under
   * the name that `scalesOf` gives.
   * @throws Error, before anything is uploaded, when they have no room: it says which packing would fit.
   */
  static of(gpu: Gpu, model: Model): FrozenWeights {
    checkRoom(model, roomOn(gpu));
    return FrozenWeights.#ofModel(gpu, model, new Map());
  }

  /**
   * Uploads a model's weights for training. On software drivers, linear layers' weights are stored in panels
   * where their shape allows it, and a graph that reads them must know (see `WeightStore.storage`). GPUs do not need
   * this: a workgroup loads one tile at a time, wherever its rows are. Throws as `of` does.
   */
  static forTraining(gpu: Gpu, model: Model): FrozenWeights {
    checkRoom(model, roomOn(gpu));
    return FrozenWeights.#ofModel(gpu, model, panelsForTraining(gpu.traits, model));
  }

  static #ofModel(gpu: Gpu, model: Model, inPanels: ReadonlyMap<string, readonly number[]>): FrozenWeights {
    const frozen = new FrozenWeights(gpu, allOf(model), inPanels, model.packed);
    frozen.#model = model.weights;
    return frozen;
  }

  /** Throws an Error when these are another model's weights: a run would compute with them and say nothing. */
  refuseOther({ name, weights }: Model): void {
    if (this.#model === undefined || this.#model === weights) return;
    throw new Error(
      `frozen holds the weights of another model than ${name}: make them of the model that you give (FrozenWeights.forTraining)`,
    );
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
