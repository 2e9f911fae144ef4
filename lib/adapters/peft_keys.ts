/** Keys of tensors in PEFT's folders, including those that older versions wrote and those of a bare trunk. */

import type { LinearModule, Model } from "../models/model.ts";

/** Prefix of every key. */
const prefix = "base_model.model.";

/** The key of a tensor by its path in PEFT's model. */
export function keyAt(path: string): string {
  return prefix + path;
}

/**
 * Maps normalised keys, which say where the tensors belong, to the keys in the file. When one name in
 * `modules_to_save` lies inside another, PEFT (0.21 included) saves several copies of the inner module:
 * `a.modules_to_save.default.b` is the one that it trains and computes with, `a.b` and `a.b.modules_to_save`
 * are an unused copy, and `original_module` holds the values before training.
 */
export function keysByName(keys: Iterable<string>): Map<string, string> {
  const inUse = (key: string) => key.includes(".modules_to_save.default.");
  const trained = [...keys].filter((key) => !key.split(".").includes("original_module"))
    .toSorted((a, b) => Number(inUse(a)) - Number(inUse(b)));
  return new Map(trained.map((key) => [key.replaceAll(/\.modules_to_save(\.default)?(?=\.)/g, ""), key]));
}

/** The paths of the layers with a tensor of this suffix (`lora_A.weight`), by their keys. */
export function pathsWith(suffix: string, keys: Iterable<string>): Map<string, string> {
  const own = [...keys].filter((key) => key.startsWith(prefix) && key.endsWith(`.${suffix}`));
  return new Map(own.map((key) => [key, key.slice(prefix.length, -suffix.length - 1)]));
}

/** True when the keys are those of a trunk without a head (AutoModel), whose paths lack the trunk's name. */
export function areOfBareTrunk({ trunk, linears }: Model, keys: readonly string[]): boolean {
  if (trunk === undefined || keys.some((key) => key.startsWith(`${prefix}${trunk}.`))) return false;
  return keys.some((key) =>
    linears.some(({ path }) => key.startsWith(`${prefix}${withoutTrunk(trunk, path)}.`))
  );
}

/** A module's path in the bare trunk. */
export function withoutTrunk(trunk: string, path: string): string {
  return path.startsWith(`${trunk}.`) ? path.slice(trunk.length + 1) : path;
}

/** The linear layers with their paths in the bare trunk. */
export function bareLinears({ trunk = "", linears }: Model): LinearModule[] {
  return linears.map((module) => ({ ...module, path: withoutTrunk(trunk, module.path) }));
}
