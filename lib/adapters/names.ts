/** Full names of an adapter's tensors. */

import type { LinearModule } from "../models/model.ts";
import type { ParameterSpec } from "../models/parameter.ts";

/**
 * The full name of a tensor, such as `layer.0.attention.query.A`, or the name that layers of one size share.
 */
export function fullName({ path }: LinearModule, name: string, { shared, shape }: ParameterSpec): string {
  return shared === undefined ? `${path}.${name}` : `${shared}.${shape.join("x")}`;
}

/** The module path of a tensor's full name: `layer.0.attention.query.A` → `layer.0.attention.query`. */
export function moduleOf(name: string): string {
  return name.slice(0, name.lastIndexOf("."));
}
