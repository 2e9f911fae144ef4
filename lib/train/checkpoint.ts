/** Checkpoints of a run: its tensors, and what the run was, so that no other one goes on from it. */

import { digestOf } from "../digest.ts";
import type { Adapter } from "../adapters/attach.ts";
import type { Encoder, Weight } from "../models/model.ts";
import { readSafetensors, toFloat32, writeSafetensors } from "../models/safetensors.ts";
import { adamWDefaults, DivergedError } from "./adamw.ts";
import type { Encoded } from "./batches.ts";
import type { HeadShape } from "./step.ts";
import type { TrainOptions } from "./trainer.ts";

/** Whatever the bits of a run depend on, by name, as JSON holds it. */
export type RunDescription = Readonly<Record<string, unknown>>;

/** What a run is: the model by its name and packing, the examples by a digest. */
export async function describeRun(
  { name, packed }: Encoder,
  adapter: Adapter,
  head: HeadShape,
  options: TrainOptions,
  examples: readonly Encoded[],
): Promise<RunDescription> {
  // Whatever is left out has its default, and recomputation changes no bit.
  const { recompute: _, ...training } = { accumulationSteps: 1, ...adamWDefaults, ...options };
  return {
    model: name,
    packing: packed?.values().next().value?.packing ?? "f32",
    method: adapter.method.name,
    layers: Object.fromEntries(adapter.modules.map(({ module: { path }, options }) => [path, options])),
    trainedBase: [...adapter.trainedBase],
    head,
    training: Object.fromEntries(Object.entries(training).toSorted(([a], [b]) => a < b ? -1 : 1)),
    examples: await digestOf(examples),
  };
}

/** How far a run is. */
export interface Place {
  readonly step: number;
  readonly batch: number;
  /** Whether weights of an earlier step are kept beside the present ones. */
  readonly kept: boolean;
}

/**
 * Raised when a checkpoint holds other tensors, or a run makes other bits of them. Before 2 a checkpoint always held a best
 * epoch's weights, and a step of several batches was the mean of the batches' means.
 */
const version = "2";

/** What a run's caller keeps in its checkpoints, by name. */
export type Notes = Readonly<Record<string, string>>;

/**
 * Writes `tensors` as they are at a place of the run.
 * @throws DivergedError, and leaves the file as it was, when they hold values that are not finite.
 */
export async function writeCheckpoint(
  path: string,
  run: RunDescription,
  { step, batch, kept }: Place,
  tensors: ReadonlyMap<string, Weight>,
  notes: Notes,
): Promise<void> {
  const [bad] = [...tensors].find(([, { data }]) => !data.every(Number.isFinite)) ?? [];
  if (bad !== undefined) {
    throw new DivergedError(
      `"${bad}" holds values that are not finite after ${step} steps, and nothing is saved: use a lower learning rate.`,
    );
  }
  await writeSafetensors(path, tensors, {
    version,
    step: String(step),
    batch: String(batch),
    kept: String(kept),
    run: JSON.stringify(run),
    notes: JSON.stringify(notes),
  });
}

/** The caller's notes in a checkpoint of any run. Throws an Error when the file is damaged, no checkpoint or of another version. */
export async function readNotes(path: string): Promise<Notes> {
  const { metadata } = await readSafetensors(path);
  refuseOtherVersion(path, metadata);
  return JSON.parse(metadata.notes);
}

function refuseOtherVersion(path: string, metadata: Readonly<Record<string, string>>): void {
  if (metadata.run === undefined || metadata.notes === undefined) {
    throw new Error(`${path} is no checkpoint: it does not say of which run`);
  }
  if (metadata.version !== version) {
    const written = metadata.version ?? "1";
    throw new Error(
      `${path} is a checkpoint of version ${written}, which this version of the library does not go on from (it writes ${version})`,
    );
  }
}

/**
 * Reads a checkpoint of `run`: its place and tensors, `sizesAt` saying which there must be at a place and how many values each
 * holds.
 * @throws Error when the file is damaged, of another version or another run (with the first thing that differs), or holds values
 * that are not finite.
 */
export async function readCheckpoint(
  path: string,
  run: RunDescription,
  steps: number,
  sizesAt: (place: Place) => ReadonlyMap<string, number>,
): Promise<Place & { tensors: Map<string, Weight>; notes: Notes }> {
  const { tensors, metadata } = await readSafetensors(path);
  refuseOtherVersion(path, metadata);
  refuseOther(path, run, JSON.parse(metadata.run));
  const [step, batch] = [Number(metadata.step), Number(metadata.batch)];
  if (![step, batch].every(Number.isSafeInteger) || step < 0 || step > steps || batch < step) {
    throw new Error(
      `${path}: step ${metadata.step}, batch ${metadata.batch} is no place of this run's ${steps} steps`,
    );
  }
  const place = { step, batch, kept: metadata.kept === "true" };
  const read = [...sizesAt(place)].map(([name, size]): [string, Weight] => {
    const found = tensors.get(name);
    const data = found ? toFloat32(found) : new Float32Array();
    if (!found || data.length !== size) {
      throw new Error(`${path}: "${name}" holds ${data.length} values; this run has ${size}`);
    }
    if (!data.every(Number.isFinite)) throw new Error(`${path}: "${name}" holds values that are not finite`);
    return [name, { shape: found.shape, data }];
  });
  return { ...place, tensors: new Map(read), notes: JSON.parse(metadata.notes) };
}

/** Throws an Error that names the first part of the description in which the two runs differ. */
function refuseOther(path: string, run: RunDescription, theirs: RunDescription): void {
  for (const [name, value] of Object.entries(run)) {
    const [own, other] = [JSON.stringify(value), JSON.stringify(theirs[name])];
    if (own !== other) throw new Error(`${path} is of another run: its ${name} is ${other}, here ${own}`);
  }
}
