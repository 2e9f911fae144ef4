/** Runs a trainer's epochs and tells of every step while it goes on. */

import type { Encoded } from "../../lib/objectives/objective.ts";
import { makeBatches } from "../../lib/run/batches.ts";
import type { Trainer } from "../../lib/train/trainer.ts";

/** What the trainer trains on, and how long. */
export interface Plan {
  readonly examples: readonly Encoded[];
  readonly batchSize: number;
  readonly epochs: number;
  readonly seed: number;
}

/** A finished step. */
export interface StepReport {
  /** Counted from 0. */
  readonly step: number;
  readonly loss: number;
  /** Tokens per second over all steps so far, from upload to read-back, padding not counted. */
  readonly tokensPerSecond: number;
}

/**
 * Runs all epochs, calls `onStep` after each step, and then waits for `pause`, which counts for no step's time.
 * @returns the loss of every step.
 */
export async function trainSteps(
  trainer: Trainer,
  plan: Plan,
  onStep: (report: StepReport) => void,
  pause: () => Promise<void> = async () => {},
): Promise<number[]> {
  const losses: number[] = [];
  let [tokens, seconds, started] = [0, 0, performance.now()];
  for (let epoch = 0; epoch < plan.epochs; epoch++) {
    const sizes = tokensOfSteps(plan, epoch);
    await trainer.epoch(async () => {
      const records = await trainer.records();
      const { step, loss } = records.at(-1)!;
      seconds += (performance.now() - started) / 1000;
      tokens += sizes[records.length - 1];
      losses.push(loss);
      onStep({ step, loss, tokensPerSecond: tokens / seconds });
      await pause();
      started = performance.now();
    });
  }
  return losses;
}

/** Tokens in the texts of each step's batch, padding not counted. */
function tokensOfSteps({ examples, batchSize, seed }: Plan, epoch: number): number[] {
  return makeBatches(examples, batchSize, seed, epoch).map(({ indices }) =>
    indices.reduce((sum, index) => sum + examples[index].texts.flat().length, 0)
  );
}
