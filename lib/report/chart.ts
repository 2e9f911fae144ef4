/** Charts of tables, drawn as SVG by Vega-Lite. */

import { parse, View } from "npm:vega@6.4.0";
import { compile, type TopLevelSpec } from "npm:vega-lite@6.5.0";
import type { Cell } from "./schema.ts";
import { meanScore, scoresBySeed } from "./scores.ts";

interface Point {
  readonly method: string;
  readonly parameters: number;
  readonly score: number;
}

/** One point per method that has a complete seed: its mean score. */
export function pointsOf(cells: readonly Cell[]): Point[] {
  const labels = [...new Set(cells.map((cell) => cell.label))];
  return labels.flatMap((label) => {
    const score = meanScore(cells, label);
    const { adapterParameters } = cells.find((cell) => cell.label === label)!;
    return score === undefined ? [] : [{ method: label, parameters: adapterParameters, score }];
  });
}

/** Where a logarithmic axis has rows without parameters: at a power of ten, at most a third of the fewest. */
function placeOfNone(points: readonly Point[]): number {
  const fewest = Math.min(...points.map(({ parameters }) => parameters).filter((count) => count > 0));
  return fewest === Infinity ? 1 : 10 ** Math.floor(Math.log10(fewest / 3));
}

async function toSvg(spec: TopLevelSpec): Promise<string> {
  return await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
}

/**
 * Average score against trainable parameters, of several seeds with a small point for each. Each method has its
 * own colour and shape and is named in the legend, so that labels do not overlap.
 */
export function parameterChart(title: string, cells: readonly Cell[]): Promise<string> {
  const points = pointsOf(cells);
  const none = placeOfNone(points);
  const values = points.map((point) => ({ ...point, parameters: point.parameters || none }));
  const ofSeeds = values.flatMap((point) =>
    scoresBySeed(cells, point.method).values().map((score) => ({ ...point, score })).toArray()
  );
  const hasSeeds = ofSeeds.length > values.length;
  const isNone = points.some(({ parameters }) => parameters === 0);
  const domain = points.map(({ method }) => method);
  const shapes = ["circle", "square", "cross", "diamond", "triangle-up", "triangle-down"];
  return toSvg({
    width: 640,
    height: Math.max(360, 17 * domain.length),
    background: "white",
    title,
    layer: [
      ...(hasSeeds
        ? [
          {
            data: { values: ofSeeds },
            mark: { type: "point", filled: true, size: 16, opacity: 1 },
          } as const,
        ]
        : []),
      { data: { values }, mark: { type: "point", filled: true, size: 90, opacity: 0.8 } },
    ],
    encoding: {
      x: {
        field: "parameters",
        type: "quantitative",
        scale: { type: "log" },
        axis: {
          title: `trainable parameters, head not counted${
            isNone ? ` (none at ${none.toLocaleString("en")})` : ""
          }`,
          format: "~s",
        },
      },
      y: {
        field: "score",
        type: "quantitative",
        scale: { zero: false, padding: 20 },
        axis: { title: `average score on dev, %${hasSeeds ? " (small: each seed)" : ""}` },
      },
      color: {
        field: "method",
        type: "nominal",
        scale: { domain, scheme: "tableau10" },
        legend: { symbolLimit: 0, labelLimit: 240 },
      },
      shape: {
        field: "method",
        type: "nominal",
        scale: { domain, range: domain.map((_, i) => shapes[Math.floor(i / 10 + i) % shapes.length]) },
      },
    },
  });
}

/** An axis with the rows' names, in the order of the data. */
const rowAxis = {
  field: "row",
  type: "nominal",
  sort: null,
  axis: { title: null, labelLimit: 240 },
} as const;

/** One colour per series, in the order of the data. */
const seriesColour = (scheme: "tableau10" | "tableau20") =>
  ({ field: "series", type: "nominal", sort: null, scale: { scheme } }) as const;

/** A legend that names every series, however many there are. */
const seriesLegend = (title: string) => ({ title, symbolLimit: 0, labelLimit: 240 });

