/** Defines what is raced: a piece of work, the libraries that do it, and what each of them has to provide. */

import type { Gpu } from "../lib/gpu/device.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import type { PeerName } from "./peers.ts";

/** An input tensor, the same for every library. */
export interface Input {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Uniform random values in (−bound, bound), the same in every run. */
export function randomInput(name: string, shape: readonly number[], bound = 1): Input {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { shape, data: Float32Array.from(uniform(3, streamOf(name), size, bound)) };
}

/** Calls `make` on first use, so that a bench of one group does not draw the inputs of all. */
export function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

/** A piece of work, ready to run in one library, with its inputs on the GPU. */
export interface Runner {
  /** Does the work once and returns its results, in the layout that all libraries share. */
  results(): Promise<Float32Array[]>;
  /**
   * Does the work `times` times and waits for the last one; this is what is timed. A library in its own
   * process returns the milliseconds that it measured there.
   */
  lap(times: number): Promise<number | void>;
  dispose(): void;
}

/** This library's name in tables. */
export const own = "this library";

/** A library that is raced. */
export type Library = typeof own | PeerName;

/** Creates each library's runner. Libraries may share the code of a work. */
export type Ways = Readonly<Partial<Record<Library, () => Promise<Runner>>>>;

/** A row of a bench. */
export interface Work {
  /** A name such as `NT 512×768×768`. */
  readonly name: string;
  /** Counted FLOPs of one run, two per multiply-add. */
  readonly flops: number;
  /** The least bytes that one run must read and write. */
  readonly bytes: number;
  /** Creates the runner of each library that does the work. */
  readonly ways: Ways;
  /** Why some peers cannot do it. */
  readonly cannot?: Readonly<Partial<Record<PeerName, string>>>;
}

/**
 * Works that are shown in one table. To add a group: a file in `works/` that exports it, and a line in
 * `groups.ts`.
 */
export interface Group {
  readonly name: string;
  readonly title: string;
  works(gpu: Gpu): readonly Work[] | Promise<readonly Work[]>;
}
