/** Checks a method's hyperparameters. */

import { checkOptionNames } from "../option_names.ts";
import { show } from "../show.ts";
import type { AdapterOptions, Method } from "./method.ts";

/**
 * The options of `method`, with defaults for the missing ones.
 * @throws Error for an option that the method does not have, one whose type is not that of the default, or a
 * dropout outside [0, 1).
 */
export function resolveOptions<O extends AdapterOptions>(method: Method<O>, options: object): O {
  checkOptionNames(method.name, options, Object.keys(method.defaults));
  for (const [name, value] of Object.entries(options)) checkOption(method, name, value);
  const resolved = { ...method.defaults, ...options };
  if (resolved.dropout !== undefined && !(resolved.dropout >= 0 && resolved.dropout < 1)) {
    throw new Error(`${method.name}: dropout ${resolved.dropout} is not in [0, 1)`);
  }
  return resolved;
}

function checkOption<O extends AdapterOptions>(method: Method<O>, name: string, value: unknown): void {
  const isAuto = method.auto?.includes(name);
  const kind = isAuto ? "number" : typeof method.defaults[name as keyof O];
  const fits = typeof value === "number"
    ? kind === "number" && Number.isFinite(value)
    : typeof value === kind || isAuto && value === "auto";
  if (!fits) {
    const wanted = isAuto ? 'number or "auto"' : `${kind} like the default`;
    throw new Error(`${method.name}: ${name} is ${show(value)}; give a ${wanted}`);
  }
}
