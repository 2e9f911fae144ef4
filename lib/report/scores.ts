/** Scores of a row, seed by seed: what means, tests and charts are made from. */

import type { Cell } from "./schema.ts";

/**
 * The headline score at the last epoch of every seed of the row `label`, averaged over the tasks in `cells`, in percent.
 * A seed that lacks one of the tasks is left out: its average would be one of other tasks.
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

/** The mean over the row's complete seeds, in percent; undefined where there is none. */
export function meanScore(cells: readonly Cell[], label: string): number | undefined {
  const scores = [...scoresBySeed(cells, label).values()];
  return scores.length === 0 ? undefined : scores.reduce((sum, value) => sum + value, 0) / scores.length;
}
