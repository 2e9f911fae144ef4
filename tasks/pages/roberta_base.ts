/** A training step at RoBERTa's size: the record of `tests/support/roberta_page.ts`, and its page. */

import * as v from "npm:valibot@1.5.0";
import { originText, table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";
import { environmentSchema } from "../../lib/report/schema.ts";

const finite = v.pipe(v.number(), v.finite());

const figures = {
  environment: environmentSchema,
  /** Size of the model's weights in f32. */
  weightBytes: finite,
  largestTensorBytes: finite,
  uploadSeconds: finite,
  compileSeconds: finite,
  /** One entry per step; `losses` likewise. */
  stepSeconds: v.array(finite),
  losses: v.array(finite),
  /** CPU time divided by wall time during the steps: the number of CPUs that the process really got. */
  cpusHad: finite,
  gpuPeakBytes: finite,
  /**
   * The process's memory. The last two are without GPU buffers, which a software driver keeps in the process.
   */
  hostBytes: v.object({
    before: finite,
    afterReadingHeaders: finite,
    peakWhileUploading: finite,
    peakInAll: finite,
  }),
  agreement: v.object({
    tensors: finite,
    largestRelativeError: finite,
    /** The tensor with that error. */
    of: v.string(),
  }),
};

/** What `tests/support/roberta_base.ts` prints. */
export const figuresSchema = v.object(figures);

const sizedSchema = v.object({
  size: v.picklist(["base", "large-2"]),
  /** The machine's load in the minute before the run: what else was running. */
  loadBefore: finite,
  ...figures,
});

const robertaSchema = v.object({
  schemaVersion: v.literal(1),
  measured: v.pipe(v.array(sizedSchema), v.minLength(1)),
});

export type RobertaFigures = v.InferOutput<typeof figuresSchema>;
/** A size and its measurements. */
export type Sized = v.InferOutput<typeof sizedSchema>;

export const titles = { base: "RoBERTa-base", "large-2": "RoBERTa-large, 2 layers" };

const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

function cpuSecondsAStep({ stepSeconds, cpusHad }: Sized): number {
  return cpusHad * stepSeconds.reduce((sum, seconds) => sum + seconds, 0) / stepSeconds.length;
}

const rows: readonly (readonly [string, (own: Sized) => string])[] = [
  ["weights, f32", ({ weightBytes }) => mib(weightBytes)],
  ["largest tensor", ({ largestTensorBytes }) => mib(largestTensorBytes)],
  ["from disk to the GPU", ({ uploadSeconds }) => `${uploadSeconds} s`],
  ["building the program", ({ compileSeconds }) => `${compileSeconds} s`],
  ["steps", ({ stepSeconds }) => `${stepSeconds.join(", ")} s`],
  ["their losses", ({ losses }) => losses.map((loss) => loss.toFixed(4)).join(", ")],
  ["GPU buffers, at most", ({ gpuPeakBytes }) => mib(gpuPeakBytes)],
  ["host, before loading", ({ hostBytes }) => mib(hostBytes.before)],
  ["host, at most until the weights are on the GPU", ({ hostBytes }) => mib(hostBytes.peakWhileUploading)],
  ["host, at most in all", ({ hostBytes }) => mib(hostBytes.peakInAll)],
  [
    "largest relative error against PyTorch",
    ({ agreement }) => agreement.largestRelativeError.toExponential(1),
  ],
  ["of so many tensors", ({ agreement }) => String(agreement.tensors)],
  ["CPUs that the process was given during the steps", ({ cpusHad }) => cpusHad.toFixed(2)],
  ["CPU time a step, all CPUs together", (own) => `${cpuSecondsAStep(own).toFixed(0)} s`],
  ["load average just before", ({ loadBefore }) => loadBefore.toFixed(1)],
];

function markdownOf(measured: readonly Sized[]): string {
  const { environment } = measured[0];
  const header = ["", ...measured.map(({ size }) => titles[size])];
  return `# A training step at RoBERTa's size

\`deno run -A tests/support/roberta_page.ts\`: a seeded random checkpoint in the layout that transformers writes, loaded by \`loadEncoder\`;
LoRA, r = 8 on q and v, a batch of 8 texts of 128 tokens, AdamW. Each size in a process of its own.

${originText(environment)} A software driver computes on the CPUs, so
the steps are as slow as the CPUs that the process was given: others used the machine where these are fewer than ${environment.cpus}.

Host is the process's resident memory. GPU buffers, which a software driver keeps in the same process, are subtracted from the two
maxima. PyTorch is \`tests/fixtures/bert_reference.py\` (plain torch, float64): logits, loss and every gradient of one step, for
RoBERTa-large's layers over a vocabulary of 300.

${table(header, rows.map(([name, of]) => [name, ...measured.map(of)]))}
`;
}

export const robertaPage = definePage("roberta-base", robertaSchema, ({ measured }) => ({
  ".md": markdownOf(measured),
}));
