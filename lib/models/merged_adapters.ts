/**
 * What a merged model's files say of the adapters in it, so that none is applied a second time: a text in the metadata of a GGUF file
 * or in the `__metadata__` of `model.safetensors`, which other programs ignore. A file that another program converts loses it.
 */

import * as v from "npm:valibot@1.5.0";
import { fitting } from "../files.ts";
import { fingerprintsOf, type WeightFingerprint } from "./fingerprint.ts";
import type { Model, Weight } from "./model.ts";
import { digestOfTexts, digestOfValues } from "./values_digest.ts";

/** The key of the text, in both formats. */
export const mergedKey = "bora_webgpu_merged_adapters";

/** An adapter that was merged, and the model that it was merged into, as SHA-256 in hexadecimal digits. */
export interface MergedAdapter {
  /** Of the names, shapes and values of its tensors. */
  readonly adapter: string;
  /** Of the names and values of its weights, in whatever type they are stored. */
  readonly base: string;
}

const digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "write a SHA-256"));
const mergedSchema: v.GenericSchema<unknown, MergedAdapter[]> = v.pipe(
  v.string(),
  v.parseJson({}, "is no JSON: merge again"),
  v.array(v.object({ adapter: digest, base: digest })),
);

/** The text that says which adapters were merged, one after the other. */
export function mergedText(merged: readonly MergedAdapter[]): string {
  return JSON.stringify(merged);
}

/** What such a text in the file at `path` says; of none, no adapters. Throws an Error that names the file for a malformed one. */
export function mergedFrom(path: string, text: unknown): MergedAdapter[] {
  return text === undefined ? [] : fitting(`${path}: ${mergedKey}`, mergedSchema, text);
}

/** Identifies an adapter by the names, shapes and values of its tensors. */
export function digestOfAdapter(weights: ReadonlyMap<string, Weight>): string {
  return digestOfTexts(
    [...weights].map(([name, { shape, data }]) => `${name} [${shape}] ${digestOfValues(data)}`),
  );
}

/** Identifies a model by its weights' names and values, in whatever type they are stored. */
export function digestOfBase(fingerprints: ReadonlyMap<string, WeightFingerprint>): string {
  return digestOfTexts([...fingerprints].map(([name, { sha256 }]) => `${name} ${sha256}`));
}

/** What to say of `base` once the adapter with these tensors is merged into it. */
export function mergedWith(base: Model, weights: ReadonlyMap<string, Weight>): MergedAdapter[] {
  const own = { adapter: digestOfAdapter(weights), base: digestOfBase(fingerprintsOf(base)) };
  return [...base.merged ?? [], own];
}
