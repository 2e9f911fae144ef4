/**
 * Norms that an adapter trains, in files and on a model. An adapter's files hold what transformers' class would: Gemma's norms are
 * 1 + w there, and w is saved. A GGUF file's norms are 1 + w themselves.
 */

import { isNorm } from "../models/llama.ts";
import type { Model, Weight } from "../models/model.ts";

/** The values for an adapter's files of a trained tensor `name` of `model`; they are the model's unless it is a norm. */
export function valuesForFiles({ normShift = 0 }: Model, name: string, weight: Weight): Weight {
  return shifted(name, weight, -normShift);
}

/** The values on `model` of a tensor `name` of an adapter's files. */
export function valuesOnModel({ normShift = 0 }: Model, name: string, weight: Weight): Weight {
  return shifted(name, weight, normShift);
}

function shifted(name: string, { shape, data }: Weight, by: number): Weight {
  return { shape, data: by !== 0 && isNorm(name) ? data.map((value) => value + by) : data };
}
