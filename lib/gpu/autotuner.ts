/**
 * Chooses between kernels that compute the same. It runs each on random data, rejects those whose result
 * differs from the default's in any bit, times the others in turn, and keeps the winners in the user's cache
 * folder. All accepted kernels give the default's bits, so no result depends on timing noise, the cache or
 * the budget, and a resumed run ends in the same bits.
 */

import { digestOf } from "../digest.ts";
import type { Gpu } from "./device.ts";
import { readDriver } from "./driver.ts";
import { type BufferView, buildProgram, type Call, Program } from "./program.ts";
import { nanosecondsPerTick } from "./timestamps.ts";
import { TuningCache, userCachePath } from "./tuning_cache.ts";

/** Options of the autotuner. */
export interface AutotuneOptions {
  /**
   * Seconds that it may take in all, 10 by default. A kernel that is running at the end still finishes;
   * choices that have not been made by then keep their default, until another process makes them.
   */
  readonly seconds?: number;
  /**
   * File in which winners are kept; by default `bora-webgpu/kernels.json` in the user's cache folder, and
   * none in a browser.
   */
  readonly cache?: string;
  /**
   * Called with a line for each kernel when it is first rejected, for a cache that cannot be used, and once when
   * the time is over or there is no memory for timing; `console.warn` by default.
   */
  readonly report?: (line: string) => void;
}

/** The competing kernels: their launches by name, the default first, and the results they have in common. */
export interface Field extends Disposable {
  readonly candidates: readonly { readonly name: string; readonly calls: readonly Call[] }[];
  /** Everything that they write and others read. */
  readonly results: readonly BufferView[];
}

/** A choice to make. */
export interface Contest {
  /** What the choice is for: it applies to all nodes of this bucket. */
  readonly bucket: string;
  /** The amount of work that depends on it; contests with more work come first. */
  readonly work: number;
  /** The candidates' source, the default first. */
  readonly kernels: readonly { readonly name: string; readonly code: string }[];
  /** Creates everything that running the candidates needs; an Error where there is no memory for it. */
  field(): Promise<Field | Error>;
}

/** The kernels chosen on one device, and the time left for further choices. */
export class Autotuner {
  /** Names of the chosen kernels by bucket. */
  readonly choices: Map<string, string> = new Map();
  readonly #report: (line: string) => void;
  readonly #cache: TuningCache | undefined;
  readonly #budget: number;
  #left: number;
  /** Reading its version takes a while, and a tuner has one device. */
  #driver: Promise<string | undefined> | undefined;
  /** What was said once. */
  readonly #said = new Set<"over" | "no room">();
  /** Kernels whose rejection was reported. */
  readonly #rejected = new Set<string>();

  /** Prefer `openGpu({ autotune })`. */
  constructor({ seconds = 10, cache = userCachePath(), report = console.warn }: AutotuneOptions) {
    this.#budget = this.#left = seconds * 1000;
    this.#report = (line) => report(`Autotuner: ${line}`);
    this.#cache = cache === undefined ? undefined : new TuningCache(cache, this.#report);
  }

