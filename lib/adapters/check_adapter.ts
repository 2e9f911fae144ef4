/** Checks that an adapter is for the model that it is used with. */

import type { Model } from "../models/model.ts";
import type { Adapter } from "./attach.ts";

/** Throws an Error that names the first layer or base weight of the adapter that the model does not have, or in another shape. */
export function checkAdapter(model: Model, { modules, trainedBase }: Adapter): void {
  const layers = new Map(model.linears.map((layer) => [layer.path, layer]));
  const advice = `it was attached to another model: attach it to ${model.name}`;
  for (const { module: { path, m, n } } of modules) {
    const own = layers.get(path);
    if (!own) throw new Error(`the adapter is on "${path}", and ${model.name} has no such layer; ${advice}`);
    if (own.m !== m || own.n !== n) {
      throw new Error(
        `the adapter is on "${path}" [${m}, ${n}], which in ${model.name} is [${own.m}, ${own.n}]; ${advice}`,
      );
    }
  }
  const missing = [...trainedBase].find((name) => !model.weights.has(name));
  if (missing) {
    throw new Error(`the adapter trains "${missing}", and ${model.name} has no such weight; ${advice}`);
  }
}
