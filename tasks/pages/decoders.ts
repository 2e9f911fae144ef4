/** Large decoders with made weights: the record of `deno task decoders`, and its page. */

import * as v from "npm:valibot@1.5.0";
import { readJson } from "../../lib/files.ts";
import { originText, table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";
import { environmentSchema } from "../../lib/report/schema.ts";
import { gibibytes } from "../../lib/show.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const seconds = v.pipe(v.number(), v.finite(), v.minValue(0));

const runSchema = v.object({
  /** Hub id of the shape. */
  model: v.string(),
  layers: count,
  allLayers: count,
  vocabulary: count,
  packing: v.string(),
  tokens: count,
  newTokens: count,
  environment: environmentSchema,
  /** Bytes of the machine's memory that were free before. */
  freeBytes: v.optional(count),
  /** What was measured; see `DecoderRun`. */
  measured: v.object({
    parameters: count,
    trainable: count,
    weightBytes: count,
    uploadSeconds: seconds,
    buildSeconds: seconds,
    stepSeconds: seconds,
    stepCpuSeconds: seconds,
    loss: v.number(),
    stepPeakBytes: count,
    firstTokenSeconds: seconds,
    tokenSeconds: seconds,
    tokenCpuSeconds: seconds,
    writePeakBytes: count,
    hostPeakBytes: count,
  }),
  /** Of the shape with all its layers, by a dry run. */
  whole: v.object({ parameters: count, weightBytes: count, stepPeakBytes: count }),
});

const decodersSchema = v.object({ schemaVersion: v.literal(1), runs: v.array(runSchema) });

/** One model's run. */
export type DecoderRunRecord = v.InferOutput<typeof runSchema>;

const billions = (parameters: number) => `${(parameters / 1e9).toFixed(2)} G`;
const oneDecimal = (value: number) => value.toFixed(1);

/** The first run's count, and that of each run with another: the record keeps runs that were asked for otherwise. */
function countsText(runs: readonly DecoderRunRecord[], name: "tokens" | "newTokens"): string {
  const [{ [name]: first }] = runs;
  const others = runs.filter((run) => run[name] !== first)
    .map((run) => `${run.model}, ${run.layers} of ${run.allLayers} layers: ${run[name]}`);
  return others.length === 0 ? `${first}` : `${first} (${others.join("; ")})`;
}

function markdownOf({ runs }: v.InferOutput<typeof decodersSchema>): string {
  const measured = runs.map(({ model, layers, allLayers, vocabulary, packing, measured: own }) => [
    model,
    `${layers} of ${allLayers}`,
    billions(own.parameters),
    packing,
    gibibytes(own.weightBytes),
    oneDecimal(own.uploadSeconds),
    oneDecimal(own.buildSeconds),
    oneDecimal(own.stepSeconds),
    oneDecimal(own.stepCpuSeconds),
    `${own.loss.toFixed(2)} (${Math.log(vocabulary).toFixed(2)})`,
    gibibytes(own.stepPeakBytes),
    oneDecimal(own.firstTokenSeconds),
    own.tokenSeconds.toFixed(2),
    own.tokenCpuSeconds.toFixed(2),
    gibibytes(own.writePeakBytes),
    gibibytes(own.hostPeakBytes),
  ]);
  const header = [
    "shape",
    "layers",
    "parameters",
    "packing",
    "weights, GiB",
    "upload, s",
    "build, s",
    "step, s",
    "its CPU s",
    "loss (ln V)",
    "step's peak, GiB",
    "first token, s",
    "next tokens, s each",
    "their CPU s",
    "writing's peak, GiB",
    "host's peak, GiB",
  ];
  const whole = runs.map(({ model, allLayers, whole: own }) => [
    model,
    `${allLayers}`,
    billions(own.parameters),
    gibibytes(own.weightBytes),
    gibibytes(own.stepPeakBytes),
  ]);
  const machines = runs.map(({ model, environment, freeBytes }) =>
    `${model}: ${originText(environment)}${
      freeBytes === undefined ? "" : ` ${gibibytes(freeBytes)} GiB of memory were free.`
    }`
  );
  const [tokens, newTokens] = (["tokens", "newTokens"] as const).map((name) => countsText(runs, name));
  return `# Large decoders

\`deno task decoders\`: shapes of published models, their weights made from a seed on the way to the GPU (no weights are published
with this library; tables have 8 bits). One training step of BoRA on q, k and v, on a text of ${tokens} tokens, all of which are learnt,
with layers recomputed in the backward pass; then ${newTokens} tokens written after a prompt. The loss is that before the step: weights that
know nothing lose a little more than ln V; and more again where the head is the table of embeddings, because a token's hidden row
resembles its own row there. Peaks are of GPU buffers; on a software driver the
host's peak, which is the process's whole memory, has them in it, and CPU seconds, which are the process's on all cores, are what the
work takes whatever else the machine does. Building is the compilation of the step's program; the first token
has that of the writer's in it.

${table(header, measured)}

The same step of all layers, by a dry run of the trainer:

${table(["shape", "layers", "parameters", "weights, GiB", "step's peak, GiB"], whole)}

${machines.join("\n\n")}
`;
}

export const decodersPage = definePage(
  "decoders",
  decodersSchema,
  (record) => ({ ".md": markdownOf(record) }),
);

/** Reads the runs of a record. */
export async function readRuns(path: string): Promise<readonly DecoderRunRecord[]> {
  return (await readJson(path, decodersSchema)).runs;
}
