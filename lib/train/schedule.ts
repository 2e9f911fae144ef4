/** Learning-rate schedules. */

/**
 * The length of the learning rate's warm-up: a ratio or a number of steps, not both. Without either there is
 * none.
 */
export interface WarmUp {
  /** Share of all steps, from 0 to 1. */
  readonly warmupRatio?: number;
  /** Number of optimizer steps. */
  readonly warmupSteps?: number;
}

/**
 * Linear warm-up over the given steps, or over the first ⌈ratio·steps⌉, then linear decay to 0 after the last
 * step. Returns the factors of steps 0 … steps − 1.
 */
export function linearSchedule(steps: number, { warmupRatio = 0, warmupSteps }: WarmUp): number[] {
  const warmup = warmupSteps ?? Math.ceil(steps * warmupRatio);
  return Array.from(
    { length: steps },
    (_, step) => step < warmup ? (step + 1) / (warmup + 1) : (steps - step) / Math.max(1, steps - warmup),
  );
}
