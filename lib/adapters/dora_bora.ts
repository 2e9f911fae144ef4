/**
 * DoRA + BoRA: BoRA's update with DoRA's separately learned row magnitudes. Neither paper tries it. See
 * `dora.ts` for the formula and `bora.ts` for ΔW. Trainable parameters: (m + n + b²)r + m. Mergeable.
 */

import { bora, type BoraOptions, boraPeft } from "./bora.ts";
import { decomposed } from "./dora.ts";
import type { Method } from "./method.ts";

/**
 * BoRA's update with DoRA's learned row magnitudes, an extension beyond both papers. Takes BoRA's options.
 */
export const doraBora: Method<BoraOptions> = decomposed(
  bora,
  "DoRA + BoRA",
  "y = g ⊙ (W + ΔW)x / ‖W + ΔW‖_row with BoRA's ΔW",
  {
    ...boraPeft,
    type: "DORA_BORA",
    keys: { ...boraPeft.keys, magnitude: "bora_magnitude_vector" },
  },
);
