/** Compares rows with a reference row, on the tasks, seeds and dev examples that both have. */

import type { MetricName } from "../data/task.ts";
import { signed } from "../show.ts";
import { table } from "./markdown.ts";
import {
  averagePaired,
  compareOverSets,
  comparePaired,
  margin,
  type PairedComparison,
  type PairedRuns,
  type PairedVerdict,
  verdictOf,
} from "./paired.ts";
import { unpackNumbers } from "./packed_numbers.ts";
import type { Cell } from "./schema.ts";
import { scoresBySeed } from "./scores.ts";
import { halfWidthOf, holm, intervalOf, scoreText } from "./statistics.ts";

/**
 * The difference of two rows, over all tasks in `cells`; undefined if a task lacks a seed that both rows have.
 * Throws an Error when the two rows were evaluated on other examples.
 */
export function rowDifference(
  label: string,
  reference: string,
  cells: readonly Cell[],
): PairedComparison | undefined {
  const tasks = [...Map.groupBy(cells, ({ task }) => task).values()].map((all) => ({
    own: all.filter((cell) => cell.label === label),
    other: all.filter((cell) => cell.label === reference),
  })).map(({ own, other }) => ({ own: forSeedsOf(other, own), other: forSeedsOf(own, other) }));
  const isCommon = ({ own, other }: typeof tasks[number]) =>
    own.some(({ seed }) => other.some((cell) => cell.seed === seed));
  if (tasks.length === 0 || !tasks.every(isCommon)) return undefined;
  const trainings = Map.groupBy(tasks, ({ own: [{ task, trainedOn = task }] }) => trainedOn);
  return averagePaired([...trainings.values()].map(trainingDifference));
}

/** The difference of two rows on the task, or the test sets, of one training. */
function trainingDifference(
  tasks: readonly { own: readonly Cell[]; other: readonly Cell[] }[],
): PairedComparison {
  const [first, ...others] = tasks.map(({ own, other }) => pairedRuns(own, other));
  return others.length === 0 ? comparePaired(first) : compareOverSets([first, ...others]);
}

/** The cells of a row; of one that is not trained, its only one for every seed of the other row. */
function forSeedsOf(other: readonly Cell[], own: readonly Cell[]): readonly Cell[] {
  return own.some(({ steps }) => steps > 0)
    ? own
    : own.slice(0, 1).flatMap((cell) => other.map(({ seed }) => ({ ...cell, seed })));
}

/** The runs of two rows on one task. */
function pairedRuns(own: readonly Cell[], reference: readonly Cell[]): PairedRuns {
  const [{ headline, labels, dataDigest, task }] = own;
  const foreign = [...own, ...reference].find((cell) => cell.dataDigest !== dataDigest);
  if (foreign) throw new Error(`${foreign.label} was evaluated on other examples of ${task}: run it again`);
  const runsOf = (cells: readonly Cell[]) =>
    cells.map(({ seed, predictions }) => ({ seed, predictions: unpackNumbers(predictions.dev) }));
  return {
    metric: headline as MetricName,
    labels: labels.dev,
    reference: runsOf(reference),
    own: runsOf(own),
  };
}

const pText = (p: number) => p < 0.001 ? "< 0.001" : p.toFixed(3);
const differenceText = (found: PairedComparison) =>
  `${signed(found.mean, 1)} ± ${halfWidthOf(found).toFixed(1)}`;

/** A comparison among others that are judged together: its p, and with it its verdict, is Holm's over all of them. */
interface Judged extends PairedComparison {
  readonly adjusted: number;
  readonly verdict: PairedVerdict;
}

/** The comparisons, judged together; those that were not made stay undefined. */
function judged(found: readonly (PairedComparison | undefined)[]): (Judged | undefined)[] {
  const made = found.filter((one) => one !== undefined);
  const adjusted = new Map(holm(made.map(({ p }) => p)).map((p, i) => [made[i], p]));
  return found.map((one) => {
    if (!one) return undefined;
    const p = adjusted.get(one)!;
    return { ...one, adjusted: p, verdict: verdictOf(one, p) };
  });
}

/** The direction of a difference that is certain, even if it is too small to matter; otherwise undefined. */
function directionOf({ adjusted, mean }: Judged): "better" | "worse" | undefined {
  if (adjusted >= 0.05) return undefined;
  return mean > 0 ? "better" : "worse";
}

/** A verdict as a table has it, such as `better, within ±0.5`. */
function verdictText(found: Judged): string {
  if (found.verdict !== "equivalent") return found.verdict;
  const direction = directionOf(found);
  return `${direction ? `${direction}, ` : ""}${within}`;
}

/** What a verdict says of a row and another. */
function relation(found: Judged, other: string): string {
  const direction = directionOf(found);
  if (found.verdict === "equivalent") {
    return direction ? `is ${direction} than ${other}, ${within}` : `is ${within} of ${other}`;
  }
  return direction ? `is ${direction} than ${other}` : `cannot be told from ${other}`;
}

/** That one row beats another. */
export type Claim = readonly [better: string, worse: string];

/** A sentence such as `BoRA r 8 b 16 is better than LoRA r 8 (+1.2 ± 0.8, p 0.020)`; with one seed it says so. */
function sentence([label, other]: Claim, found: Judged | undefined): string {
  if (!found) return `${label} or ${other} was not run`;
  const seeds = found.seeds === 1 ? ", one seed: these two runs" : "";
  return `${label} ${relation(found, other)} (${differenceText(found)}, p ${pText(found.adjusted)}${seeds})`;
}

const within = `within ±${margin}`;

