/** Every method, in the order of the tables. */

import { full, headOnly } from "./base_only.ts";
import { bora, boraWithoutExp, boraWithoutNorm } from "./bora.ts";
import { lora } from "./lora.ts";
import { melora } from "./melora.ts";
import type { Method } from "./method.ts";

export const methods: readonly Method[] = [
  headOnly,
  full,
  lora,
  melora,
  bora,
  boraWithoutExp,
  boraWithoutNorm,
];

/** The method called `name` (case and spaces aside). Throws an Error that lists the names. */
export function methodByName(name: string): Method {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[\s-]/g, "");
  const found = methods.find((method) => plain(method.name) === plain(name));
  if (!found) throw new Error(`no method "${name}"; have ${methods.map((method) => method.name).join(", ")}`);
  return found;
}
