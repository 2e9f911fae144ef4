/** The two methods without an adapter: training everything, and training nothing but the head. */

import { type AdapterOptions, type Method, productCost } from "./method.ts";

const noAdapter = {
  defaults: {},
  parameters: () => ({}),
  forward: ({ base }) => base(),
  mergeable: true,
  cost: () => productCost(0),
} satisfies Partial<Method<AdapterOptions>>;

/** Full fine-tuning: every weight of the model is trained. Trainable: mn a layer. */
export const full: Method = {
  ...noAdapter,
  name: "Full fine-tuning",
  summary: "every weight of the model is trained",
  trainsBase: true,
};

/** Head only: the model is a frozen feature extractor (a linear probe). */
export const headOnly: Method = {
  ...noAdapter,
  name: "Head only",
  summary: "the model is frozen; only the task's head is trained",
  trainsBase: false,
};
