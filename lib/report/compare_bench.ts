/**
 * Compares speed: runs of `deno task bench` before and after a change. The quantity compared is the logarithm
 * of this library's time, divided by the yardstick's time if both sides have one. One run is one sample, and
 * runs made in alternation are paired. With fewer than three runs per side, the spread between runs of the
 * same code is unknown: on a busy machine it can be a factor of two, which no single run's laps show. Then
 * the laps are the samples, and there is a verdict only if the caller sets a threshold.
 */

import type { BenchRecord } from "./bench_schema.ts";
import { type ComparedRow, type Comparison, lackedBy, onlyInHead } from "./compare.ts";
import { judge } from "./judge.ts";
import { signed, significant } from "../show.ts";
import { type Estimate, halfWidthOf, median, pairedEstimate, welchEstimate } from "./statistics.ts";

/** Default threshold: the least change of a time, in per cent. */
export const defaultPercent = 10;

/** With at least this many runs of the bench on each side, a run is a sample. */
export const leastRuns = 3;

const fewRuns =
  `No verdict: with fewer than ${leastRuns} runs on a side, how much runs of the same code differ is not known. Compare folders of ` +
  `runs made in turn, or name what you trust a single run to show with --threshold.`;

/** The library whose times are compared. The peers are the same on both sides. */
const own = "this library";

type Row = BenchRecord["rows"][number];

/** One work's laps, one entry per run of the bench. */
interface Laps {
  readonly milliseconds: readonly (readonly number[])[];
  readonly yardsticks: readonly (readonly number[] | undefined)[];
  readonly runs: readonly (number | undefined)[];
}

/** One work on both sides. */
interface Pair {
  readonly name: string;
  readonly base: Laps;
  readonly head: Laps;
}

/** Whether the runs are of several adapters: one's times are no samples of another's. */
function areOfSeveral(records: readonly BenchRecord[]): boolean {
  return new Set(records.map(({ environment: { adapter } }) => adapter)).size > 1;
}

/** The laps of every work, or of every work on each adapter, by name. */
function lapsOf(records: readonly BenchRecord[], byAdapter: boolean): Map<string, Laps> {
  const laps = (row: Row) => row.measured.find(({ library }) => library === own)?.milliseconds ?? [];
  const timed = records.flatMap(({ environment: { adapter }, rows }) => {
    const place = byAdapter ? `${adapter}, ` : "";
    return rows.filter((row) => laps(row).length > 0).map((row) => ({
      work: `${place}${row.group}: ${row.name}`,
      row,
    }));
  });
  return new Map(
    [...Map.groupBy(timed, ({ work }) => work)].map(([work, found]) => [work, {
      milliseconds: found.map(({ row }) => laps(row)),
      yardsticks: found.map(({ row: { yardstick } }) => yardstick),
      runs: found.map(({ row: { runs } }) => runs),
    }]),
  );
}

/**
 * Compares the times of all works that both sides have, on each adapter where a side has runs on several.
 * @throws Error when there is none.
 */
export function compareBenches(
  base: readonly BenchRecord[],
  head: readonly BenchRecord[],
  threshold?: number,
): Comparison {
  const byAdapter = areOfSeveral(base) || areOfSeveral(head);
  const [before, after] = [lapsOf(base, byAdapter), lapsOf(head, byAdapter)];
  const names = [...before.keys()].filter((name) => after.has(name));
  if (names.length === 0) throw new Error("no work of one bench is in the other");
  const pairs = names.map((name): Pair => ({ name, base: before.get(name)!, head: after.get(name)! }));
  const percent = threshold ?? defaultPercent;
  const tells = (pair: Pair) => hasEnoughRuns(pair) || threshold !== undefined;
  const estimates = pairs.map(estimateOf);
  const judged = judge(
    estimates.map((estimate, i) => ({ estimate: tells(pairs[i]) ? estimate : undefined })),
    Math.log1p(percent / 100),
    -1,
  );
  return {
    title: "Speed",
    method:
      `Milliseconds a run, median of all laps. The change is that of the time${yardsticksText(pairs)}; ` +
      `its 95 % interval is Student's t on the logarithms, ${samplesText(pairs)}. Threshold: ${percent} %.`,
    environments: {
      base: base.map(({ environment }) => environment),
      head: head.map(({ environment }) => environment),
    },
    rows: pairs.map((pair, i) => ({ ...rowOf(pair, estimates[i]), ...judged[i] })),
    missing: lackedBy(after.keys(), before.keys()),
    notes: [
      ...pairs.every(tells) ? [] : [fewRuns],
      ...otherLaps(pairs),
      ...onlyInHead(lackedBy(before.keys(), after.keys())),
    ],
  };
}

