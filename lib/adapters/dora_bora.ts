/**
 * DoRA + BoRA: BoRA's update with DoRA's row magnitudes learned apart; neither paper tries it. See `dora.ts` for the
 * formula and `bora.ts` for ΔW. Trainable: (m + n + b²)r + m. Merges.
 */

import { bora, type BoraOptions, boraPeft } from "./bora.ts";
import { decomposed } from "./dora.ts";
import type { Method } from "./method.ts";

/** BoRA's update with DoRA's magnitudes. */
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
