/**
 * Multiple choice at RoBERTa's scale, on LLM-Adapters' commonsense data sets.
 *
 * The BoRA paper's commonsense settings (learning rate 1e-4, 100 warm-up steps, one epoch over all data sets
 * together) are for models like LLaMA-3-8B, which generate the answer. An encoder that scores the options is
 * a different experiment. It keeps the paper's q, k and v and its warm-up, and takes r, b, dropout, learning
 * rates and seeds from the GLUE protocol. Batch 16, length 256 and 3 epochs are LLM-Adapters' (Hu et al.
 * 2023, how its README runs finetune.py, whose own default is 128 a batch). Data sets with fewer than 10,000
 * examples get 10 epochs, the most that RoBERTa's authors fine-tune for (Liu et al. 2019, appendix C).
 */

import { glueProtocol } from "./glue.ts";
import type { Protocol } from "./protocol.ts";

function epochs(epochs: number) {
  const shared = { epochs, batchSize: 16, maxTokens: 256, warmupSteps: 100 };
  return { base: { ...shared, learningRate: 3e-4 }, large: { ...shared, learningRate: 1e-4 } };
}

const training = {
  "boolq": epochs(10),
  "piqa": epochs(3),
  "social_i_qa": epochs(3),
  "hellaswag": epochs(3),
  "winogrande": epochs(3),
  "ARC-Easy": epochs(10),
  "ARC-Challenge": epochs(10),
  "openbookqa": epochs(10),
};

export const commonsenseProtocol: Protocol = {
  target: ["query", "key", "value"],
  seeds: glueProtocol.seeds,
  averaged: Object.keys(training),
  training,
};
