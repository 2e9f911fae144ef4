/** Races the libraries on one work: compares their results first, then times laps in alternation. */

import { placeOf } from "./peers.ts";
import { type Group, type Library, own, type Runner, type Work } from "./work.ts";

/** Laps of every library; fewer if a run of this library takes a tenth of a second or more. */
const [fastLaps, slowLaps] = [5, 3];
/**
 * The target milliseconds of this library's lap; they set the number of runs per lap. A GPU's runs are short against
 * the ten milliseconds that waiting for the last one takes.
 */
const lapMilliseconds = { software: 60, hardware: 300 };
/** The most runs per lap, however short they are. */
const mostRuns = 3000;
/**
 * A peer whose lap would take longer has fewer runs per lap. Its laps are still long enough that the ten
 * milliseconds of waiting are less than a fiftieth.
 */
const peerLapMilliseconds = 500;
/**
 * A peer that takes longer per run is not timed, unless it is the fastest in its place (WebGPU, the CPU or CUDA).
 */
const patience = 2000;
/**
 * A peer is not tried if a run would take longer at its best rate so far in the group, with the same
 * exception.
 */
const longestTry = 10_000;

/** The number of laps of a work, and of runs per lap. What is undefined follows from how long a run takes. */
export interface Plan {
  readonly laps?: number;
  readonly runs?: number;
  /** What the race is run on; software if undefined. */
  readonly on?: "software" | "hardware";
}

/** One library's laps on one work. */
export interface Measured {
  readonly library: Library;
  /**
   * Milliseconds per run, one entry per lap in the order of the laps; empty if the library does not do the
   * work.
   */
  readonly milliseconds: readonly number[];
  /** Why there are no times. */
  readonly cannot?: string;
  /** Milliseconds of the only run, if it took too long to repeat. */
  readonly once?: number;
}

/** A raced work. */
export interface Row {
  readonly group: string;
  /** The group's title. */
  readonly title: string;
  readonly name: string;
  readonly flops: number;
  readonly bytes: number;
  /**
   * Runs per lap; slow peers have fewer. Each lap ends with one wait for the GPU, which takes ten
   * milliseconds or more.
   */
  readonly runs: number;
  /** Milliseconds per lap of the yardstick (`yardstick.ts`), each measured just before this library's. */
  readonly yardstick: readonly number[];
  readonly measured: readonly Measured[];
}

/** The largest |a − b| divided by the largest |b|; Infinity if sizes differ or a value is not finite. */
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
  const own = await runner.lap(times);
  return (own ?? performance.now() - start) / times;
}

/** A library that is ready to race: its runner, its results, and about how long a run takes. */
interface Ready {
  readonly runner: Runner;
  readonly results: Float32Array[];
  readonly one: number;
}

/** Prepares a library, or returns what it threw: one that fails must not end the race for the others. */
async function prepared(way: () => Promise<Runner>): Promise<Ready | Error> {
  using owned = new DisposableStack();
  try {
    const runner = owned.adopt(await way(), (failed) => failed.dispose());
    const start = performance.now();
    const results = await runner.results();
    const first = performance.now() - start;
    // The first run includes compilation, which must not decide who is fast.
    const one = first > patience ? Math.min(first, await milliseconds(runner, 1)) : first;
    owned.move();
    return { runner, results, one };
  } catch (error) {
    return error as Error;
  }
}

/** Why a peer cannot be timed. */
function refusal(peer: Ready | Error, expected: readonly Float32Array[]): string | undefined {
  if (peer instanceof Error) return `fails: ${peer.message}`;
  const error = difference(peer.results, expected);
  if (error > 1e-3) return `its result is off by ${error.toPrecision(2)}`;
}

/** The times above `limit` of libraries that are not the fastest in their place. */
function beyond(limit: number, times: ReadonlyMap<Library, number>): Map<Library, number> {
  const quickest = Map.groupBy(times, ([library]) => placeOf(library));
  return new Map(
    [...times].filter(([library, time]) =>
      time > limit && quickest.get(placeOf(library))!.some(([, other]) => other < time)
    ),
  );
}

/**
 * The reasons why peers are not tried on `work`: the time it would take at their best rate in the rows so
 * far.
 */
