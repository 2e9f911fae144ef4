/** Learning-rate schedules. */

/** Linear warm-up over the first ⌈ratio·steps⌉ steps, then linear decay to 0 after the last; factor of step 0 … steps − 1. */
export function linearSchedule(steps: number, warmupRatio: number): number[] {
  const warmup = Math.ceil(steps * warmupRatio);
  return Array.from(
    { length: steps },
    (_, step) => step < warmup ? (step + 1) / (warmup + 1) : (steps - step) / Math.max(1, steps - warmup),
  );
}
