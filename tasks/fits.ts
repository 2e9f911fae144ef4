/** Finds which well-known models can be fine-tuned in the available memory. */

import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import type { WritablePacking } from "../lib/graph/storages/registry.ts";
import type { Model } from "../lib/models/model.ts";
import { unloadedModel } from "../lib/models/unloaded_model.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { classification } from "../lib/objectives/classification.ts";
import { language } from "../lib/objectives/language.ts";
import type { Encoded } from "../lib/objectives/objective.ts";
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

/** A model as it is fine-tuned here. */
export interface FittedModel {
  readonly label: string;
  readonly model: Model;
  /** Whether layers are recomputed in the backward pass. */
  readonly recompute: boolean;
}

/** Decoders by their published shapes, in the packing in which most people have them. */
const decoders: readonly {
  readonly label: string;
  readonly id: string;
  readonly packing: WritablePacking;
}[] = [
  // As in its file.
  { label: "smollm2", id: "smollm2", packing: "q4_1" },
  { label: "LLaMA-3-8B, int4", id: "meta-llama/Meta-Llama-3-8B", packing: "int4" },
];

/** The embedded encoder, others by their published shapes, smallest first, and decoders, which recompute. */
export async function modelsToFit(): Promise<FittedModel[]> {
  const encoders = ["minilm", "roberta-base", "roberta-large"].map((id) => unloadedModel(id)!);
  return [
    ...[await loadUseLite(), ...encoders].map((model) => ({ label: model.name, model, recompute: false })),
    ...decoders.map(({ label, id, packing }) => ({
      label,
      model: unloadedModel(id, { packing })!,
      recompute: true,
    })),
  ];
}

/** The largest batch at every length: for LoRA on query and value, with two classes or, of a decoder, every token learnt. */
export async function fitsOf(
  traits: DeviceTraits,
  { label, model, recompute }: FittedModel,
  room: Room,
): Promise<ModelFit> {
  const target = ["query", "value"].map((role) => model.linears.find((own) => own.role === role)!.target);
  const adapter = attach(model, lora, { r: 8, target, dropout: 0.05 });
  const kind = model.language ? language : classification;
  const objective = kind.of(model, { texts: 1, classes: 2 });
  const fits: Fit[] = [];
  for (const length of lengths) {
    const example: Encoded = {
      texts: [Array<number>(length).fill(0)],
      labelled: Array<boolean>(length).fill(true),
      label: 0,
    };
    const estimate = (batchSize: number) => {
      const options = { learningRate: 1e-4, epochs: 1, batchSize, warmupRatio: 0, seed: 0, recompute };
      return estimateTraining({
        model,
        adapter,
        objective,
        train: [example],
        dev: [[example]],
        traits,
        ...options,
      });
    };
    fits.push({ length, ...await largestThatFits(estimate, room) });
  }
  return { model: label, fits };
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