export function tooLong(rows: readonly Row[], { flops }: Pick<Work, "flops">): Map<Library, string> {
  const best = new Map<Library, number>();
  for (const row of rows) {
    for (const { library, milliseconds, once = Infinity } of row.measured) {
      const time = flops / row.flops * Math.min(once, ...milliseconds);
      if (library !== own && time < (best.get(library) ?? Infinity)) best.set(library, time);
    }
  }
  return new Map(
    [...beyond(longestTry, best)].map(([library, time]) => [
      library,
      `not tried: a run would take about ${(time / 1000).toPrecision(2)} s`,
    ]),
  );
}

/** A library in the race, with its runs per lap and its times. */
interface Entrant {
  readonly library: Library;
  readonly runner: Runner;
  readonly runs: number;
  readonly times: number[];
}

/**
 * Runs the work in every library that supports it, this one first. A library is not timed if its results
 * differ from this library's by more than 1e-3 of the largest value, or if it fails or takes too long; the
 * row gives the reason. The yardstick runs a lap before each of this library's. Throws what this library
 * throws.
 */
export async function race(
  { name: group, title }: Pick<Group, "name" | "title">,
  { name, flops, bytes, ways, cannot = {} }: Work,
  yardstick: Runner,
  plan: Plan = {},
): Promise<Row> {
  using owned = new DisposableStack();
  const adopt = (found: Ready) => owned.adopt(found.runner, (used) => used.dispose());
  const { [own]: ownWay, ...peers } = ways;
  const ours = await prepared(ownWay!);
  if (ours instanceof Error) throw ours;
  adopt(ours);
  const { laps, runs } = await planned(plan, ours.runner);
  const entrants: Entrant[] = [{ library: own, runner: ours.runner, runs, times: [] }];
  const absent: Measured[] = [];
  const leaveOut = (library: Library, cannot: string, once?: number) =>
    absent.push({ library, milliseconds: [], cannot, ...once === undefined ? {} : { once } });
  const ready = new Map<Library, Ready>();
  for (const [library, way] of Object.entries(peers) as [Library, () => Promise<Runner>][]) {
    const found = await prepared(way);
    if (!(found instanceof Error)) adopt(found);
    const why = refusal(found, ours.results);
    if (why) leaveOut(library, why);
    else ready.set(library, found as Ready);
  }
  const slow = beyond(patience, new Map([...ready].map(([library, { one }]) => [library, one])));
  for (const [library, peer] of ready) {
    const once = slow.get(library);
    if (once) leaveOut(library, `not timed: one run took ${(once / 1000).toPrecision(2)} s`, once);
    else entrants.push({ library, runner: peer.runner, runs: await peerRuns(peer.runner, runs), times: [] });
  }
  for (const [library, why] of Object.entries(cannot)) leaveOut(library as Library, why);
  await yardstick.lap(1);
  const fixed: number[] = [];
  for (let lap = 0; lap < laps; lap++) {
    fixed.push(await milliseconds(yardstick, 1));
    for (const { runner, runs, times } of entrants) times.push(await milliseconds(runner, runs));
  }
  const measured = entrants.map(({ library, times }): Measured => ({ library, milliseconds: times }));
  return { group, title, name, flops, bytes, runs, yardstick: fixed, measured: [...measured, ...absent] };
}

/** The runs per lap of a peer, if this library's laps have `runs`. */
async function peerRuns(runner: Runner, runs: number): Promise<number> {
  const first = await milliseconds(runner, 1);
  if (first * runs <= peerLapMilliseconds) return runs;
  return Math.min(runs, Math.ceil(peerLapMilliseconds / await withoutWait(runner, first)));
}

/** Milliseconds of a run without the wait for the last one, which a single run's `first` includes. */
async function withoutWait(runner: Runner, first: number): Promise<number> {
  // A wait is ten milliseconds or more: that of a longer run matters little.
  if (first >= 50) return first;
  const more = 20;
  return Math.max(1e-3, (await milliseconds(runner, 1 + more) * (1 + more) - first) / more);
}

/** Fills in what `plan` leaves undefined, from the time of one run of this library. */
async function planned({ laps, runs, on = "software" }: Plan, runner: Runner) {
  const first = await milliseconds(runner, 1);
  const one = await withoutWait(runner, first);
  return {
    laps: laps ?? (first < 100 ? fastLaps : slowLaps),
    runs: runs ?? Math.min(mostRuns, Math.max(1, Math.round(lapMilliseconds[on] / one))),
  };
}
