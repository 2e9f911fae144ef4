/** Checks that an adapter is for the model that it is used with. */

import type { Model } from "../models/model.ts";
import type { Adapter } from "./attach.ts";
import type { Method } from "./method.ts";
import type { AdaptedModule } from "./targeting.ts";

/**
 * Throws an Error that names the first layer or base weight of the adapter that the model does not have, in another shape, or packed
 * where the method needs its values.
 */
export function checkAdapter(model: Model, { method, modules, trainedBase }: Adapter): void {
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
  checkPacked(model, method, modules);
  const missing = [...trainedBase].find((name) => !model.weights.has(name));
  if (missing) {
    throw new Error(`the adapter trains "${missing}", and ${model.name} has no such weight; ${advice}`);
  }
}

/** Throws an Error when the method changes the base's weights or computes with those of these layers, and they are packed. */
export function checkPacked(
  { name, packed }: Model,
  method: Method,
  modules: readonly AdaptedModule[],
): void {
  if (!packed) return;
  if (method.trainsBase || method.restarts) {
    throw new Error(
      `${method.name} changes the base's weights, and ${name}'s are packed: use the model that is not`,
    );
  }
  if (!method.readsBase) return;
  for (const { module: { path } } of modules) {
    const own = packed.get(`${path}.weight`);
    if (!own) continue;
    throw new Error(
      `${method.name} computes with the base's weights, and "${path}.weight" is packed as ${own.packing}: load it unpacked ` +
        "(loadDecoder's `unpack`, --unpack), or use another method",
    );
  }
}
