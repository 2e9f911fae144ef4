/** Scores of a row by seed. Means, tests and charts are computed from these. */

import type { Cell } from "./schema.ts";

/**
 * The last epoch's headline score for every seed of the row `label`, averaged over the tasks in `cells`, in
 * percent. Seeds that lack a task are left out, because their average would be over other tasks.
 */
export function scoresBySeed(cells: readonly Cell[], label: string): Map<number, number> {
  const tasks = new Set(cells.map(({ task }) => task));
  const own = cells.filter((cell) => cell.label === label);
  const complete = [...new Set(own.map(({ seed }) => seed))].filter((seed) =>
    new Set(own.filter((cell) => cell.seed === seed).map(({ task }) => task)).size === tasks.size
  );
  return new Map(complete.map((seed) => {
    const scores = own.filter((cell) => cell.seed === seed).map((cell) => 100 * cell.last[cell.headline]);
    return [seed, scores.reduce((sum, value) => sum + value, 0) / scores.length];
  }));
}

/** The mean over the row's complete seeds, in percent; undefined if there are none. */
export function meanScore(cells: readonly Cell[], label: string): number | undefined {
  const scores = [...scoresBySeed(cells, label).values()];
  return scores.length === 0 ? undefined : scores.reduce((sum, value) => sum + value, 0) / scores.length;
}
