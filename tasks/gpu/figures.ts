/** The main figures of what the parts of `deno task gpu` wrote. */

import * as v from "npm:valibot@1.5.0";
import { readCosts } from "../../bench/costs_page.ts";
import { msText, ratioTo } from "../../bench/page.ts";
import { own } from "../../bench/work.ts";
import { isFile, readJson } from "../../lib/files.ts";
import { readBench } from "../../lib/report/bench_schema.ts";
import { readCells } from "../../lib/report/cell_table.ts";
import { failuresOf } from "../../lib/report/conformance_page.ts";
import { readConformance } from "../../lib/report/conformance_schema.ts";
import { median } from "../../lib/report/statistics.ts";
import { withPrefix } from "../columns.ts";
import type { PartRecord } from "../pages/gpu.ts";
import { type Peaks, readPeaks } from "./peaks.ts";

/** Figures for the page, and what is to be said of them. */
export type Figures = Pick<PartRecord, "figures" | "note">;

const rate = v.pipe(v.number(), v.finite(), v.gtValue(0));

/** What is shown of the doctor's findings. */
const doctorSchema = v.object({
  rates: v.object({ flopsPerSecond: rate, bytesPerSecond: rate }),
  models: v.array(v.object({
    model: v.string(),
    fits: v.array(v.object({ length: v.number(), batch: v.optional(v.number()) })),
  })),
});

export async function doctorFigures(path: string): Promise<Figures> {
  const { rates, models } = await readJson(path, doctorSchema);
  const largest = models.map(({ model, fits }) => [
    `${model}: largest batch`,
    fits.map(({ length, batch }) => `${batch ?? "none"} of ${length} tokens`).join(", "),
  ]);
  const rows = [
    ["products, by this library", withPrefix(rates.flopsPerSecond, "FLOP/s")],
    ["adding two arrays", withPrefix(rates.bytesPerSecond, "B/s")],
    ...largest,
  ];
  return { figures: { header: ["figure", "value"], rows } };
}

export async function conformanceFigures(path: string): Promise<Figures> {
  const { drivers } = await readConformance(path);
  const rows = drivers.flatMap((driver) => {
    if (!("run" in driver)) return [];
    const { cases, training } = driver.run;
    return [[
      driver.environment.adapter,
      `${cases.length}`,
      `${training.length}`,
      `${failuresOf(driver.run).length}`,
    ]];
  });
  return { figures: { header: ["adapter", "cases of ops", "training runs", "failed"], rows } };
}

export async function peaksFigures(path: string): Promise<Figures> {
  const { flopsPerSecond, bytesPerSecond, dispatchMicroseconds, readMilliseconds } = await readPeaks(path);
  const rows = [
    ["multiply-adds", withPrefix(flopsPerSecond, "FLOP/s")],
    ["copying", withPrefix(bytesPerSecond, "B/s")],
    ["a dispatch of one workgroup among others", `${dispatchMicroseconds.toPrecision(3)} µs`],
    ["a submit, and reading four bytes back", `${readMilliseconds.toPrecision(3)} ms`],
  ];
  return { figures: { header: ["figure", "value"], rows } };
}

/** The peer that a GPU's figures are held against. */
export const gpuPeer = "PyTorch CUDA";

/** The share of the time that the peaks allow, at the least. */
function shareOf(flops: number, bytes: number, milliseconds: number, peaks: Peaks): string {
  const least = Math.max(flops / peaks.flopsPerSecond, bytes / peaks.bytesPerSecond);
  return `${(1e5 * least / milliseconds).toFixed(0)} %`;
}

/** `peaksPath` is what the peaks' part wrote, if it did. */
export async function benchFigures(path: string, peaksPath: string): Promise<Figures> {
  const { rows, about } = await readBench(path);
  const peaks = await isFile(peaksPath) ? await readPeaks(peaksPath) : undefined;
  const lines = rows.map((row) => {
    const [ours, peer] = [own, gpuPeer].map((name) => row.measured.find(({ library }) => library === name));
    const milliseconds = median(ours!.milliseconds);
    return [
      `${row.group}: ${row.name}`,
      msText(milliseconds),
      (row.flops / milliseconds / 1e6).toPrecision(3),
      peaks ? shareOf(row.flops, row.bytes, milliseconds, peaks) : "–",
      peer && peer.milliseconds.length > 0 ? ratioTo(row, peer).toFixed(2) : peer?.cannot ?? "–",
    ];
  });
  return {
    figures: {
      header: ["work", "ms", "GFLOP/s", "of the peaks' roofline", `time of ${gpuPeer} ÷ ours`],
      rows: lines,
    },
    note: about,
  };
}

export async function costsFigures(path: string): Promise<Figures> {
  const rows = (await readCosts(path)).map(({ name, values, goal }) => [
    name,
    median(values).toFixed(2),
    goal,
  ]);
  return { figures: { header: ["measure", "median", "goal"], rows } };
}

export async function tableFigures(path: string): Promise<Figures> {
  const cells = await readCells(path);
  const rows = cells.map(({ label, headline, last, trainExamples, times }) => [
    label,
    `${headline} ${(100 * last[headline]).toFixed(1)} %`,
    trainExamples.toLocaleString("en-US"),
    times.trainSeconds.toFixed(1),
  ]);
  return { figures: { header: ["method", "score", "examples", "train s"], rows } };
}
