/** Compares rows with a reference row, on the tasks, seeds and dev examples that both have. */

import type { MetricName } from "../data/task.ts";
import { table } from "./markdown.ts";
import {
  averagePaired,
  compareOverSets,
  comparePaired,
  detectableText,
  margin,
  type PairedComparison,
  type PairedRuns,
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

const signed = (value: number) =>
  Math.abs(value) < 0.05 ? "0.0" : `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)}`;
const pText = (p: number) => p < 0.001 ? "< 0.001" : p.toFixed(3);
const differenceText = (found: PairedComparison) =>
  `${signed(found.mean)} ± ${halfWidthOf(found).toFixed(1)}`;

/** What a verdict says of a row, before the reference's name. */
const words = {
  better: "is better than",
  worse: "is worse than",
  equivalent: `is within ±${margin} of`,
  "cannot tell": "cannot be told from",
} as const;

/**
 * A sentence such as `BoRA r 8 b 16 is better than LoRA r 8 (+1.2 ± 0.8, p 0.020)`; with one seed it speaks of
 * these two runs, and says so.
 */
export function verdict(label: string, reference: string, cells: readonly Cell[]): string {
  const found = rowDifference(label, reference, cells);
  if (!found) return `${label} or ${reference} was not run`;
  const seeds = found.seeds === 1 ? ", one seed" : "";
  return `${label} ${words[found.verdict]} ${reference} (${differenceText(found)}, p ${
    pText(found.p)
  }${seeds})`;
}

/**
 * Whether the cells support claims that one row beats another: `agrees`, `disagrees` or `cannot tell`, or how
 * many of each. A claim is disagreed with if the row is worse, or within the margin and not shown to be better.
 */
export function agreement(
  claims: readonly (readonly [better: string, worse: string])[],
  cells: readonly Cell[],
): string {
  const said = claims.map(([better, worse]) => {
    const found = rowDifference(better, worse, cells);
    if (found && found.interval[0] > 0) return "agrees";
    return found && found.verdict !== "cannot tell" ? "disagrees" : "cannot tell";
  });
  if (claims.length === 1) return said[0];
  const count = (word: string) => said.filter((other) => other === word).length;
  return ["agrees", "disagrees", "cannot tell"].map((word) => `${word} ${count(word)}×`).join(", ");
}

/**
 * A table of every row's score and its difference from the reference, with what the difference says, and a
 * line on what could have been seen.
 */
export function compareTo(reference: string, cells: readonly Cell[]): string {
  const labels = [...new Set(cells.map(({ label }) => label))];
  const found = new Map(
    labels.filter((label) => label !== reference).map((label) => [
      label,
      rowDifference(label, reference, cells),
    ]),
  );
  const compared = [...found.values()].filter((one) => one !== undefined);
  const adjusted = new Map(holm(compared.map(({ p }) => p)).map((p, i) => [compared[i], p]));
  const rows = labels.map((label) => {
    const own = cells.find((cell) => cell.label === label)!;
    const scores = [...scoresBySeed(cells, label).values()];
    const difference = found.get(label);
    return [
      label,
      own.adapterParameters.toLocaleString("en-US"),
      String(scores.length),
      scores.length === 0 ? "–" : scoreText(intervalOf(scores)),
      ...difference
        ? [
          differenceText(difference),
          pText(difference.p),
          pText(adjusted.get(difference)!),
          difference.verdict === "equivalent" ? `within ±${margin}` : difference.verdict,
        ]
        : ["–", "–", "–", "–"],
    ];
  });
  const header = [
    "method",
    "trainable",
    "seeds",
    "score, %",
    `− ${reference}`,
    "p",
    "p, Holm",
    "it is",
  ];
  const explained =
    "Differences pair seeds and dev examples (crossed random effects); ± is a 95 % interval, p is that of each comparison alone, " +
    `and Holm's of all in this table. “Within ±${margin}”: the 90 % interval is.`;
  const power = compared.length === 0 ? "" : ` ${detectableText(compared)}`;
  return `${table(header, rows)}\n\n${explained}${power}`;
}
