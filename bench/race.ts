/** Races the libraries on one piece of work: results compared first, then laps in turn. */

import { type Group, type Library, own, type Runner, type Work } from "./work.ts";

/** Laps of every library; fewer where a run of this library takes a tenth of a second or more. */
const [fastLaps, slowLaps] = [5, 3];
/** A lap is as many runs as this library needs for about as many milliseconds. */
const lapMilliseconds = 60;

/** How many laps a work is timed for, and how many runs a lap has; by how long a run takes where nothing is given. */
export interface Plan {
  readonly laps?: number;
  readonly runs?: number;
}

/** One library's laps on one work. */
export interface Measured {
  readonly library: Library;
  /** Milliseconds a run, one entry a lap, in the order they were run; none where the library does not do the work. */
  readonly milliseconds: readonly number[];
  /** Why there are none. */
  readonly cannot?: string;
}

/** A raced work. */
export interface Row {
  readonly group: string;
  /** The group's title. */
  readonly title: string;
  readonly name: string;
  readonly flops: number;
  readonly bytes: number;
  /** Runs of this library and its peers in a lap; each lap ends with one wait for the GPU, ten milliseconds or more. */
  readonly runs: number;
  /** Milliseconds a lap of the yardstick (`yardstick.ts`), each just before this library's. */
  readonly yardstick: readonly number[];
  readonly measured: readonly Measured[];
}

/** Largest |a − b| of two results over the largest |b|; Infinity where their sizes differ or a value is not finite. */
function difference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return Math.max(...b.map((expected, i) => {
    if (a[i]?.length !== expected.length) return Infinity;
    let [worst, scale] = [0, 1e-30];
    expected.forEach((value, j) => {
      worst = Math.max(worst, Math.abs(a[i][j] - value));
      scale = Math.max(scale, Math.abs(value));
    });
    return Number.isFinite(worst) ? worst / scale : Infinity;
  }));
}

async function milliseconds(runner: Runner, times: number): Promise<number> {
  const start = performance.now();
  await runner.lap(times);
  return (performance.now() - start) / times;
}

/** A runner and its results, or what the library threw: one that fails must not end the race of the others. */
async function prepared(
  way: () => Promise<Runner>,
): Promise<{ runner: Runner; results: Float32Array[] } | Error> {
  using owned = new DisposableStack();
  try {
    const runner = owned.adopt(await way(), (failed) => failed.dispose());
    const results = await runner.results();
    owned.move();
    return { runner, results };
  } catch (error) {
    return error as Error;
  }
}

/**
 * Runs the work in every library that does it, this one first; one whose results differ from this library's by more than 1e-3
 * of the largest, or which fails, is not timed, and the reason is said. The yardstick has a lap before each of this library's.
 * Throws what this library throws.
 */
export async function race(
  { name: group, title }: Pick<Group, "name" | "title">,
  { name, flops, bytes, ways }: Work,
  yardstick: Runner,
  plan: Plan = {},
): Promise<Row> {
  using owned = new DisposableStack();
  const entrants: { library: Library; runner: Runner; times: number[] }[] = [];
  const absent: Measured[] = [];
  let expected: Float32Array[] | undefined;
  for (const [library, way] of Object.entries(ways) as [Library, () => Promise<Runner>][]) {
    const found = await prepared(way);
    if (found instanceof Error) {
      if (library === own) throw found;
      absent.push({ library, milliseconds: [], cannot: `fails: ${found.message}` });
      continue;
    }
    const runner = owned.adopt(found.runner, (used) => used.dispose());
    expected ??= found.results;
    const error = difference(found.results, expected);
    if (error <= 1e-3) entrants.push({ library, runner, times: [] });
    else absent.push({ library, milliseconds: [], cannot: `its result is off by ${error.toPrecision(2)}` });
  }
  const { laps, runs } = await planned(plan, entrants[0].runner);
  await yardstick.lap(1);
  const fixed: number[] = [];
  for (let lap = 0; lap < laps; lap++) {
    fixed.push(await milliseconds(yardstick, 1));
    for (const { runner, times } of entrants) times.push(await milliseconds(runner, runs));
  }
  const measured = entrants.map(({ library, times }): Measured => ({ library, milliseconds: times }));
  return { group, title, name, flops, bytes, runs, yardstick: fixed, measured: [...measured, ...absent] };
}

/** What is left open by `plan`, by how long a run of this library takes. */
async function planned({ laps, runs }: Plan, runner: Runner): Promise<Required<Plan>> {
  const first = await milliseconds(runner, 1);
  // Waiting for the last run costs ten milliseconds or more by itself: many runs tell what one takes.
  const one = first < lapMilliseconds ? await milliseconds(runner, 20) : first;
  return {
    laps: laps ?? (first < 100 ? fastLaps : slowLaps),
    runs: runs ?? Math.min(100, Math.max(1, Math.round(lapMilliseconds / one))),
  };
}
