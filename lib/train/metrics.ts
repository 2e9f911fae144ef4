/** Metrics, as the GLUE benchmark defines them. */

import type { MetricName } from "../data/task.ts";

type Numbers = readonly number[];

/**
 * F1 of one class: the harmonic mean of precision and recall; 0 when the class is neither predicted nor
 * present.
 */
function f1Of(predictions: Numbers, labels: Numbers, positive: number): number {
  const hits = predictions.filter((value, i) => value === positive && labels[i] === positive).length;
  const predicted = predictions.filter((value) => value === positive).length;
  const present = labels.filter((value) => value === positive).length;
  return predicted + present === 0 ? 0 : 2 * hits / (predicted + present);
}

/** Whether all values are the same. Their deviations from their mean need not be 0: that is rounded. */
export function isConstant(values: Numbers): boolean {
  return values.every((value) => value === values[0]);
}

/** Pearson's r; 0 when either side is constant. */
function pearson(a: Numbers, b: Numbers): number {
  if (isConstant(a) || isConstant(b)) return 0;
  const mean = (values: Numbers) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const product = (x: Numbers, mx: number, y: Numbers, my: number) =>
    x.reduce((sum, value, i) => sum + (value - mx) * (y[i] - my), 0);
  const scale = Math.sqrt(product(a, meanA, a, meanA) * product(b, meanB, b, meanB));
  return scale === 0 ? 0 : product(a, meanA, b, meanB) / scale;
}

/** Ranks, counted from 1; ties share their average. */
export function ranks(values: Numbers): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length;) {
    let end = start;
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let i = start; i < end; i++) result[order[i]] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}

const total = (values: Numbers) => values.reduce((sum, value) => sum + value, 0);

const formulas: Record<MetricName, (predictions: Numbers, labels: Numbers) => number> = {
  accuracy: (predictions, labels) =>
    predictions.filter((value, i) => value === labels[i]).length / labels.length,
  /** Mean F1 over the classes that occur in predictions or labels (scikit-learn's `average="macro"`). */
  macroF1(predictions, labels) {
    const classes = [...new Set([...predictions, ...labels])];
    return classes.reduce((sum, label) => sum + f1Of(predictions, labels, label), 0) / classes.length;
  },
  f1: (predictions, labels) => f1Of(predictions, labels, 1),
  /** For two classes, Matthews' coefficient is Pearson's r of the 0/1 vectors. */
  matthews: pearson,
  pearson,
  spearman: (predictions, labels) => pearson(ranks(predictions), ranks(labels)),
  /** e to the mean negative log-likelihood of a token; predictions are texts' sums of it, labels their numbers of tokens. */
  perplexity: (predictions, labels) => Math.exp(total(predictions) / total(labels)),
};

/** What a metric's predictions are: classes, numbers (which classes are too), or texts' negative log-likelihoods. */
type PredictionKind = "classes" | "two classes" | "numbers" | "likelihoods";

const kinds: Record<MetricName, PredictionKind> = {
  accuracy: "classes",
  macroF1: "classes",
  f1: "two classes",
  matthews: "two classes",
  pearson: "numbers",
  spearman: "numbers",
  perplexity: "likelihoods",
};

/** What a task predicts. */
interface Predicted {
  /** Classes or options, values, or the negative log-likelihoods of texts. */
  readonly kind: "classes" | "numbers" | "likelihoods";
  /** The number of classes; 0 where they are not known. */
  readonly classes: number;
}

/** Says why a metric of what is predicted would mean nothing, if it would. */
export function faultOfMetric(metric: MetricName, { kind, classes }: Predicted): string | undefined {
  const wanted = kinds[metric];
  if (wanted === "two classes" && (kind !== "classes" || classes !== 2)) {
    return `${metric} is of two classes`;
  }
  if (wanted === "classes" && kind !== "classes") return `${metric} is of classes`;
  if ((wanted === "likelihoods") === (kind === "likelihoods")) return undefined;
  return wanted === "likelihoods"
    ? `${metric} is of texts that are learnt`
    : `${metric} is not of texts that are learnt, whose metric is perplexity`;
}

/** The names of the metrics that there are. */
export const metricNames = Object.keys(formulas) as readonly MetricName[];

/**
 * Computes the named metrics. Throws an Error for no examples, unequal lengths, a prediction or label that is not finite, a metric
 * that there is not, one of two classes where there are others than 0 and 1, and a perplexity of no tokens.
 */
export function evaluateMetrics(
  names: readonly MetricName[],
  predictions: readonly number[],
  labels: readonly number[],
): Partial<Record<MetricName, number>> {
  if (labels.length === 0 || labels.length !== predictions.length) {
    throw new Error(`${predictions.length} predictions for ${labels.length} labels`);
  }
  for (const [what, values] of Object.entries({ prediction: predictions, label: labels })) {
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new Error(`${what} ${bad} is ${values[bad]}`);
  }
  for (const name of names) checkMetric(name, predictions, labels);
  return Object.fromEntries(names.map((name) => [name, formulas[name](predictions, labels)]));
}

/** Throws an Error where a metric of these would mean nothing. */
function checkMetric(name: MetricName, predictions: Numbers, labels: Numbers): void {
  if (!Object.hasOwn(formulas, name)) {
    throw new Error(`no metric "${name}"; have ${metricNames.join(", ")}`);
  }
  if (kinds[name] === "two classes") {
    const other = [...predictions, ...labels].find((value) => value !== 0 && value !== 1);
    if (other !== undefined) throw new Error(`${name} is of two classes, 0 and 1, and there is ${other}`);
  }
  if (kinds[name] === "likelihoods" && !(total(labels) > 0)) {
    throw new Error(`${name} is of tokens, and there are ${total(labels)}`);
  }
}

/** Whether a lower score is the better one. */
export function isLowerBetter(metric: MetricName): boolean {
  return metric === "perplexity";
}
