/**
 * Checkpoints of a training run: its tensors, and a description of the run, so that no other run resumes from
 * them.
 */

import type { Adapter } from "../adapters/attach.ts";
import { digestOf } from "../digest.ts";
import type { DeviceTraits } from "../gpu/kernel.ts";
import { fingerprintsOf } from "../models/fingerprint.ts";
import { digestOfBase } from "../models/merged_adapters.ts";
import type { Model, Weight } from "../models/model.ts";
import { recordedPooling } from "../models/pooling.ts";
import { readSafetensors, toFloat32, writeSafetensors } from "../models/safetensors.ts";
import type { Encoded, Objective } from "../objectives/objective.ts";
import { adamWDefaults, DivergedError } from "./adamw.ts";
import type { TrainOptions } from "./trainer.ts";

/** Everything that a run's bits depend on besides the device, by name, as JSON values. */
export type RunDescription = Readonly<Record<string, unknown>>;

/** Describes a run: the model by its name, packings and a digest of its weights before packing, the examples by a hash. */
export async function describeRun(
  { halfOperands }: DeviceTraits,
  model: Model,
  adapter: Adapter,
  objective: Objective,
  options: TrainOptions,
  examples: readonly Encoded[],
): Promise<RunDescription> {
  const { name, packed } = model;
  const pooling = recordedPooling(model);
  // Missing options get their defaults. Recomputation is left out, because it does not change any bit.
  const { recompute: _, ...training } = { accumulationSteps: 1, ...adamWDefaults, ...options };
  return {
    model: name,
    packing: packingsOf(packed),
    base: digestOfBase(fingerprintsOf(model)),
    ...pooling ? { pooling } : {},
    ...halfOperands ? { operands: "f16" } : {},
    method: adapter.method.name,
    layers: Object.fromEntries(adapter.modules.map(({ module: { path }, options }) => [path, options])),
    trainedBase: [...adapter.trainedBase],
    head: objective.description,
    training: Object.fromEntries(Object.entries(training).toSorted(([a], [b]) => a < b ? -1 : 1)),
    examples: await digestOf(examples),
  };
}

/** The packings of a model's weights, each once: a decoder's tables may have another than its layers. */
function packingsOf(packed: Model["packed"] = new Map()): string {
  return [...new Set([...packed.values()].map(({ packing }) => packing))].join(", ") || "f32";
}

/** How far a run has come. */
export interface Place {
  readonly step: number;
  readonly batch: number;
  /** Whether the checkpoint also holds weights kept from an earlier step. */
  readonly kept: boolean;
}

/**
 * The version of the format. It goes up when a checkpoint holds different tensors or says other things of its
 * run, or when a run computes different bits from them. Before version 2, a checkpoint always held a best
 * epoch's weights, and a step of several batches used the mean of the batches' means. Before version 3, it did
 * not say which values the base has, and before version 4, what the scores of a run with epochs follow from.
 */
const version = "4";

/** The caller's own data in a checkpoint, by name. */
export type Notes = Readonly<Record<string, string>>;

/**
 * Writes a checkpoint: `tensors` at one place of the run.
 * @throws DivergedError when a value is not finite; the file stays as it was.
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

/**
 * Reads the caller's notes from a checkpoint of any run. Throws an Error when the file is damaged, is not a
 * checkpoint or has another version.
 */
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
 * Reads the place and the tensors from a checkpoint of `run`. `sizesAt` says which tensors a checkpoint must
 * hold at a place, and how many values each has.
 * @throws Error when the file is damaged, has another version, belongs to another run (it names the first
 * difference), or holds values that are not finite.
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

/** Throws an Error that names the first difference between the descriptions of two runs. */
function refuseOther(path: string, run: RunDescription, theirs: RunDescription): void {
  for (const name of new Set([...Object.keys(run), ...Object.keys(theirs)])) {
    const [own, other] = [run, theirs].map((described) => JSON.stringify(described[name]) ?? "the default");
    if (own !== other) throw new Error(`${path} is of another run: its ${name} is ${other}, here ${own}`);
  }
}
