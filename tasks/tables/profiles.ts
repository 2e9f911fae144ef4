/** Profiles that the analyses share: one task with short texts, so that every row runs with several seeds. */

import type { Profile } from "./table.ts";

export const analysisProfiles: Readonly<Record<string, Profile>> = {
  smoke: { tasks: ["supersense"], train: 96, dev: 64, training: 1, seeds: 1 },
  default: { tasks: ["supersense"], train: 480, dev: 320, training: 2, seeds: 3 },
  full: { tasks: ["supersense", "sentiment", "wic"], train: 4000, dev: 2000, training: 3, seeds: 5 },
};
