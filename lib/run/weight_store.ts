/** Where a program's weights are on the GPU. */

import type { BufferView } from "../gpu/program.ts";
import type { DType } from "../graph/graph.ts";

/** A place in which some weights are. */
export interface WeightPlace {
  /** The buffer of `name`, if it is here. */
  view(name: string): BufferView | undefined;
}

/** Several places, such as a run's trained tensors over its own base over the model's: the first that has a weight counts. */
export class WeightStore {
  readonly #places: readonly WeightPlace[];

  /** The places, the first to be asked first. */
  constructor(...places: readonly WeightPlace[]) {
    this.#places = places;
  }

  /** The buffer of `name`. Throws an Error when no place has it. */
  view(name: string): BufferView {
    const view = this.#find(name);
    if (!view) throw new Error(`no weight "${name}"`);
    return view;
  }

  /** The storage layout of `name`, for the graph that reads it; row-major f32 where no place has it. */
  storage(name: string): DType {
    return this.#find(name)?.inPanels ? "f32 in panels" : "f32";
  }

  #find(name: string): BufferView | undefined {
    for (const place of this.#places) {
      const view = place.view(name);
      if (view) return view;
    }
    return undefined;
  }
}