/**
 * Whether there are enough runs of this work to use runs as samples. Runs in the folder that do not include
 * the work are not counted.
 */
function hasEnoughRuns({ base, head }: Pair): boolean {
  return Math.min(base.milliseconds.length, head.milliseconds.length) >= leastRuns;
}

function hasYardsticks({ base, head }: Pair): boolean {
  return [...base.yardsticks, ...head.yardsticks].every((yardstick) => yardstick !== undefined);
}

/** What the times of these works are divided by. */
function yardsticksText(pairs: readonly Pair[]): string {
  const having = pairs.filter(hasYardsticks).length;
  if (having === 0) return "";
  return ` over the yardstick's beside it${having < pairs.length ? " where both sides have one" : ""}`;
}

/** Over what the intervals of these works are. */
function samplesText(pairs: readonly Pair[]): string {
  const ofRuns = pairs.filter(hasEnoughRuns);
  if (ofRuns.length === 0) return "over the laps";
  const counts = pairs.map(({ base, head }) => [base.milliseconds.length, head.milliseconds.length] as const);
  if (new Set(counts.map(String)).size === 1) {
    const [[own, other]] = counts;
    return `over the ${own} and ${other} runs${own === other ? ", paired" : ""}`;
  }
  const ofLaps = ofRuns.length < pairs.length
    ? `, and over the laps of a work with fewer than ${leastRuns} on a side`
    : "";
  return `over a work's runs, paired where both sides have as many${ofLaps}`;
}

/** Logarithms of the laps, run by run; of the times divided by the yardstick's if both sides have one. */
function logarithms({ milliseconds, yardsticks }: Laps, relative: boolean): number[][] {
  return milliseconds.map((times, run) =>
    times.map((time, lap) => Math.log(relative ? time / yardsticks[run]![lap] : time))
  );
}

function estimateOf(pair: Pair): Estimate | undefined {
  const [before, after] = [pair.base, pair.head].map((laps) => logarithms(laps, hasYardsticks(pair)));
  if (!hasEnoughRuns(pair)) {
    const [a, b] = [before.flat(), after.flat()];
    return Math.min(a.length, b.length) < 2 ? undefined : welchEstimate(b, a);
  }
  const [a, b] = [before, after].map((runs) => runs.map(median));
  return a.length === b.length ? pairedEstimate(b.map((value, i) => value - a[i])) : welchEstimate(b, a);
}

/**
 * Notes works whose laps have different numbers of runs. A lap waits for the GPU once, so a lap of more runs
 * has a shorter time per run, and the two cannot be compared.
 */
function otherLaps(
  pairs: readonly Pair[],
): string[] {
  const other = pairs.filter(({ base, head }) => new Set([...base.runs, ...head.runs]).size > 1);
  if (other.length === 0) return [];
  return [
    `Laps of another number of runs: ${
      other.map(({ name }) => name).join("; ")
    }. Run HEAD with --like BASE's bench.json.`,
  ];
}

const percentText = (logarithm: number) => signed(100 * Math.expm1(logarithm), 1);

function rowOf(
  { name, base, head }: Pair,
  estimate: Estimate | undefined,
): Omit<ComparedRow, "verdict" | "p"> {
  const [before, after] = [base, head].map(({ milliseconds }) => median(milliseconds.flat()));
  const text = (): string => {
    if (!estimate) return `${percentText(Math.log(after / before))} %`;
    const [low, high] = [-1, 1].map((side) => estimate.mean + side * halfWidthOf(estimate));
    return `${percentText(estimate.mean)} % (${percentText(low)} to ${percentText(high)})`;
  };
  return { name, base: significant(before, 3), head: significant(after, 3), difference: text() };
}