  /** Makes the choices that are still open, from the cache where it has them. */
  async tune(gpu: Gpu, contests: readonly Contest[]): Promise<void> {
    const open = contests.filter(({ bucket }) => !this.choices.has(bucket)).sort((a, b) => b.work - a.work);
    if (open.length === 0) return;
    const known = await this.#cache?.read();
    const driver = await (this.#driver ??= driverOf(gpu));
    const found = new Map<string, string>();
    for (const contest of open) {
      const key = await keyOf(gpu, driver, contest);
      const choice = known?.get(key) ?? await gpu.besidePeak(() => this.#decide(gpu, contest));
      if (choice !== undefined && !known?.has(key)) found.set(key, choice);
      this.choices.set(contest.bucket, choice ?? contest.kernels[0].name);
    }
    if (found.size > 0) await this.#cache?.add(found);
  }

  /**
   * The fastest; undefined if time or memory ran out and another run, with more of it for this contest, may
   * find a better one.
   */
  async #decide(gpu: Gpu, contest: Contest): Promise<string | undefined> {
    if (this.#left <= 0) {
      this.#sayOver();
      return undefined;
    }
    const hadAll = this.#left === this.#budget;
    const start = performance.now();
    const made = await contest.field();
    if (made instanceof Error) {
      this.#sayNoRoom(contest, made);
      return undefined;
    }
    using field = made;
    const outcome = await fastest(
      gpu,
      field,
      start + this.#left,
      (name, reason) => {
        if (this.#rejected.has(name)) return;
        this.#rejected.add(name);
        this.#report(`${contest.bucket} on ${gpu.adapter.name}: "${name}" is not used: ${reason}`);
      },
    );
    this.#left -= performance.now() - start;
    if (outcome instanceof Error) {
      this.#sayNoRoom(contest, outcome);
      return undefined;
    }
    const { name, tried, complete } = outcome;
    return complete || (hadAll && tried > 1) ? name : undefined;
  }

  /** Says once that what is left to choose keeps its default. */
  #sayOver(): void {
    if (this.#said.has("over")) return;
    this.#said.add("over");
    const seconds = (this.#budget / 1000).toLocaleString("en-US");
    const next = this.#cache ? "the next run goes on with them" : "they are right, if slower";
    this.#report(`its ${seconds} s are over: other products keep their usual kernels here, and ${next}`);
  }

  /** Says once that what cannot be timed keeps its default. */
  #sayNoRoom({ bucket }: Contest, { message }: Error): void {
    if (this.#said.has("no room")) return;
    this.#said.add("no room");
    this.#report(`no memory to time the kernels of ${bucket}, which keeps its usual one here: ${message}`);
  }
}

/**
 * The driver where this program may find it out, which takes all permissions. WebGPU reveals no more of it than the adapter's
 * description does (llvmpipe's contains the version of LLVM, a GPU's nothing).
 */
async function driverOf({ adapter }: Gpu): Promise<string | undefined> {
  if (typeof Deno === "undefined") return undefined;
  // A program that would be asked for a permission is not made to ask.
  const { state } = await Deno.permissions.query({ name: "read" });
  if (state !== "granted") return undefined;
  try {
    return await readDriver(adapter);
  } catch (error) {
    // By its name, because what stands for Deno in Node has no class of it.
    if (error instanceof Error && error.name === "NotCapable") return undefined;
    throw error;
  }
}

/**
 * The cache key: adapter, driver and runtime (which compile the kernels), bucket, and a digest of the kernels'
 * source.
 */
async function keyOf(
  { adapter, device }: Gpu,
  driver: string | undefined,
  { bucket, kernels }: Contest,
): Promise<string> {
  const { vendor, architecture, device: model, description } = device.adapterInfo;
  const runtime = globalThis.navigator?.userAgent;
  const identity = [adapter.name, vendor, architecture, model, description, driver, runtime];
  return [...new Set(identity.filter(Boolean)), bucket, (await digestOf(kernels)).slice(0, 16)].join(" | ");
}

/**
 * Milliseconds per lap. A lap must be long against the resolution of browsers' timestamps and the wait for
 * the GPU; on a busy machine, short laps choose kernels that are slower than the default.
 */
const lapMilliseconds = { timestamps: 20, wall: 100 };
const laps = 5;
/**
 * A candidate that takes this many times as long as the fastest is not timed again: the default after one
 * lap, others after their first two runs or after a lap.
 */
const hopeless = { default: 2, runs: 2, lap: 1.25 };
/**
 * A winner must be faster than the default in all laps but one, and its best time at most this fraction of
 * the default's.
 */
const clear = 0.97;

interface Entrant {
  readonly name: string;
  readonly program: Program;
  /** Milliseconds per run, one entry per lap. */
  readonly times: number[];
  /** The least so far, including the runs before the laps. */
  best: number;
}

/**
 * The name of the fastest candidate (the default unless another is clearly faster), how many were tried, and
 * whether there was time for all of them and their laps; an Error where there is no memory to read what they compute. Throws what
 * the default throws; an error of another candidate is the reason for rejecting it.
 */
async function fastest(
  gpu: Gpu,
  { candidates, results }: Field,
  deadline: number,
  refuse: (name: string, reason: string) => void,
): Promise<{ name: string; tried: number; complete: boolean } | Error> {
  using programs = new DisposableStack();
  const entrants: Entrant[] = [];
  let expected: readonly Float32Array[] | undefined;
  for (const { name, calls } of candidates) {
    if (expected && performance.now() > deadline) break;
    const program = await built(gpu, name, calls);
    if (program instanceof Error) {
      if (!expected) throw program;
      refuse(name, program.message);
      continue;
    }
    programs.use(program);
    const values = await resultsOf(gpu, program, results);
    if (values instanceof Error) return values;
    expected ??= values;
    const wrong = firstDifference(values, expected);
    if (wrong !== undefined) {
      refuse(name, wrong);
      continue;
    }
    const runs = await Program.timeInTurn(gpu, [program, program], 1);
    entrants.push({ name, program, best: Math.min(...runs), times: [] });
  }
  await runLaps(gpu, entrants, deadline);
  return {
    name: winnerOf(entrants).name,
    tried: entrants.length,
    complete: performance.now() < deadline,
  };
}

function winnerOf(entrants: readonly Entrant[]): Entrant {
  const [usual] = entrants;
  const leader = entrants.reduce((a, b) => b.best < a.best ? b : a);
  if (usual.times.length > 0 && usual.best > hopeless.default * leader.best) return leader;
  const wins = leader.times.filter((time, lap) => time < usual.times[lap]).length;
  const isClear = leader.times.length > 1 && wins >= leader.times.length - 1;
  return isClear && leader.best < clear * usual.best ? leader : usual;
}

async function built(gpu: Gpu, name: string, calls: readonly Call[]): Promise<Program | Error> {
  try {
    return await buildProgram(gpu, name, calls);
  } catch (error) {
    return error as Error;
  }
}

/**
 * What the program computes; an Error where there is no memory to read it. The results are cleared first, so that a kernel that
 * writes nothing does not pass.
 */
async function resultsOf(
  gpu: Gpu,
  program: Program,
  results: readonly BufferView[],
): Promise<Float32Array[] | Error> {
  const encoder = gpu.device.createCommandEncoder({ label: "autotuner" });
  for (const { buffer } of results) encoder.clearBuffer(buffer);
  gpu.device.queue.submit([encoder.finish()]);
  program.replay();
  const values: Float32Array[] = [];
  for (const { buffer, bytes } of results) {
    const read = await gpu.tryRead(buffer, bytes);
    if (read instanceof Error) return read;
    values.push(new Float32Array(read));
  }
  return values;
}

/** A description of the first value whose bits differ; undefined if none does. */
function firstDifference(
  actual: readonly Float32Array[],
  expected: readonly Float32Array[],
): string | undefined {
  for (const [i, values] of actual.entries()) {
    const [a, b] = [values, expected[i]].map(({ buffer }) => new Uint32Array(buffer));
    const at = a.findIndex((bits, place) => bits !== b[place]);
    if (at < 0) continue;
    const where = actual.length > 1 ? ` of output ${i + 1}` : "";
    return `value ${at}${where} is ${values[at]}, the default's is ${expected[i][at]}`;
  }
  return undefined;
}

/** Times in turn the candidates that can still win, and in the first lap the default too. */
async function runLaps(gpu: Gpu, entrants: readonly Entrant[], deadline: number): Promise<void> {
  const length = lapMilliseconds[await nanosecondsPerTick(gpu) === undefined ? "wall" : "timestamps"];
  for (let lap = 0; lap < laps && performance.now() < deadline; lap++) {
    const least = Math.min(...entrants.map(({ best }) => best));
    const most = lap === 0 ? hopeless.runs : hopeless.lap;
    const running = entrants.filter(({ best }, i) =>
      i === 0 ? lap === 0 || best <= hopeless.default * least : best <= most * least
    );
    if (running.length === 1) return;
    const slowest = Math.max(...running.map(({ best }) => best));
    const repeats = Math.ceil(Math.min(1000, length / slowest));
    const times = await Program.timeInTurn(gpu, running.map(({ program }) => program), repeats);
    for (const [i, entrant] of running.entries()) {
      entrant.times.push(times[i] / repeats);
      entrant.best = Math.min(entrant.best, times[i] / repeats);
    }
  }
}
