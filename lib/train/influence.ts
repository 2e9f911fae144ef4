/**
 * How much every example moves a metric. For a metric T of n examples, example i's influence is
 * dT((1 − ε) F + ε δᵢ)/dε at ε = 0, with F the examples' distribution: about (n − 1)(T − T without i). Influences
 * average 0, and their variance over n estimates the variance of T over other examples (the infinitesimal
 * jackknife, Jaeckel 1972). So metrics that are no means over examples can be treated as if they were.
 */

import type { MetricName } from "../data/task.ts";
import { isConstant, ranks } from "./metrics.ts";

type Numbers = readonly number[];

const mean = (values: Numbers) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Whether every prediction is right, less the share of right ones. */
function accuracyInfluence(predictions: Numbers, labels: Numbers): number[] {
  const hits = predictions.map((value, i) => value === labels[i] ? 1 : 0);
  const share = mean(hits);
  return hits.map((hit) => hit - share);
}

/** From F1 = 2 hits/(predicted + present): (2 hit − F1 (predicted + present)) / the mean of (predicted + present). */
function f1Influence(predictions: Numbers, labels: Numbers, positive: number): number[] {
  const named = predictions.map((value, i) => Number(value === positive) + Number(labels[i] === positive));
  const hits = named.map((count) => count === 2 ? 1 : 0);
  const scale = mean(named);
  if (scale === 0) return named;
  const f1 = 2 * mean(hits) / scale;
  return named.map((count, i) => (2 * hits[i] - f1 * count) / scale);
}

function macroF1Influence(predictions: Numbers, labels: Numbers): number[] {
  const classes = [...new Set([...predictions, ...labels])];
  const influences = classes.map((label) => f1Influence(predictions, labels, label));
  return predictions.map((_, i) => mean(influences.map((own) => own[i])));
}

/** Values less their mean, over their standard deviation; undefined for constant values. */
function standardized(
  values: Numbers,
): { readonly scores: number[]; readonly deviation: number } | undefined {
  const center = mean(values);
  const deviation = Math.sqrt(mean(values.map((value) => (value - center) ** 2)));
  if (isConstant(values) || deviation === 0) return undefined;
  return { scores: values.map((value) => (value - center) / deviation), deviation };
}

/** With standardized a and b: a b − r (a² + b²)/2 (Devlin, Gnanadesikan and Kettenring 1975). */
function pearsonInfluence(predictions: Numbers, labels: Numbers): number[] {
  const [a, b] = [standardized(predictions)?.scores, standardized(labels)?.scores];
  if (!a || !b) return predictions.map(() => 0);
  const r = mean(a.map((value, i) => value * b[i]));
  return a.map((value, i) => value * b[i] - r * (value ** 2 + b[i] ** 2) / 2);
}

/**
 * Pearson's influence on the ranks, and that of the example on the ranks of the others (Croux and Dehon 2010):
 * it lifts the share of examples below every example above it.
 */
function spearmanInfluence(predictions: Numbers, labels: Numbers): number[] {
  const [a, b] = [predictions, labels].map((values) => {
    return standardized(ranks(values).map((rank) => rank / values.length));
  });
  if (!a || !b) return predictions.map(() => 0);
  const r = mean(a.scores.map((value, i) => value * b.scores[i]));
  const direct = pearsonInfluence(a.scores, b.scores);
  const slopes = ([own, other]: readonly (typeof a)[]) =>
    own.scores.map((value, i) => (other.scores[i] - r * value) / own.deviation);
  const throughA = sumAbove(predictions, slopes([a, b]));
  const throughB = sumAbove(labels, slopes([b, a]));
  return direct.map((value, i) => value + (throughA[i] + throughB[i]) / predictions.length);
}

/** For every example the sum of the weights of those with a greater value, and half of those with the same. */
function sumAbove(values: Numbers, weights: Numbers): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[j] - values[i]);
  const sums = new Array<number>(values.length);
  let above = 0;
  for (let start = 0; start < order.length;) {
    let end = start;
    let same = 0;
    while (end < order.length && values[order[end]] === values[order[start]]) same += weights[order[end++]];
    for (let i = start; i < end; i++) sums[order[i]] = above + same / 2;
    above += same;
    start = end;
  }
  return sums;
}

const formulas: Record<MetricName, (predictions: Numbers, labels: Numbers) => number[]> = {
  accuracy: accuracyInfluence,
  macroF1: macroF1Influence,
  f1: (predictions, labels) => f1Influence(predictions, labels, 1),
  /** As in metrics.ts, for two classes. */
  matthews: pearsonInfluence,
  pearson: pearsonInfluence,
  /** From ln T = Σ predictions/Σ labels. */
  perplexity(predictions, labels) {
    const ratio = mean(predictions) / mean(labels);
    return predictions.map((value, i) => Math.exp(ratio) * (value - ratio * labels[i]) / mean(labels));
  },
  spearman: spearmanInfluence,
};

/**
 * Every example's influence on a metric, which `evaluateMetrics` computes and whose conditions on the input hold
 * here too. All are 0 where a correlation is not defined because one side is constant.
 */
export function influences(metric: MetricName, predictions: Numbers, labels: Numbers): number[] {
  return formulas[metric](predictions, labels);
}
