/**
 * `deno task host`: what a training step costs the host. JavaScript's time a replayed step, how long a program takes to build, how
 * many pipelines it has, and whether replaying leaves garbage. Writes results/host.{md,json}.
 */

import { parseArgs } from "node:util";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { grad } from "../lib/graph/grad.ts";
import { plan } from "../lib/graph/plan.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { median } from "../lib/report/statistics.ts";
import { traceStep } from "../lib/train/step.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { outputFolder } from "../tasks/output.ts";
import { asUsage, runCommand, UsageError } from "../tasks/usage.ts";
import { type BuildFigures, type HostFigures, hostPage, type ReplayFigures } from "./host_page.ts";
import { Stopwatch } from "./stopwatch.ts";
import { examples, head, length, texts, vocabulary } from "./works/batch.ts";
import { type ShapedEncoder, shapedEncoder } from "./works/shaped_encoder.ts";

/** RoBERTa-base's. */
const layers = 12;
/**
 * The width that steps are replayed at: a step of full width takes a software driver ten seconds, and JavaScript makes as many
 * calls for a narrow one.
 */
const narrow = 48;
/** An adapter that is trained on query and value. */
interface System {
  readonly method: string;
  readonly options: object;
}

const systems: Readonly<Record<string, System>> = {
  "LoRA r 8": { method: "LoRA", options: { r: 8, alpha: 16 } },
  "BoRA r 8 b 16": { method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
};

const help = `deno task host [options]

  --steps N   replayed steps, 2 to 1000 (default: 200)
  --out DIR   where to write (default: results)
  --help      this text
`;

/** Bytes of V8's heap in use, garbage collected. Throws where V8 was not asked to lend its collector. */
function heapInUse(): number {
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) {
    throw new Error(
      "no garbage collector at hand: run `deno task host`, or deno with --v8-flags=--expose-gc",
    );
  }
  gc();
  return Deno.memoryUsage().heapUsed;
}

function attached(model: ShapedEncoder, { method, options }: System) {
  return attach(model, methodByName(method), { ...options, target: ["query", "value"] } as AttachOptions);
}

/** Ready for `epochs` times `steps` steps of one batch each. */
function trainerOf(gpu: Gpu, model: ShapedEncoder, system: System, epochs: number, steps: number): Trainer {
  const repeated = Array.from({ length: steps }, () => examples).flat();
  return new Trainer(gpu, model, attached(model, system), head, repeated, {
    learningRate: 1e-3,
    epochs,
    batchSize: texts,
    warmupRatio: 0,
    seed: 0,
  });
}

/** Milliseconds of what a build does before it needs the GPU, and the dispatches of a step without AdamW's. */
function traced({ traits }: Gpu, model: ShapedEncoder, system: System) {
  const adapter = attached(model, system);
  const moments = [performance.now()];
  const { graph, loss, losses, clock } = traceStep(model, adapter, head, { examples: texts, length }, true);
  moments.push(performance.now());
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);
  const gradients = grad(losses, targets);
  moments.push(performance.now());
  const { nodes, inPlace } = plan([loss, ...gradients, clock], { external: new Set(gradients) });
  moments.push(performance.now());
  const [trace, differentiate, planning] = moments.slice(1).map((moment, i) => moment - moments[i]);
  const dispatches = nodes.reduce(
    (sum, node) => sum + node.op!.dispatches(node, inPlace.has(node), traits).length,
    0,
  );
  return { dispatches, trace, differentiate, planning };
}

/** Builds the program of a step, on a device of its own: nothing is compiled yet. */
async function built(model: ShapedEncoder, system: System): Promise<BuildFigures> {
  using gpu = await openGpu();
  const { dispatches, ...parts } = traced(gpu, model, system);
  using trainer = trainerOf(gpu, model, system, 1, 1);
  await gpu.settled();
  const start = performance.now();
  await trainer.prepare([]);
  return { ...parts, total: performance.now() - start, dispatches, pipelines: gpu.pipelines.size };
}

/**
 * Two epochs of `steps` steps, the first to warm up. The wait for the GPU after each step does not count, so that a software
 * driver's threads do not take the processors from JavaScript.
 */
async function replayed(model: ShapedEncoder, system: System, steps: number): Promise<ReplayFigures> {
  using gpu = await openGpu();
  using trainer = trainerOf(gpu, model, system, 2, steps);
  await trainer.prepare([]);
  const { queue } = gpu.device;
  using uploading = new Stopwatch(queue, "writeBuffer");
  using finishing = new Stopwatch(GPUCommandEncoder.prototype, "finish");
  using submitting = new Stopwatch(queue, "submit");
  // Made before the heap is measured.
  const [step, upload, finish, submit] = [0, 1, 2, 3].map(() => new Float64Array(steps));
  const epoch = async () => {
    let [i, start] = [0, performance.now()];
    await trainer.epoch(async () => {
      step[i] = performance.now() - start;
      upload[i] = uploading.take();
      finish[i] = finishing.take();
      submit[i++] = submitting.take();
      await queue.onSubmittedWorkDone();
      start = performance.now();
    });
    // What the epoch's end reads back is no step's.
    [uploading, finishing, submitting].forEach((watch) => watch.take());
  };
  await epoch();
  const before = heapInUse();
  await epoch();
  const heapGrowth = heapInUse() - before;
  const { dispatches } = traced(gpu, model, system);
  // An epoch's first step also puts its batches in order.
  const [a, b, c, d] = [step, upload, finish, submit].map((times) => [...times.subarray(1)]);
  return { dispatches, step: a, upload: b, finish: c, submit: d, heapGrowth };
}

async function measure(label: string, system: System, steps: number): Promise<HostFigures> {
  const build = await built(shapedEncoder(layers, vocabulary, length), system);
  console.error(`${label}: built in ${build.total.toFixed(0)} ms`);
  const replay = await replayed(shapedEncoder(layers, vocabulary, length, narrow), system, steps);
  console.error(`${label}: ${median(replay.step).toFixed(2)} ms a step`);
  return { label, build, replay };
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        steps: { type: "string", default: "200" },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const steps = Number(values.steps);
  if (!Number.isInteger(steps) || steps < 2 || steps > 1000) {
    throw new UsageError(`--steps wants a whole number from 2 to 1000, not "${values.steps}"`);
  }
  const out = await outputFolder(values.out);
  using gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  const figures: HostFigures[] = [];
  for (const [label, system] of Object.entries(systems)) figures.push(await measure(label, system, steps));
  console.log(await hostPage.write(out, { schemaVersion: 1, environment, narrow, figures }));
}

await runCommand(main);
// The peers, which the works bring with them, would keep the event loop open.
Deno.exit(0);
