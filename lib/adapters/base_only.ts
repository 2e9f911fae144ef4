/** The two methods without an adapter: full fine-tuning, and training the head only. */

import { type AdapterOptions, type Method, productCost } from "./method.ts";

const noAdapter = {
  defaults: {},
  parameters: () => ({}),
  forward: ({ base }) => base(),
  mergeable: true,
  cost: () => productCost(0),
} satisfies Partial<Method<AdapterOptions>>;

/** Full fine-tuning: every weight of the model is trained, m·n in each m×n layer. */
export const full: Method = {
  ...noAdapter,
  name: "Full fine-tuning",
  summary: "every weight of the model is trained",
  trainsBase: true,
};

/** Head only (linear probing): the model is a frozen feature extractor, and only the head is trained. */
export const headOnly: Method = {
  ...noAdapter,
  name: "Head only",
  summary: "the model is frozen; only the task's head is trained",
  trainsBase: false,
};
