/** Finds which well-known models can be fine-tuned in the available memory. */

import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import type { Model } from "../lib/models/model.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { classification } from "../lib/objectives/classification.ts";
import { estimateTraining, type TrainingEstimate } from "../lib/train/estimate.ts";
import { misfits, type Room } from "./machine.ts";

/** Padded lengths, and batch sizes to try. */
export const [lengths, batches] = [[64, 128, 512], [1, 2, 4, 8, 16, 32, 64, 128, 256]];

/** The largest of `batches` that fits at one length, and its peak memory; both undefined if none fits. */
export interface Fit {
  readonly length: number;
  readonly batch?: number;
  readonly peakBytes?: number;
}

/** A model, and its largest batches. */
export interface ModelFit {
  readonly model: string;
  readonly fits: readonly Fit[];
}

/** The embedded encoder, and packaged ones and those of the Hugging Face hub by their shapes, smallest first. */
export async function modelsToFit(): Promise<Model[]> {
  const names = ["minilm", "roberta-base", "roberta-large"];
  const published = names.map((name) => unloadedEncoder(name, publishedEncoder(name)!));
  return [await loadUseLite(), ...published];
}

/** The largest batch at every length, for LoRA with two classes. */
export async function fitsOf(traits: DeviceTraits, model: Model, room: Room): Promise<ModelFit> {
  const adapter = attach(model, lora, { r: 8, target: ["query", "value"], dropout: 0.05 });
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const fits: Fit[] = [];
  for (const length of lengths) {
    const example = { texts: [Array<number>(length).fill(0)], label: 0 };
    const estimate = (batchSize: number) => {
      const options = { learningRate: 1e-4, epochs: 1, batchSize, warmupRatio: 0, seed: 0 };
      return estimateTraining(model, adapter, objective, [example], [[example]], options, traits);
    };
    fits.push({ length, ...await largestThatFits(estimate, room) });
  }
  return { model: model.name, fits };
}

/** Bisection: if a batch does not fit, no larger one does. */
export async function largestThatFits(
  estimate: (batch: number) => Promise<TrainingEstimate>,
  room: Room,
): Promise<Omit<Fit, "length">> {
  let best: Omit<Fit, "length"> = {};
  for (let [from, to] = [0, batches.length]; from < to;) {
    const middle = (from + to) >> 1;
    const { peakBytes, largestBuffer } = await estimate(batches[middle]);
    if (misfits({ peakBytes, largestBuffer }, room).length > 0) to = middle;
    else [best, from] = [{ batch: batches[middle], peakBytes }, middle + 1];
  }
  return best;
}
