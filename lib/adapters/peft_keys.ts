/** Keys of tensors in PEFT's folders: those of today, the spellings of some versions, and those of a bare trunk. */

import type { Encoder, LinearModule } from "../models/model.ts";

/** What every key begins with. */
const prefix = "base_model.model.";

/** The key of a tensor by its path in PEFT's model. */
export function keyAt(path: string): string {
  return prefix + path;
}

/**
 * A file's keys by those that say where the tensors belong. Where names of `modules_to_save` lie in each other, PEFT (0.21 still)
 * has several copies of the inner module: `a.modules_to_save.default.b` is what it computes with and trains, `a.b` and
 * `a.b.modules_to_save` are a second one that nothing reads, and `original_module` is what was there before.
 */
export function keysByName(keys: Iterable<string>): Map<string, string> {
  const inUse = (key: string) => key.includes(".modules_to_save.default.");
  const trained = [...keys].filter((key) => !key.split(".").includes("original_module"))
    .toSorted((a, b) => Number(inUse(a)) - Number(inUse(b)));
  return new Map(trained.map((key) => [key.replaceAll(/\.modules_to_save(\.default)?(?=\.)/g, ""), key]));
}

/** True where the keys are of a trunk without a head (AutoModel), whose paths do not begin with its name. */
export function areOfBareTrunk({ trunk, linears }: Encoder, keys: readonly string[]): boolean {
  if (trunk === undefined || keys.some((key) => key.startsWith(`${prefix}${trunk}.`))) return false;
  return keys.some((key) =>
    linears.some(({ path }) => key.startsWith(`${prefix}${withoutTrunk(trunk, path)}.`))
  );
}

/** A path as it is in the bare trunk. */
export function withoutTrunk(trunk: string, path: string): string {
  return path.startsWith(`${trunk}.`) ? path.slice(trunk.length + 1) : path;
}

/** The layers as they are called in the bare trunk. */
export function bareLinears({ trunk = "", linears }: Encoder): LinearModule[] {
  return linears.map((module) => ({ ...module, path: withoutTrunk(trunk, module.path) }));
}
