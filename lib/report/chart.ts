/** The chart of a table: average score against trainable parameters, as SVG by Vega-Lite. */

import { parse, View } from "npm:vega@6.4.0";
import { compile, type TopLevelSpec } from "npm:vega-lite@6.5.0";
import type { Cell } from "./schema.ts";

interface Point {
  readonly method: string;
  readonly parameters: number;
  readonly score: number;
}

/** One point a method: mean headline metric (percent, last epoch) over tasks and seeds; methods without parameters at 1. */
export function pointsOf(cells: readonly Cell[]): Point[] {
  const labels = [...new Set(cells.map((cell) => cell.label))];
  return labels.map((label) => {
    const own = cells.filter((cell) => cell.label === label);
    const scores = own.map((cell) => 100 * cell.last[cell.headline]);
    return {
      method: label,
      parameters: Math.max(1, own[0].adapterParameters),
      score: scores.reduce((sum, value) => sum + value, 0) / scores.length,
    };
  });
}

/** The chart as SVG text. */
export async function renderChart(title: string, cells: readonly Cell[]): Promise<string> {
  const spec: TopLevelSpec = {
    width: 640,
    height: 360,
    background: "white",
    title,
    data: { values: pointsOf(cells) },
    encoding: {
      x: {
        field: "parameters",
        type: "quantitative",
        scale: { type: "log" },
        axis: { title: "trainable parameters, head not counted (none at 1)", format: "~s" },
      },
      y: {
        field: "score",
        type: "quantitative",
        scale: { zero: false, padding: 20 },
        axis: { title: "average score on dev, %" },
      },
    },
    layer: [
      { mark: { type: "point", filled: true, size: 80, color: "#0072B2", opacity: 1 } },
      {
        mark: { type: "text", dy: -12, fontSize: 11 },
        encoding: { text: { field: "method", type: "nominal" } },
      },
    ],
  };
  return await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
}
