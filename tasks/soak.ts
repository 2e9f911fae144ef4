/**
 * `deno task soak`: trains for thousands of steps on batches of changing sizes and lengths and records the
 * process's memory and handles. Writes results/soak.{md,json,svg}; exits with 1 if memory or handles grow.
 * Linux only: it reads /proc.
 */

import { parseArgs } from "node:util";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { sentiment } from "../lib/data/sentiment.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { encodeExamples } from "../lib/train/fine_tune.ts";
import { outputFolder } from "./output.ts";
import { soakPage, verdictsOn } from "./soak_page.ts";
import { soak } from "./soak_run.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const [batchSizes, stepsATurn] = [[4, 3, 2, 1], 25];
const round = batchSizes.length * stepsATurn;

const help = `deno task soak [options]

Trains BoRA on the embedded encoder and reports memory and handles over the steps. 2,000 steps take about 5 minutes on 2 cores.

  --steps N   a multiple of ${round}, at least ${4 * round} (default: 2000)
  --out DIR   where to write soak.md, soak.json and soak.svg (default: results)
  --help      this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      steps: { type: "string", default: "2000" },
      out: { type: "string", default: "results" },
      help: { type: "boolean", default: false },
    },
  });
  const steps = Number(values.steps);
  if (!/^\d+$/.test(values.steps) || steps < 4 * round || steps % round !== 0) {
    throw new UsageError(
      `--steps wants a multiple of ${round} of at least ${4 * round}, not "${values.steps}"`,
    );
  }
  return { ...values, steps };
}

async function main(): Promise<void> {
  const { steps, out, help: wanted } = asUsage(readArguments);
  if (wanted) return console.log(help);
  const folder = await outputFolder(out);
  const gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  const model = await loadUseLite();
  const { train } = await sentiment.load();
  const soaked = {
    model,
    adapter: attach(model, bora, { r: 8, blocks: 16, target: ["query", "value"], dropout: 0.05 }),
    objective: objectiveOf(model, sentiment, train[0]),
    examples: encodeExamples(model, sentiment, train),
  };
  const plan = { batchSizes, stepsATurn, turnsEach: steps / round };
  const result = await soak(gpu, soaked, plan, ({ step, seconds, residentBytes, gpuBytes }) => {
    const [resident, buffers] = [residentBytes, gpuBytes].map((bytes) => (bytes / 2 ** 20).toFixed(1));
    console.log(
      `step ${step}, ${seconds.toFixed(0)} s: ${resident} MiB resident, ${buffers} MiB of GPU buffers`,
    );
  });
  await soakPage.write(folder, { schemaVersion: 1, environment, plan, ...result });
  const growing = verdictsOn(result.samples).filter(({ flat }) => !flat).map(({ measure }) => measure.name);
  if (growing.length > 0) throw new Error(`these grow: ${growing.join(", ")}; see ${folder}/soak.md`);
}

await runCommand(main);
