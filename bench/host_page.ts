/** The measurements of `deno task host`, and their page. */

import * as v from "npm:valibot@1.5.0";
import { originText, table } from "../lib/report/markdown.ts";
import { definePage } from "../lib/report/page.ts";
import { environmentSchema } from "../lib/report/schema.ts";
import { median } from "../lib/report/statistics.ts";

const finite = v.pipe(v.number(), v.finite());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const laps = v.pipe(v.array(finite), v.minLength(1));

/** Building the program of a full-width step; milliseconds. */
const buildSchema = v.object({
  trace: finite,
  differentiate: finite,
  planning: finite,
  /** The whole build, including pipelines and bind groups. */
  total: finite,
  /** Dispatches of the graph, without AdamW's. */
  dispatches: count,
  pipelines: count,
});

/** Replaying a narrow program; milliseconds, one entry per step. */
const replaySchema = v.object({
  dispatches: count,
  /**
   * From the end of one step's wait for the GPU to the end of the next step: all of the trainer's work except
   * that wait.
   */
  step: laps,
  /**
   * The part of it spent in the driver's layer: the queue's `writeBuffer`, the encoder's `finish`, the
   * queue's `submit`.
   */
  upload: laps,
  finish: laps,
  submit: laps,
  /** Growth of V8's heap over the steps in bytes, after garbage collection. */
  heapGrowth: finite,
});

const figuresSchema = v.object({ label: v.string(), build: buildSchema, replay: replaySchema });

const hostSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  /** The width of the replayed program. */
  narrow: count,
  figures: v.pipe(v.array(figuresSchema), v.minLength(1)),
});

export type BuildFigures = v.InferOutput<typeof buildSchema>;
export type ReplayFigures = v.InferOutput<typeof replaySchema>;
/** The measurements of one adapter. */
export type HostFigures = v.InferOutput<typeof figuresSchema>;
/** A run of `deno task host`. */
export type HostRecord = v.InferOutput<typeof hostSchema>;

/** The goals: milliseconds of JavaScript per step, and seconds per build. */
const [scriptGoal, buildGoal] = [1, 3];

/** The 95th percentile. */
const nearlyMost = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(0.95 * (values.length - 1))];

/** Milliseconds per step outside of those three: JavaScript itself and its calls that record the dispatches. */
function ownTime({ step, upload, finish, submit }: ReplayFigures): number[] {
  return step.map((time, i) => time - upload[i] - finish[i] - submit[i]);
}

const spread = (values: readonly number[]) =>
  `${median(values).toFixed(2)} (${nearlyMost(values).toFixed(2)})`;

function stepTable({ figures, narrow }: HostRecord): string {
  const header = [
    "adapter",
    "dispatches",
    "ms a step",
    `JavaScript (goal: < ${scriptGoal})`,
    "uploads",
    "finish",
    "submit",
    "heap growth",
  ];
  const rows = figures.map(({ label, build, replay }) => [
    label,
    build.dispatches === replay.dispatches
      ? `${build.dispatches}`
      : `${replay.dispatches} (${build.dispatches} at full width)`,
    spread(replay.step),
    spread(ownTime(replay)),
    spread(replay.upload),
    spread(replay.finish),
    spread(replay.submit),
    `${(replay.heapGrowth / 1024).toFixed(0)} KiB`,
  ]);
  const { step } = figures[0].replay;
  return `The trainer's step, 12 layers, ${narrow} wide. Median (95th percentile) of ${step.length} steps, milliseconds. JavaScript:
putting the batch together and recording the dispatches. The rest is spent in WebGPU's own calls: \`writeBuffer\`, the encoder's
\`finish\`, which checks what was recorded, and \`submit\`. The GPU is waited for between the steps, which does not count; a
software driver's threads take the processors from a step as soon as it is submitted. Dispatches without AdamW's three. Heap
growth: of V8's heap in use after those steps over before, garbage collected.

${table(header, rows)}`;
}

function buildTable({ figures }: HostRecord): string {
  const header = [
    "adapter",
    `s (goal: < ${buildGoal})`,
    "trace, ms",
    "gradients, ms",
    "plan, ms",
    "pipelines",
  ];
  const rows = figures.map(({ label, build }) => [
    label,
    (build.total / 1000).toFixed(2),
    ...[build.trace, build.differentiate, build.planning].map((time) => time.toFixed(0)),
    `${build.pipelines}`,
  ]);
  return `The program of a step at full width, on a new device; what is not tracing, gradients and plan is pipelines and bind
groups. The driver may have kept compiled shaders from an earlier run.

${table(header, rows)}`;
}

/** Renders the record as a page. */
export function hostPageOf(record: HostRecord): string {
  return `# The host's side

\`deno task host\`: a training step on 12 layers of RoBERTa-base's shape, 8 texts of 64 tokens, as JavaScript sees it.

${originText(record.environment)}

## A step

${stepTable(record)}

## Building

${buildTable(record)}
`;
}

export const hostPage = definePage("host", hostSchema, (record) => ({ ".md": hostPageOf(record) }));
