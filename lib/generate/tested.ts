/** Tests a causal model on data sets of LLM-Adapters, its answers as numbers that fit the examples' labels. */

import type { Answer } from "../data/answer_extraction.ts";
import { testSetByName } from "../data/llm_adapters_sets.ts";
import { scoringsOf } from "../data/llm_adapters_tested.ts";
import type { Example, Scoring, Tests } from "../data/task.ts";
import { type Answering, evaluate, type EvaluationMetric } from "./evaluate.ts";

/** What a model answers on one data set. */
export interface Tested {
  /** By the headline metric, the label of each answer; of an answer that is none of the examples', one above all labels. */
  readonly predictions: readonly number[];
  /**
   * Shares that are right by the other metrics, by their names. `accuracy` is called `written accuracy` where the headline is another
   * scoring's.
   */
  readonly further: Readonly<Record<string, number>>;
}

/** The metrics that stand for a scoring, the first that a data set has. */
const headlines: Readonly<Record<Scoring, readonly EvaluationMetric[]>> = {
  generation: ["accuracy"],
  likelihood: ["likelihood accuracy"],
  cloze: ["acc_norm", "acc"],
};

/** Tests on the data set `name`. Throws as `evaluate` does. */
export async function testedOn(
  writer: Answering,
  name: string,
  examples: readonly Example[],
  { prompts, scorings }: Tests,
  batchSize: number,
): Promise<Tested> {
  const records = examples.map(({ record }) => record!);
  const set = testSetByName(name);
  const [scoring, ...others] = scoringsOf(set, scorings);
  const { items, scores } = await evaluate(writer, set, records, { prompts, scoring, batchSize });
  const headline = headlines[scoring].find((metric) => metric in scores)!;
  const { [headline]: _, ...own } = scores;
  const further: Record<string, number> = own;
  for (const scoring of others) {
    const { scores } = await evaluate(writer, set, records, { prompts, scoring, batchSize });
    // “accuracy” is the headline's.
    for (const [metric, score] of Object.entries(scores)) {
      further[metric === "accuracy" ? "written accuracy" : metric] = score;
    }
  }
  const labels = new Map<Answer, number>(items.map(({ gold }, i) => [gold, examples[i].label]));
  const none = 1 + Math.max(...labels.values());
  return {
    predictions: items.map(({ right, read }, i) =>
      right[headline] ? examples[i].label : otherThan(examples[i].label, labels.get(read[headline]), none)
    ),
    further,
  };
}

/** The label of a wrong answer. */
function otherThan(label: number, read: number | undefined, none: number): number {
  return read === undefined || read === label ? none : read;
}