/** The mean score of every row, with its seeds as dots. */
export function barChart(title: string, cells: readonly Cell[]): Promise<string> {
  const values = cells.map((cell) => ({ row: cell.label, score: 100 * cell.last[cell.headline] }));
  const x = { type: "quantitative", scale: { zero: false }, axis: { title: "score on dev, %" } } as const;
  return toSvg({
    width: 520,
    height: { step: 24 },
    background: "white",
    title,
    data: { values },
    layer: [
      {
        mark: { type: "tick", thickness: 3, size: 18, color: "#0072B2" },
        encoding: { y: rowAxis, x: { ...x, field: "score", aggregate: "mean" } },
      },
      {
        mark: { type: "point", filled: true, size: 30, color: "#D55E00", opacity: 0.6 },
        encoding: { y: rowAxis, x: { ...x, field: "score" } },
      },
    ],
  });
}

/** Ratios as points on a logarithmic axis with a line at 1, one colour per series. */
export function ratioChart(
  title: string,
  values: readonly { readonly row: string; readonly series: string; readonly ratio: number }[],
): Promise<string> {
  return toSvg({
    width: 520,
    height: { step: 14 },
    background: "white",
    title,
    layer: [
      {
        data: { values: [...values] },
        mark: { type: "point", filled: true, size: 60, opacity: 1 },
        encoding: {
          y: rowAxis,
          x: {
            field: "ratio",
            type: "quantitative",
            scale: { type: "log" },
            axis: { title: "times as long" },
          },
          color: { ...seriesColour("tableau10"), title: null },
        },
      },
      {
        data: { values: [{ one: 1 }] },
        mark: { type: "rule", strokeDash: [4, 3] },
        encoding: { x: { field: "one", type: "quantitative" } },
      },
    ],
  });
}

/** One point of a curve. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly series: string;
}

/** Lines through the means, one per series. The x axis is logarithmic unless set to linear. */
export function curveChart(
  title: string,
  axes: {
    readonly x: string;
    readonly y: string;
    readonly series: string;
    /** Labels of x by their places, where there is a tick each and no other. */
    readonly namesOfX?: ReadonlyMap<number, string>;
    readonly linearX?: boolean;
    readonly logY?: boolean;
  },
  points: readonly CurvePoint[],
): Promise<string> {
  return toSvg({
    width: 600,
    height: 360,
    background: "white",
    title,
    data: { values: [...points] },
    mark: { type: "line", point: true },
    encoding: {
      x: {
        field: "x",
        type: "quantitative",
        scale: { type: axes.linearX ? "linear" : "log", nice: false },
        axis: { title: axes.x, format: "~s", ...axes.namesOfX ? namedTicks(axes.namesOfX) : {} },
      },
      y: {
        field: "y",
        aggregate: "mean",
        type: "quantitative",
        scale: axes.logY ? { type: "log" } : { type: "linear", zero: false },
        axis: { title: axes.y, ...(axes.logY ? { format: "~g" } : {}) },
      },
      color: { ...seriesColour("tableau10"), legend: seriesLegend(axes.series) },
    },
  });
}

function namedTicks(names: ReadonlyMap<number, string>) {
  const labels = JSON.stringify(Object.fromEntries(names));
  return { values: [...names.keys()], labelExpr: `${labels}[datum.value]` };
}

/** Points with a legend of their series, and a line for the limit. Both axes are logarithmic. */
export function scatterChart(
  title: string,
  axes: { readonly x: string; readonly y: string; readonly series: string },
  points: readonly CurvePoint[],
  limit: readonly { readonly x: number; readonly y: number }[],
): Promise<string> {
  const x = {
    field: "x",
    type: "quantitative",
    scale: { type: "log" },
    axis: { title: axes.x, format: "~s" },
  } as const;
  const y = { field: "y", type: "quantitative", scale: { type: "log" }, axis: { title: axes.y } } as const;
  const [least, most] = [
    Math.min(...points.map((point) => point.x)),
    Math.max(...points.map((point) => point.x)),
  ];
  return toSvg({
    width: 640,
    height: 400,
    background: "white",
    title,
    layer: [
      {
        data: { values: limit.filter((point) => point.x >= least && point.x <= 1.2 * most && point.y > 0) },
        mark: { type: "line", color: "black", strokeDash: [4, 3] },
        encoding: { x, y },
      },
      {
        data: { values: [...points] },
        mark: { type: "point", filled: true, size: 70, opacity: 1 },
        encoding: {
          x,
          y,
          color: { ...seriesColour("tableau20"), legend: seriesLegend(axes.series) },
          shape: { field: "series", type: "nominal", sort: null },
        },
      },
    ],
  });
}
