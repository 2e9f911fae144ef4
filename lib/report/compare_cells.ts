/** Compares accuracy: the cells of two sets of runs, paired by experiment and seed. */

import { type ComparedRow, type Comparison, lackedBy, onlyInHead } from "./compare.ts";
import { cellsBySet } from "./cells_by_set.ts";
import { signed } from "../show.ts";
import { judge } from "./judge.ts";
import type { Cell } from "./schema.ts";
import { type Estimate, halfWidthOf, pairedEstimate } from "./statistics.ts";

/** Default threshold: the least difference of an accuracy, in points of 100. */
export const defaultPoints = 1;

/** One experiment with one seed on both sides. */
interface Pair {
  readonly base: Cell;
  readonly head: Cell;
}

/**
 * A set of pairs that is compared as one row: a label on one task, a label over all its tasks, or everything.
 */
interface Group {
  readonly name: string;
  readonly pairs: readonly Pair[];
  readonly overall: boolean;
}

const score = (cell: Cell) => 100 * cell.last[cell.headline];
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The key of a cell's experiment, without its seed. */
function experimentOf(
  { table, profile, model, trainedOn, task, label, target, trainExamples, devExamples }: Cell,
) {
  const on = trainedOn === undefined ? task : `${trainedOn}, ${task}`;
  return [table, profile, model, on, label, target.join(), trainExamples, devExamples].join(" / ");
}

/** Indexes cells by experiment and seed. Throws an Error when one appears twice. */
function bySeed(cells: readonly Cell[]): Map<string, Cell> {
  const found = new Map<string, Cell>();
  for (const cell of cells) {
    const key = `${experimentOf(cell)} / seed ${cell.seed}`;
    if (found.has(key)) throw new Error(`two cells of one experiment: ${key}. Give a folder without copies.`);
    found.set(key, cell);
  }
  return found;
}

/**
 * Compares the scores of the last epoch, of cells with test sets those of each set.
 * @throws Error when the two sides have no cell in common, or one side has a cell twice.
 */
export function compareCells(
  base: readonly Cell[],
  head: readonly Cell[],
  points = defaultPoints,
): Comparison {
  const [own, other] = [bySeed(cellsBySet(base)), bySeed(cellsBySet(head))];
  const pairs = [...own].filter(([key]) => other.has(key)).map(([key, cell]) => ({
    base: cell,
    head: other.get(key)!,
  }));
  if (pairs.length === 0) throw new Error("no cell of one is in the other: same table, task, label and seed");
  const groups = groupsOf(pairs);
  const estimates = groups.map(({ pairs }) => estimateOf(pairs));
  const judged = judge(
    groups.map(({ overall }, i) => ({ estimate: estimates[i], overall })),
    points,
    1,
  );
  return {
    title: "Accuracy",
    method:
      `Headline metric on dev at the last epoch, in points of 100. The interval is 95 % of Student's t over the seeds, paired; ` +
      `below three seeds that of drawing another dev set of the same size, for accuracies only. Threshold: ${points} points.`,
    environments: {
      base: pairs.map(({ base }) => base.environment),
      head: pairs.map(({ head }) => head.environment),
    },
    rows: groups.map((group, i) => ({ ...rowOf(group, estimates[i]), ...judged[i] })),
    missing: lackedBy(other.keys(), own.keys()),
    notes: [
      identical(pairs),
      ...others(pairs),
      ...settings(pairs),
      ...onlyInHead(lackedBy(own.keys(), other.keys())),
    ],
  };
}

/** What a row is called, without its task: with its model and its profile where there are several of them. */
function namerOf(pairs: readonly Pair[]): (cell: Cell) => string {
  const severalOf = (field: "model" | "profile") => new Set(pairs.map(({ base }) => base[field])).size > 1;
  const fields = (["model", "profile"] as const).filter(severalOf);
  return (cell) => [cell.table, ...fields.map((field) => cell[field])].join(", ") + `: ${cell.label}`;
}

/** One group per label and task; one per label with several tasks; and one of everything, if that is more. */
function groupsOf(pairs: readonly Pair[]): Group[] {
  const nameOf = namerOf(pairs);
  const experiments = Map.groupBy(pairs, ({ base }) => experimentOf(base));
  const labels = Map.groupBy(pairs, ({ base }) => nameOf(base));
  const tasksOf = (pairs: readonly Pair[]) => new Set(pairs.map(({ base }) => experimentOf(base))).size;
  const groups = [
    ...[...experiments.values()].map((own) => ({
      name: `${nameOf(own[0].base)}, ${own[0].base.task}`,
      pairs: own,
      overall: false,
    })),
    ...[...labels].filter(([, own]) => tasksOf(own) > 1).map(([name, own]) => ({
      name: `${name}, mean of ${tasksOf(own)} tasks`,
      pairs: own,
      overall: false,
    })),
  ];
  if (groups.length === 1) return groups;
  return [...groups, { name: `mean of all ${experiments.size} rows`, pairs, overall: true }];
}

