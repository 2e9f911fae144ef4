/** Renders the bench as a page: every group's table, and a chart of the ratios to the peers. */

import { ratioChart } from "../lib/report/chart.ts";
import { type BenchRecord, benchSchema } from "../lib/report/bench_schema.ts";
import { originText, table } from "../lib/report/markdown.ts";
import { definePage } from "../lib/report/page.ts";
import { median } from "../lib/report/statistics.ts";
import { headOf, onWebGpu } from "./peers.ts";
import { own } from "./work.ts";

type Row = BenchRecord["rows"][number];
type Measured = Row["measured"][number];

const ofLibrary = ({ measured }: Row, library: string) => measured.find((entry) => entry.library === library);

/** A peer's time relative to this library's: the median over laps of the ratio within a lap. */
export function ratioTo(row: Row, peer: Measured): number {
  const ours = ofLibrary(row, own)!.milliseconds;
  return median(peer.milliseconds.map((time, lap) => time / ours[lap]));
}

/** The best measured rates: GFLOP/s of any matrix product, and GB/s of adding two arrays. */
export interface Roofline {
  readonly gflops: number;
  readonly gigabytes: number;
}

export function rooflineOf(rows: readonly Row[]): Roofline | undefined {
  const best = (group: string, of: "flops" | "bytes") =>
    Math.max(
      ...rows.filter((row) => row.group === group).map((row) =>
        row[of] / Math.min(...ofLibrary(row, own)!.milliseconds) / 1e6
      ),
    );
  const [gflops, gigabytes] = [best("products", "flops"), best("bandwidth", "bytes")];
  return Number.isFinite(gflops + gigabytes) ? { gflops, gigabytes } : undefined;
}

/** The roofline's minimum time divided by the measured time. */
function shareOf({ flops, bytes }: Row, milliseconds: number, { gflops, gigabytes }: Roofline): number {
  return Math.max(flops / gflops, bytes / gigabytes) / 1e6 / milliseconds;
}

/** The relative time of the faster WebGPU peer; undefined if none was timed. */
export function ratioToBetter(row: Row): number | undefined {
  const ratios = row.measured.filter(({ library, milliseconds }) =>
    onWebGpu(library) && milliseconds.length > 0
  ).map((peer) => ratioTo(row, peer));
  return ratios.length > 0 ? Math.min(...ratios) : undefined;
}

function ratioText(ratio: number | undefined): string {
  return ratio === undefined ? "–" : `${ratio.toFixed(ratio < 1 ? 2 : 1)}×`;
}

/** Three significant digits, or all digits of a larger whole number. */
export const msText = (milliseconds: number) =>
  milliseconds < 1000 ? milliseconds.toPrecision(3) : milliseconds.toFixed(0);

/** A peer's median and ratio, or the reason why there is none. */
function peerText(row: Row, peer: string): string {
  const found = ofLibrary(row, peer);
  if (!found) return "–";
  return found.cannot ?? `${msText(median(found.milliseconds))} (${ratioText(ratioTo(row, found))})`;
}

function groupTable(rows: readonly Row[], roofline: Roofline | undefined): string {
  const peers = [...new Set(rows.flatMap(({ measured }) => measured.map(({ library }) => library)))]
    .filter((library) => library !== own)
    .toSorted((a, b) => Number(onWebGpu(b)) - Number(onWebGpu(a)));
  const header = [
    "work",
    "ms",
    "GFLOP/s",
    ...roofline ? ["of the roofline"] : [],
    ...peers.some(onWebGpu) ? ["÷ the better WebGPU peer"] : [],
    ...peers.map((peer) => `${headOf(peer)}, ms (÷)`),
  ];
  const body = rows.map((row) => {
    const { milliseconds } = ofLibrary(row, own)!;
    const middle = median(milliseconds);
    const spread = `${msText(Math.min(...milliseconds))}–${msText(Math.max(...milliseconds))}`;
    return [
      row.name,
      `${msText(middle)} (${spread})`,
      (row.flops / middle / 1e6).toPrecision(3),
      ...roofline ? [`${(100 * shareOf(row, middle, roofline)).toFixed(0)} %`] : [],
      ...peers.some(onWebGpu) ? [ratioText(ratioToBetter(row))] : [],
      ...peers.map((peer) => peerText(row, peer)),
    ];
  });
  return table(header, body);
}

/** The page of all rows that were run. */
export function markdownOf({ rows, about, environment }: BenchRecord): string {
  const roofline = rooflineOf(rows);
  const titles = new Map(rows.map(({ group, title }) => [group, title]));
  const sections = [...titles].map(([name, title]) =>
    `## ${title}\n\n${groupTable(rows.filter(({ group }) => group === name), roofline)}`
  );
  return `# Speed

\`deno task bench\`: f32, one adapter, the libraries in turn on each piece of work. Their results were compared first.
Milliseconds a run: median (fastest–slowest) of the laps; ÷ is how many times as long a peer takes, the median over laps of
the ratio within a lap. A peer that runs on the CPU says so, and does not count for the better WebGPU peer. GFLOP/s by count, two FLOPs a multiply-add.${
    roofline
      ? ` Roofline: ${roofline.gflops.toFixed(1)} GFLOP/s, the best product here, and ${
        roofline.gigabytes.toFixed(1)
      } GB/s, adding two arrays.`
      : ""
  }

${
    about === undefined ? "" : `${about}

`
  }${originText(environment)}

![how many times as long the peers take](bench.svg)

${sections.join("\n\n")}
`;
}

/** A chart of all ratios to peers on WebGPU. */
function chartOf(rows: readonly Row[]): Promise<string> {
  return ratioChart(
    "How many times as long the peers on WebGPU take",
    rows.flatMap((row) =>
      row.measured.filter(({ library, milliseconds }) => onWebGpu(library) && milliseconds.length > 0).map((
        peer,
      ) => ({
        row: row.name,
        series: peer.library,
        ratio: ratioTo(row, peer),
      }))
    ),
  );
}

export const benchPage = definePage("bench", benchSchema, async (record) => ({
  ".md": markdownOf(record),
  ".svg": await chartOf(record.rows),
}));
