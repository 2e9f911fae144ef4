/** Every group of works, in the order of the page. */

import type { Group } from "./work.ts";
import { adamW } from "./works/adamw.ts";
import { adapterLayers } from "./works/adapter_layers.ts";
import { attention } from "./works/attention.ts";
import { bandwidth } from "./works/bandwidth.ts";
import { crossEntropy } from "./works/cross_entropy.ts";
import { inference } from "./works/forward_pass.ts";
import { layerNorm } from "./works/layer_norm.ts";
import { loraStep } from "./works/lora_step.ts";
import { products, skinnyProducts } from "./works/products.ts";

export const groups: readonly Group[] = [
  loraStep,
  inference,
  adapterLayers,
  products,
  skinnyProducts,
  attention,
  layerNorm,
  crossEntropy,
  adamW,
  bandwidth,
];