/**
 * The pairs of every seed that has all of the group's experiments. A mean over fewer would be over other
 * tasks.
 */
function completeSeeds(pairs: readonly Pair[]): Pair[][] {
  const experiments = new Set(pairs.map(({ base }) => experimentOf(base))).size;
  return [...Map.groupBy(pairs, ({ base }) => base.seed).values()].filter(({ length }) =>
    length === experiments
  );
}

function estimateOf(pairs: readonly Pair[]): Estimate | undefined {
  if (pairs.every(sameBits)) return { mean: 0, error: 0, degrees: Infinity };
  const seeds = completeSeeds(pairs);
  const differences = seeds.map((own) => mean(own.map(({ base, head }) => score(head) - score(base))));
  if (differences.length >= 3) return pairedEstimate(differences, leastError(seeds[0]));
  if (differences.length === 0 || pairs.some(({ base }) => base.headline !== "accuracy")) return undefined;
  return { mean: mean(differences), error: samplingError(seeds[0]), degrees: Infinity };
}

function sameBits({ base, head }: Pair): boolean {
  const resultsOf = ({ last, best, epochs, predictions }: Cell) =>
    JSON.stringify({ last, best, epochs, predictions });
  return resultsOf(base) === resultsOf(head);
}

/**
 * The rounding error of a difference: a score of n examples is a multiple of 1/n, which gives a standard
 * deviation of 100/(n √6) points per cell.
 */
function leastError(pairs: readonly Pair[]): number {
  const variances = pairs.map(({ base }) => (100 / base.devExamples) ** 2 / 6);
  return Math.sqrt(variances.reduce((sum, value) => sum + value, 0)) / pairs.length;
}

/**
 * Standard error of a difference between accuracies p on two dev sets of n examples: √(2 p(1−p)/n) per task.
 * Both sides use the same dev set, which makes the true error smaller; this is ignored. Rows on one task
 * share its dev set, so their mean is no more certain than each of them.
 */
function samplingError(pairs: readonly Pair[]): number {
  const tasks = [...Map.groupBy(pairs, ({ base }) => base.task).values()];
  const variances = tasks.map((own) => {
    const worst = Math.max(...own.map(({ base, head }) => {
      const p = (score(base) + score(head)) / 200;
      return 2 * p * (1 - p) / base.devExamples;
    }));
    return worst * (own.length / pairs.length) ** 2;
  });
  return 100 * Math.sqrt(variances.reduce((sum, value) => sum + value, 0));
}

function rowOf({ name, pairs }: Group, estimate: Estimate | undefined): Omit<ComparedRow, "verdict" | "p"> {
  const seeds = completeSeeds(pairs);
  const of = (side: keyof Pair) =>
    seeds.length === 0 ? "–" : mean(seeds.flat().map((pair) => score(pair[side]))).toFixed(2);
  const difference = estimate?.mean ?? mean(pairs.map(({ base, head }) => score(head) - score(base)));
  return {
    name,
    base: of("base"),
    head: of("head"),
    difference: signed(difference, 2) + (estimate ? ` ± ${halfWidthOf(estimate).toFixed(2)}` : ""),
  };
}

function identical(pairs: readonly Pair[]): string {
  const same = pairs.filter(sameBits).length;
  return `${same} of ${pairs.length} cells agree in every metric and loss to the last bit.`;
}

/** Notes experiments of other examples or other weights on the two sides: what differs there is no change of the code alone. */
function others(pairs: readonly Pair[]): string[] {
  const differing = (field: "dataDigest" | "modelDigest", what: string) => {
    const found = pairs.filter(({ base, head }) => base[field] !== head[field]);
    const names = new Set(found.map(({ base }) => `${base.table}: ${base.label}, ${base.task}`));
    return names.size === 0 ? [] : [`${what} differ under the same name: ${[...names].join("; ")}.`];
  };
  return [...differing("dataDigest", "Examples"), ...differing("modelDigest", "The model's weights")];
}

/**
 * Notes experiments whose hyper-parameters differ between the sides. The comparison then includes that
 * difference.
 */
function settings(pairs: readonly Pair[]): string[] {
  const textOf = ({ options, training: { learningRate, batchSize }, steps }: Cell) =>
    JSON.stringify({ learningRate, batchSize, steps, ...options });
  const changed = pairs.filter(({ base, head }) => textOf(base) !== textOf(head));
  const lines = changed.map(({ base, head }) =>
    `${base.table}: ${base.label}, ${base.task}: ${textOf(base)} → ${textOf(head)}`
  );
  return lines.length === 0 ? [] : [`Settings differ: ${[...new Set(lines)].join("; ")}.`];
}