/** What may be said of a claim. */
const agreements = ["agrees", "disagrees", within, "cannot tell"] as const;

/** Whether a claim holds here: it does not if the row that should be better is worse. Rows may also be too near for either. */
function agreementOf(found: Judged | undefined): typeof agreements[number] {
  const direction = found && directionOf(found);
  if (direction) return direction === "better" ? "agrees" : "disagrees";
  return found?.verdict === "equivalent" ? within : "cannot tell";
}

/**
 * Whether the cells support the claims, `agrees`, `disagrees`, `within ±0.5` or `cannot tell`, or how many of each there are, and a
 * sentence on each of them, such as `agrees. BoRA r 8 b 16 is better than LoRA r 8 (+1.2 ± 0.8, p 0.020).` What is claimed `besides`
 * has a sentence and is not counted. p is Holm's over all.
 */
export function claimsText(
  claims: readonly Claim[],
  cells: readonly Cell[],
  besides: readonly Claim[] = [],
): string {
  const all = [...claims, ...besides];
  const found = judged(all.map(([better, worse]) => rowDifference(better, worse, cells)));
  const said = claims.map((_, i) => agreementOf(found[i]));
  const count = (word: string) => said.filter((other) => other === word).length;
  const answer = said.length === 1
    ? said[0]
    : agreements.filter(count).map((word) => `${word} ${count(word)}×`).join(", ");
  return `${answer}. ${all.map((claim, i) => sentence(claim, found[i])).join("; ")}.`;
}

/** The number of seeds of a row, and of those in common with the reference if these are fewer. */
function seedsText(own: number, common: number): string {
  return common < own ? `${own} (${common} in common)` : String(own);
}

/** Points, rounded up to a tenth. */
const roundedUp = (points: number) => (Math.ceil(10 * points) / 10).toFixed(1);

/** What a comparison's table says of a row: its difference, its p alone and by Holm, the verdict, and what could have been seen. */
function comparedColumns(found: Judged | undefined): readonly string[] {
  if (!found) return ["–", "–", "–", "–", "–"];
  return [
    differenceText(found),
    pText(found.p),
    pText(found.adjusted),
    verdictText(found),
    roundedUp(found.detectable),
  ];
}

const comparedHeader = (reference: string) => [`− ${reference}`, "p", "p, Holm", "it is", "could see"];

/** The seeds of a row, those in common with the reference, and its score. */
function scoredColumns(label: string, cells: readonly Cell[], found: Judged | undefined): readonly string[] {
  const scores = [...scoresBySeed(cells, label).values()];
  return [
    seedsText(scores.length, found?.seeds ?? scores.length),
    scores.length === 0 ? "–" : scoreText(intervalOf(scores)),
  ];
}

const scoredHeader = ["seeds", "score, %"];

/**
 * A table of every row's score and its difference from the reference, with what the difference says and what
 * could have been seen.
 */
export function compareTo(reference: string, cells: readonly Cell[]): string {
  const labels = [...new Set(cells.map(({ label }) => label))];
  const found = judged(
    labels.map((label) => label === reference ? undefined : rowDifference(label, reference, cells)),
  );
  const rows = labels.map((label, i) => {
    const { adapterParameters } = cells.find((cell) => cell.label === label)!;
    return [
      label,
      adapterParameters.toLocaleString("en-US"),
      ...scoredColumns(label, cells, found[i]),
      ...comparedColumns(found[i]),
    ];
  });
  const header = ["method", "trainable", ...scoredHeader, ...comparedHeader(reference)];
  const explained =
    "± of a score is a 95 % interval over its seeds alone, ± of a difference one over seeds and dev examples, of which those that both " +
    "rows have are paired (crossed random effects). p is that of each comparison alone, Holm's that of all in this table, by which a row " +
    "is better or worse; the finding's sentences have Holm's of their own comparisons. " +
    `“Within ±${margin}”: the 90 % interval is. ` +
    "“Could see”: a true difference of so many points had a chance of 80 % to be found (p below 5 %, alone). Seeds change where " +
    "adapters start, the order of examples and dropout; which examples are trained on is the same for all.";
  const one = found.some((one) => one?.seeds === 1)
    ? " One seed does not tell how seeds differ: where a row has only one in common, better and worse are said of two runs, and true " +
      "intervals are wider."
    : "";
  return `${table(header, rows)}\n\n${explained}${one}`;
}

/** A table as that of `compareTo`, of each task for itself. */
function compareByTask(reference: string, cells: readonly Cell[]): string {
  const all = [...Map.groupBy(cells, ({ task }) => task)].flatMap(([task, own]) =>
    [...new Set(own.map(({ label }) => label))].map((label) => ({ task, label, own }))
  );
  const found = judged(
    all.map(({ label, own }) => label === reference ? undefined : rowDifference(label, reference, own)),
  );
  const rows = all.map(({ task, label, own }, i) => [
    label,
    task,
    ...scoredColumns(label, own, found[i]),
    ...comparedColumns(found[i]),
  ]);
  return `${table(["method", "task", ...scoredHeader, ...comparedHeader(reference)], rows)}\n\n` +
    "Holm's p is that of all comparisons in this table.";
}

/** The sections that compare all rows with the reference: by their averages and, where there are several tasks, on each. */
export function comparisonSections(reference: string, cells: readonly Cell[]): string[] {
  const over = `## Compared with ${reference}\n\n${compareTo(reference, cells)}`;
  if (new Set(cells.map(({ task }) => task)).size === 1) return [over];
  return [over, `## Compared with ${reference} on each task\n\n${compareByTask(reference, cells)}`];
}
