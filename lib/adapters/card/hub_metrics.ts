/** Names that the Hugging Face hub has for metrics. */

import type { MetricName } from "../../data/task.ts";

/** A metric as `model-index` has it. */
export interface HubMetric {
  /** Its id among https://huggingface.co/metrics. */
  readonly type: string;
  /** What it is called where it is shown. */
  readonly name: string;
  /** What it is computed with. */
  readonly args?: Readonly<Record<string, unknown>>;
}

const hubMetrics: Readonly<Record<MetricName, HubMetric>> = {
  accuracy: { type: "accuracy", name: "Accuracy" },
  macroF1: { type: "f1", name: "F1, mean over classes", args: { average: "macro" } },
  f1: { type: "f1", name: "F1" },
  matthews: { type: "matthews_correlation", name: "Matthews correlation" },
  pearson: { type: "pearsonr", name: "Pearson correlation" },
  spearman: { type: "spearmanr", name: "Spearman correlation" },
  perplexity: { type: "perplexity", name: "Perplexity" },
};

/** The metric of a score's name; what stands after a space, such as a further data set, goes with the metric's name. */
export function hubMetric(score: string): HubMetric {
  const [metric, ...further] = score.split(" ");
  const known = hubMetrics[metric as MetricName] ?? { type: metric, name: metric };
  return { ...known, name: [known.name, ...further].join(" ") };
}
