/**
 * Records which base model an adapter was trained on: a fingerprint of each base weight, stored in the
 * `__metadata__` of `adapter_model.safetensors`, which PEFT ignores. Unlike a separate file, this record
 * cannot be lost without the weights, and cannot become stale when the weights are rewritten.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../files.ts";
import { type Packing, storedPackings } from "../graph/storages/registry.ts";
import { fingerprintsOf, type WeightFingerprint } from "../models/fingerprint.ts";
import { digestOfAdapter, digestOfBase } from "../models/merged_adapters.ts";
import type { Model, Weight } from "../models/model.ts";
import { recordedPooling } from "../models/pooling.ts";
import { tableOf } from "../models/stored_weight.ts";

const key = "base_weights";

/** The base's `pooling`, if it has one: an adapter is trained on the vectors, not only on the weights. */
const poolingKey = "base_pooling";

const again = "save the adapter again";

/** `F32 int8 5df6e0e2…`, `Q4_K q4_k …`. */
const fingerprintPattern = new RegExp(`^[A-Z]+\\d+(_\\w)? ((${storedPackings.join("|")}) )?[0-9a-f]{64}$`);

/** Keys: names of weights. Values: dtype, packing if any, and digest, such as `F32 int8 5df6e0e2…`. */
const keptSchema = v.pipe(
  v.string(),
  v.parseJson({}, `is no JSON: ${again}`),
  v.record(
    v.string(),
    v.pipe(
      v.string(),
      v.regex(fingerprintPattern, `is no dtype with a SHA-256: ${again}`),
      v.transform((text): WeightFingerprint => {
        const [dtype, ...rest] = text.split(" ");
        const [sha256, packing] = rest.toReversed();
        return { sha256, dtype, packing: packing as Packing | undefined };
      }),
    ),
  ),
);

/** The entry for an adapter's `__metadata__`. Reads all weights of the model that have not been read yet. */
export function baseMetadata(model: Model): Record<string, string> {
  const kept = [...fingerprintsOf(model)].map(([name, { dtype, packing, sha256 }]) => [
    name,
    [dtype, ...packing ? [packing] : [], sha256].join(" "),
  ]);
  const pooling = recordedPooling(model);
  return { [key]: JSON.stringify(Object.fromEntries(kept)), ...pooling ? { [poolingKey]: pooling } : {} };
}

/** What an adapter's file says about its base model. */
export interface AdapterFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Name of the base model when the adapter was saved, if recorded. */
  readonly baseName: string | null | undefined;
  /** The tensors that it holds, by this library's names: the adapter's, and base weights that it replaces. */
  readonly weights: ReadonlyMap<string, Weight>;
}

/**
 * Throws an Error when `model` has this adapter merged in already, or another one into the base that this one was trained on. That
 * is known of models that were merged here, in whatever type their weights are; of others see `checkBase`.
 */
export function checkNotMerged({ path, metadata, baseName, weights }: AdapterFile, model: Model): void {
  const { name, merged = [] } = model;
  if (merged.length === 0) return;
  const own = digestOfAdapter(weights);
  if (merged.some(({ adapter }) => adapter === own)) {
    throw new Error(
      `${path}: this adapter is merged into "${name}" already and would be applied twice: use the model without it, or load ` +
        `it on the base (${calledBase(baseName)})`,
    );
  }
  if (metadata[key] === undefined) return;
  const trainedOn = digestOfBase(keptIn(path, metadata[key]));
  // An adapter that changed nothing leaves its base as it was.
  if (merged.every(({ base }) => base !== trainedOn) || digestOfBase(fingerprintsOf(model)) === trainedOn) {
    return;
  }
  throw new Error(
    `${path}: the adapter was trained on the base of "${name}" (${
      calledBase(baseName)
    }), which has an adapter merged in by now: ` +
      `load it on that base, or train one on this model`,
  );
}

function calledBase(baseName: string | null | undefined): string {
  return baseName ? `its base was called ${JSON.stringify(baseName)}` : "its base has no name";
}

function keptIn(path: string, text: string): Map<string, WeightFingerprint> {
  return new Map(Object.entries(fitting(`${path}: ${key}`, keptSchema, text)));
}

/**
 * Checks that `model` is the base that the adapter was trained on. Calls `report` with one line where this
 * cannot be decided: the file has no fingerprints, or the model's weights are stored in another dtype or
 * packing.
 * @throws Error when the names of the weights differ, values differ in the same dtype, or tokens are pooled in another way.
 * Weights that the adapter replaces are not compared.
 */
export function checkBase(
  { path, metadata, baseName, weights }: AdapterFile,
  model: Model,
  report: (line: string) => void,
): void {
  const ofBase = calledBase(baseName);
  if (metadata[key] === undefined) {
    const what = "does not say which values its base had, as folders that PEFT wrote do not";
    return report(`${path} ${what} (${ofBase}): make sure that "${model.name}" is the same model`);
  }
  const before = keptIn(path, metadata[key]);
  const now = fingerprintsOf(model);
  const known = new Set([...weights.keys()].map(tableOf));
  const names = new Set([...before.keys(), ...now.keys()].filter((name) => !known.has(name)));
  const others = [...names].filter((name) => areOtherValues(before.get(name), now.get(name)));
  if (others.length > 0) {
    const differ = `${others.length} of ${names.size} weights differ, such as "${others[0]}"`;
    throw new Error(
      `${path}: the adapter was trained on other values than "${model.name}" has (${ofBase}): ${differ}: ` +
        `load the model that it was trained on, or train an adapter on this one`,
    );
  }
  if (metadata[poolingKey] !== recordedPooling(model)) {
    const [before, now] = [metadata[poolingKey], recordedPooling(model)].map((pooling) =>
      pooling ?? "its class's own"
    );
    throw new Error(
      `${path}: the adapter was trained on vectors pooled as ${before}, and "${model.name}" pools as ${now} (${ofBase}): ` +
        `load the model with the modules.json and pooling that it was trained with`,
    );
  }
  const [form] = [...names].filter((name) => isOtherForm(before.get(name)!, now.get(name)!));
  if (form !== undefined) {
    const forms = `"${form}" was ${formOf(before.get(form)!)} and is ${formOf(now.get(form)!)}`;
    report(
      `${path}: the adapter was trained on another form of its base than "${model.name}" has (${ofBase}): ${forms}; ` +
        `make sure that it is the same model, and expect results that differ by rounding`,
    );
  }
}

function areOtherValues(before: WeightFingerprint | undefined, now: WeightFingerprint | undefined): boolean {
  return !before || !now || before.dtype === now.dtype && before.sha256 !== now.sha256;
}

function isOtherForm(before: WeightFingerprint, now: WeightFingerprint): boolean {
  return before.sha256 !== now.sha256 || roundedBy(before) !== roundedBy(now);
}

/** The packing that has rounded the file's values; undefined for the file's own, whose values are the same unpacked. */
function roundedBy({ dtype, packing }: WeightFingerprint): Packing | undefined {
  return packing?.toUpperCase() === dtype ? undefined : packing;
}

function formOf({ dtype, packing }: WeightFingerprint): string {
  return packing ? `${dtype} packed as ${packing}` : dtype;
}
