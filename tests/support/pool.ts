/** Small hyper-parameters for every method, for the 16-wide tiny encoder. */

import { type Adapter, attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { Method } from "../../lib/adapters/method.ts";
import type { Model } from "../../lib/models/model.ts";

/** Values of every hyper-parameter there is; a method takes those it has. */
export const pool = { r: 4, alpha: 6, blocks: 4, dropout: 0.2, experts: 2, factor: 4, balance: 0.3 };

/** `method` on `target` of `model`, at the pool's values but for `changes`. */
export function attachPooled(
  model: Model,
  method: Method,
  target: readonly string[],
  changes: object = {},
): Adapter {
  const own = Object.entries({ ...pool, ...changes }).filter(([name]) => name in method.defaults);
  return attach(model, method, { ...Object.fromEntries(own), target } as AttachOptions);
}
