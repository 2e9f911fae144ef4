/**
 * The page of a training step at RoBERTa's size, results/roberta-base.{md,json}.
 *
 *     deno run -A tests/support/roberta_page.ts [--out DIR] [--checkpoints DIR]
 *
 * runs `roberta_base.ts` in processes of their own, so that each one's memory is its work's alone. Checkpoints (0.8 GB) are
 * kept where `--checkpoints` names a folder, else in a temporary one.
 */

import { parseArgs } from "node:util";
import { isFile, writeTogether } from "../../lib/files.ts";
import { originText, table } from "../../lib/report/markdown.ts";
import type { Environment } from "../../lib/report/schema.ts";

/** What `roberta_base.ts` prints. */
export interface RobertaFigures {
  readonly environment: Environment;
  /** Of the model's weights, f32. */
  readonly weightBytes: number;
  readonly largestTensorBytes: number;
  readonly uploadSeconds: number;
  readonly compileSeconds: number;
  /** One entry a step, and so with the losses. */
  readonly stepSeconds: readonly number[];
  readonly losses: readonly number[];
  /** CPU time over wall time during the steps: how many CPUs the process was given. */
  readonly cpusHad: number;
  readonly gpuPeakBytes: number;
  /** The process's memory, the last two without the GPU's buffers: a software driver's lie in the process. */
  readonly hostBytes: {
    readonly before: number;
    readonly afterReadingHeaders: number;
    readonly peakWhileUploading: number;
    readonly peakInAll: number;
  };
  readonly agreement: {
    readonly tensors: number;
    readonly largestRelativeError: number;
    /** The tensor it is of. */
    readonly of: string;
  };
}

/** A size, and its figures. */
interface Sized extends RobertaFigures {
  readonly size: string;
  /** Of the machine, in the minute before the run: what others were doing. */
  readonly loadBefore: number;
}

const titles = { base: "RoBERTa-base", "large-2": "RoBERTa-large, 2 layers" };

/** `roberta_base.ts` with these arguments; what it printed. Throws an Error when it fails. */
async function run(...args: string[]): Promise<string> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", new URL("roberta_base.ts", import.meta.url).pathname, ...args],
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) throw new Error(`roberta_base.ts ${args.join(" ")} failed: ${text}`);
  return text;
}

async function figuresOf(size: string, folder: string): Promise<Sized> {
  const [loadBefore] = Deno.loadavg();
  if (!await isFile(`${folder}/model.safetensors`)) await run(folder, size);
  const figures: RobertaFigures = JSON.parse(await run(folder, size));
  return { size, loadBefore: Number(loadBefore.toFixed(1)), ...figures };
}

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

/** The page, from the records alone. */
export function pageOf(measured: readonly Sized[]): string {
  const { environment } = measured[0];
  const header = ["", ...measured.map(({ size }) => titles[size as keyof typeof titles])];
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

async function main(): Promise<void> {
  const { values: { out, checkpoints } } = parseArgs({
    options: { out: { type: "string", default: "results" }, checkpoints: { type: "string" } },
  });
  const folder = checkpoints ?? await Deno.makeTempDir();
  const measured: Sized[] = [];
  for (const size of Object.keys(titles)) measured.push(await figuresOf(size, `${folder}/${size}`));
  if (!checkpoints) await Deno.remove(folder, { recursive: true });
  await Deno.mkdir(out, { recursive: true });
  await writeTogether({
    [`${out}/roberta-base.json`]: `${JSON.stringify({ schemaVersion: 1, measured }, null, 1)}\n`,
    [`${out}/roberta-base.md`]: pageOf(measured),
  });
}

if (import.meta.main) await main();
