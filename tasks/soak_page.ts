/** Judges whether a soak's figures stay flat, and renders its page. */

import * as v from "npm:valibot@1.5.0";
import { curveChart } from "../lib/report/chart.ts";
import { originText, table } from "../lib/report/markdown.ts";
import { definePage } from "../lib/report/page.ts";
import { environmentSchema } from "../lib/report/schema.ts";
import { recordOf } from "../lib/record_schema.ts";
import { slope } from "../lib/report/statistics.ts";
import type { Sample } from "./soak_run.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const seconds = v.pipe(v.number(), v.finite(), v.minValue(0));

const soakSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  plan: v.object({ batchSizes: v.pipe(v.array(count), v.readonly()), stepsATurn: count, turnsEach: count }),
  samples: v.pipe(
    v.array(v.object({
      step: count,
      seconds,
      residentBytes: count,
      heapBytes: count,
      externalBytes: count,
      gpuBytes: count,
      buffers: count,
      pipelines: count,
      openFiles: count,
      threads: count,
    })),
    v.minLength(2),
    v.readonly(),
  ),
  stepsOfLength: recordOf(count),
});

/** A run of `deno task soak`. */
export type SoakRecord = v.InferOutput<typeof soakSchema>;

/** One of the figures, and its allowed growth per 1,000 steps. */
interface Measure {
  readonly name: string;
  readonly of: (sample: Sample) => number;
  readonly bound: number;
  readonly bytes: boolean;
}

const mib = 2 ** 20;

/**
 * Counts may not grow by one in 1,000 steps. Memory is noisier, because other parts of the process allocate
 * too.
 */
const measures: readonly Measure[] = [
  { name: "resident memory", of: ({ residentBytes }) => residentBytes, bound: 4 * mib, bytes: true },
  { name: "V8 heap in use", of: ({ heapBytes }) => heapBytes, bound: 4 * mib, bytes: true },
  { name: "outside V8's heap", of: ({ externalBytes }) => externalBytes, bound: 4 * mib, bytes: true },
  { name: "GPU buffers, bytes", of: ({ gpuBytes }) => gpuBytes, bound: 1, bytes: true },
  { name: "GPU buffers", of: ({ buffers }) => buffers, bound: 1, bytes: false },
  { name: "pipelines", of: ({ pipelines }) => pipelines, bound: 1, bytes: false },
  { name: "open files", of: ({ openFiles }) => openFiles, bound: 1, bytes: false },
  { name: "threads", of: ({ threads }) => threads, bound: 1, bytes: false },
];

/** The result for one figure after the warm-up. */
export interface Verdict {
  readonly measure: Measure;
  readonly first: number;
  readonly last: number;
  readonly most: number;
  /** Growth per 1,000 steps, by least squares. */
  readonly growth: number;
  readonly flat: boolean;
}

/** The first quarter of the steps is warm-up. */
function afterWarmUp(samples: readonly Sample[]): Sample[] {
  return samples.filter(({ step }) => step > samples.at(-1)!.step / 4);
}

/** A figure is flat when it grows by less than its bound in 1,000 steps after the warm-up. */
export function verdictsOn(samples: readonly Sample[]): Verdict[] {
  const kept = afterWarmUp(samples);
  return measures.map((measure) => {
    const values = kept.map(measure.of);
    const growth = 1000 * slope(kept.map(({ step }) => step), values);
    return {
      measure,
      first: values[0],
      last: values.at(-1)!,
      most: Math.max(...values),
      growth,
      flat: growth < measure.bound,
    };
  });
}

function amount({ bytes }: Measure, value: number, digits = 1): string {
  return bytes ? `${(value / mib).toFixed(digits)} MiB` : value.toFixed(value % 1 === 0 ? 0 : 2);
}

function markdownOf({ samples, stepsOfLength, plan, environment }: SoakRecord): string {
  const { batchSizes, stepsATurn } = plan;
  const { step, seconds } = samples.at(-1)!;
  const rows = verdictsOn(samples).map(({ measure, first, last, most, growth, flat }) => [
    measure.name,
    ...[first, last, most].map((value) => amount(measure, value)),
    amount(measure, growth, 3),
    measure.bound === 1 ? "< 1" : `< ${amount(measure, measure.bound, 0)}`,
    flat ? "flat" : "grows",
  ]);
  const lengths = Object.entries(stepsOfLength).map(([length, count]) => `${length} (${count})`);
  return `# A long run

\`deno task soak\`: ${
    step.toLocaleString("en-US")
  } training steps of BoRA (r = 8, b = 16, q and v) on USE-lite, on sentences of the task
sentiment. Trainers of batch size ${
    batchSizes.join(", ")
  } live all through and take turns of ${stepsATurn} steps; after each turn a checkpoint is
written, a run of its own goes on from it and predicts to the same bits, and is freed; then the process is looked at.
Padded lengths of the batches, and steps of each: ${lengths.join(", ")}.

${originText(environment)} ${Math.round(seconds)} s.

The first quarter of the steps is warm-up and left out. Growth is the slope of a line fitted by least squares to the rest, in
1,000 steps; a figure is flat when that is below its bound. On a software driver the GPU's buffers are part of resident memory. V8's figures are those after a collection of
its garbage, which follows each look at resident memory.

${table(["", "first", "last", "most", "growth in 1,000 steps", "bound", "verdict"], rows)}

![Memory over the steps](soak.svg)
`;
}

/** Memory over all steps, including the warm-up. */
function chartOf(samples: readonly Sample[]): Promise<string> {
  const points = measures.slice(0, 4).flatMap(({ name, of }) =>
    samples.map((sample) => ({ x: sample.step, y: of(sample) / mib, series: name }))
  );
  return curveChart(
    "Memory over training steps",
    { x: "steps", y: "MiB", series: "", linearX: true },
    points,
  );
}

export const soakPage = definePage("soak", soakSchema, async (record) => ({
  ".md": markdownOf(record),
  ".svg": await chartOf(record.samples),
}));
