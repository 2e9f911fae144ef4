/** The registry of methods, in the order of the tables. */

import { full, headOnly } from "./base_only.ts";
import { bora, boraWithoutExp, boraWithoutNorm } from "./bora.ts";
import { boraBanded } from "./bora_banded.ts";
import { boraDense } from "./bora_dense.ts";
import { dora } from "./dora.ts";
import { doraBora } from "./dora_bora.ts";
import { graLora } from "./gralora.ts";
import { hira } from "./hira.ts";
import { hydraLora } from "./hydralora.ts";
import { krona } from "./krona.ts";
import { lora, rsLora } from "./lora.ts";
import { melora } from "./melora.ts";
import type { Method } from "./method.ts";
import { moeLora } from "./moelora.ts";
import { randLora } from "./randlora.ts";
import { reLora } from "./relora.ts";
import { vera } from "./vera.ts";

/** All built-in methods, in the order of the tables. */
export const methods: readonly Method[] = [
  headOnly,
  full,
  lora,
  rsLora,
  dora,
  melora,
  hydraLora,
  moeLora,
  hira,
  krona,
  reLora,
  graLora,
  vera,
  randLora,
  bora,
  boraWithoutExp,
  boraWithoutNorm,
  doraBora,
  boraBanded,
  boraDense,
];

/**
 * The built-in method called `name`, such as "LoRA" or "bora"; case, spaces and hyphens are ignored.
 * @throws Error that lists the names when there is no such method.
 */
export function methodByName(name: string): Method {
  // Upper case, because lower-case sigma has two forms (σ, ς).
  const plain = (text: string) => text.toUpperCase().replaceAll(/[\s-]/g, "");
  const found = methods.find((method) => plain(method.name) === plain(name));
  if (!found) throw new Error(`no method "${name}"; have ${methods.map((method) => method.name).join(", ")}`);
  return found;
}
