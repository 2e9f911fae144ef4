/** What is raced: a piece of work, the libraries that do it, and what each of them is asked for. */

import type { Gpu } from "../lib/gpu/device.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import type { PeerName } from "./peers.ts";

/** A tensor that every library starts from. */
export interface Input {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

/** Uniform in (−bound, bound), the same in every run. */
export function randomInput(name: string, shape: readonly number[], bound = 1): Input {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return { shape, data: Float32Array.from(uniform(3, streamOf(name), size, bound)) };
}

/** `make`'s result, made when it is first asked for: a bench of one group does not draw the inputs of all. */
export function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}

/** A piece of work ready to be run in one library, its inputs on the GPU. */
export interface Runner {
  /** Does the work once and gives its results, in the order that all libraries agree on. */
  results(): Promise<Float32Array[]>;
  /**
   * Does the work `times` times and waits for the last: what is timed. Gives the milliseconds where the library runs in a
   * process of its own and takes them there.
   */
  lap(times: number): Promise<number | void>;
  dispose(): void;
}

/** This library's name in tables. */
export const own = "this library";

/** A library that is raced. */
export type Library = typeof own | PeerName;

/** What makes a library's runner; several libraries may share the code of a work. */
export type Ways = Readonly<Partial<Record<Library, () => Promise<Runner>>>>;

/** A row of a bench. */
export interface Work {
  /** Such as `NT 512×768×768`. */
  readonly name: string;
  /** FLOPs of one run by count: two a multiply-add. */
  readonly flops: number;
  /** Bytes that one run must at least read and write. */
  readonly bytes: number;
  /** Makes the runner of each library that does the work. */
  readonly ways: Ways;
  /** Why peers cannot do it. */
  readonly cannot?: Readonly<Partial<Record<PeerName, string>>>;
}

/** Works that are shown in one table. To add one: a file in `works/` that exports a group, and a line in `groups.ts`. */
export interface Group {
  readonly name: string;
  readonly title: string;
  works(gpu: Gpu): readonly Work[] | Promise<readonly Work[]>;
}
