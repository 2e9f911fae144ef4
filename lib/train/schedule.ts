/** Learning-rate schedules. */

/** How long the learning rate warms up: by a share of the steps or a number of them, not both; not at all where neither is given. */
export interface WarmUp {
  /** Share of the steps, from 0 to 1. */
  readonly warmupRatio?: number;
  /** Number of steps. */
  readonly warmupSteps?: number;
}

/** Linear warm-up over the given steps, or the first ⌈ratio·steps⌉, then linear decay to 0 after the last; factor of step 0 … steps − 1. */
export function linearSchedule(steps: number, { warmupRatio = 0, warmupSteps }: WarmUp): number[] {
  const warmup = warmupSteps ?? Math.ceil(steps * warmupRatio);
  return Array.from(
    { length: steps },
    (_, step) => step < warmup ? (step + 1) / (warmup + 1) : (steps - step) / Math.max(1, steps - warmup),
  );
}
