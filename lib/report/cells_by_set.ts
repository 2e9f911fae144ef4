/** Cells of trainings that are tested on several data sets, as a cell a set: tables and comparisons then have each as a task. */

import type { Cell } from "./schema.ts";

/** The cells, those with test sets as one for each of them. */
export function cellsBySet(cells: readonly Cell[]): Cell[] {
  return cells.flatMap((cell) =>
    cell.tests?.sets.map((set, i) => cellOfSet(cell, set, i === 0 ? "dev" : set)) ?? [cell]
  );
}

/** The part of a cell that is of a data set; `name` is what the cell calls it. */
function cellOfSet(cell: Cell, set: string, name: string): Cell {
  const { headline, labels: { [name]: labels } } = cell;
  const metric = name === "dev" ? headline : `${headline} ${name}`;
  const frequencies = Map.groupBy(labels, (label) => label).values().map(({ length }) => length);
  return {
    ...cell,
    task: set,
    trainedOn: cell.task,
    devExamples: labels.length,
    best: { [headline]: cell.best[metric] },
    last: { [headline]: cell.last[metric] },
    majorityBaseline: Math.max(...frequencies) / labels.length,
    predictions: { dev: cell.predictions[name] },
    labels: { dev: labels },
  };
}
