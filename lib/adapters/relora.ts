/**
 * ReLoRA (Lialin et al. 2023, arXiv 2307.05695; follows Guitaricet/relora `peft_pretraining/relora.py` and
 * `training_utils.py`): LoRA that every `every` steps is merged into the base and started anew.
 *
 *     y = W_t x + bias + s·B A dropout(x),   at a restart  W_{t+1} = W_t + s·BA,  A ← Kaiming uniform,  B ← 0
 *
 * At a restart the share `prune` of the entries of each tensor, those whose first moment is smallest in magnitude, loses both
 * of Adam's moments (magnitude pruning, 0.9 in the reference's README, which prunes the two apart: a first moment that then
 * outlives its second is divided by ε alone, and one step can throw the weight anywhere). Adam's step count goes on, and the
 * learning rate warms up again over `restartWarmup` steps. Trainable: (m + n)r; after k restarts the sum of the updates has rank up to (k + 1)r.
 * What is saved and merged is the last cycle's LoRA and the base it grew on.
 */

import { lora } from "./lora.ts";
import { lowRankDefaults, type LowRankOptions, type Method } from "./method.ts";

/** Hyper-parameters of ReLoRA. */
export interface ReLoraOptions extends LowRankOptions {
  /** Steps between restarts. */
  readonly every: number;
  /** Steps of warm-up after a restart. */
  readonly restartWarmup: number;
  /** Share of the moments zeroed at a restart, 0 … 1. */
  readonly prune: number;
}

/** ReLoRA: LoRA, merged and restarted every k steps. */
export const reLora: Method<ReLoraOptions> = {
  ...lora,
  name: "ReLoRA",
  summary: "LoRA, merged and restarted every k steps (Lialin et al. 2023)",
  defaults: { ...lowRankDefaults, every: 1000, restartWarmup: 50, prune: 0.9 },
  parameters(module, options, all) {
    const { every, restartWarmup, prune } = options;
    if (!Number.isInteger(every) || every < 1) {
      throw new Error(`every ${every}: use a whole number of steps from 1`);
    }
    if (!(restartWarmup >= 0 && restartWarmup <= every)) {
      throw new Error(`restartWarmup ${restartWarmup} is not between 0 and every (${every})`);
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
