/**
 * ReLoRA (Lialin et al. 2023, arXiv 2307.05695; follows Guitaricet/relora `peft_pretraining/relora.py` and
 * `training_utils.py`): LoRA that is merged into the base and restarted every `every` steps.
 *
 *     y = W_t x + bias + s·B A dropout(x),   at a restart  W_{t+1} = W_t + s·BA,  A ← Kaiming uniform,  B ← 0
 *
 * A restart zeroes both of Adam's moments for the fraction `prune` of each tensor's entries: those whose
 * first moment has the smallest magnitude (magnitude pruning; the reference's README uses 0.9). The reference
 * prunes the two moments separately; a first moment whose second moment was zeroed is then divided by ε
 * alone, and a single step can move the weight arbitrarily far. Adam's step count continues, and the learning
 * rate warms up again over `restartWarmup` steps. Trainable parameters: (m + n)r. Rank of the total update
 * after k restarts: up to (k + 1)r. Saved and merged are the last cycle's LoRA and the base weights that it
 * was trained on.
 */

import { lora } from "./lora.ts";
import { lowRankDefaults, type LowRankOptions, type Method } from "./method.ts";

/** Hyperparameters of ReLoRA. */
export interface ReLoraOptions extends LowRankOptions {
  /** Training steps between restarts. */
  readonly every: number;
  /** Steps of learning-rate warm-up after a restart: a whole number from 0 to `every`. */
  readonly restartWarmup: number;
  /** Fraction of Adam's moments that a restart zeroes, from 0 to 1. */
  readonly prune: number;
}

/**
 * ReLoRA (Lialin et al. 2023): LoRA that is merged into the base and restarted every `every` steps, so that
 * the total update can exceed rank r.
 */
export const reLora: Method<ReLoraOptions> = {
  ...lora,
  name: "ReLoRA",
  // They are the last cycle's, and not those of the whole update.
  halves: undefined,
  summary: "LoRA, merged and restarted every k steps (Lialin et al. 2023)",
  defaults: { ...lowRankDefaults, every: 1000, restartWarmup: 50, prune: 0.9 },
  parameters(module, options, all) {
    const { every, restartWarmup, prune } = options;
    if (!Number.isInteger(every) || every < 1) {
      throw new Error(`every ${every}: use a whole number of steps from 1`);
    }
    if (!(Number.isInteger(restartWarmup) && restartWarmup >= 0 && restartWarmup <= every)) {
      throw new Error(
        `restartWarmup ${restartWarmup}: use a whole number of steps from 0 to every (${every})`,
      );
    }
    if (!(prune >= 0 && prune <= 1)) throw new Error(`prune ${prune} is not in [0, 1]`);
    return lora.parameters(module, options, all);
  },
  restarts: {
    every: ({ every }) => every,
    warmup: ({ restartWarmup }) => restartWarmup,
    prune: ({ prune }) => prune,
  },
  peft: {
    type: "RELORA",
    keys: lora.peft!.keys,
    fields: {
      ...lora.peft!.fields,
      every: "relora",
      restartWarmup: "restart_warmup_steps",
      prune: "optimizer_magnitude_pruning",
    },
  },
};
