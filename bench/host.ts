/**
 * `deno task host`: the host's cost of a training step. It measures JavaScript's time per replayed step, the
 * time to build a program, the number of pipelines, and whether replaying creates garbage. Writes
 * results/host.{md,json}.
 */

import { parseArgs } from "node:util";
import { attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { grad } from "../lib/graph/grad.ts";
import { plan } from "../lib/graph/plan.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { median } from "../lib/report/statistics.ts";
import { traceStep } from "../lib/run/step.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { outputFolder } from "../tasks/output.ts";
import { asUsage, runCommand, UsageError } from "../tasks/usage.ts";
import { type BuildFigures, type HostFigures, hostPage, type ReplayFigures } from "./host_page.ts";
import { Stopwatch } from "./stopwatch.ts";
import { examples, length, objective, texts, vocabulary } from "./works/batch.ts";
import { type ShapedEncoder, shapedEncoder } from "./works/shaped_encoder.ts";

/** RoBERTa-base's number of layers. */
const layers = 12;
/**
 * The width at which steps are replayed. A full-width step takes a software driver ten seconds, and
 * JavaScript makes the same number of calls for a narrow one.
 */
const narrow = 48;
/** An adapter on query and value. */
interface System {
  readonly method: string;
  readonly options: object;
}

const systems: Readonly<Record<string, System>> = {
  "LoRA r 8": { method: "LoRA", options: { r: 8, alpha: 16 } },
  "BoRA r 8 b 16": { method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
};

const help = `deno task host [options]

  --steps N   number of steps to replay, 2 to 1000 (default: 200)
  --out DIR   where to write (default: results)
  --help      this text
`;

/**
 * Bytes of V8's heap in use after garbage collection. Throws an Error if V8 was started without
 * `--expose-gc`.
 */
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

/** A trainer for `epochs` epochs of `steps` steps, one batch each. */
function trainerOf(gpu: Gpu, model: ShapedEncoder, system: System, epochs: number, steps: number): Trainer {
  const repeated = Array.from({ length: steps }, () => examples).flat();
  return new Trainer({
    gpu,
    model,
    adapter: attached(model, system),
    objective: objective(model),
    examples: repeated,
    learningRate: 1e-3,
    epochs,
    batchSize: texts,
    warmupRatio: 0,
    seed: 0,
  });
}

/** Milliseconds of a build's work before it needs the GPU, and the dispatches of a step without AdamW's. */
function traced({ traits }: Gpu, model: ShapedEncoder, system: System) {
  const adapter = attached(model, system);
  const moments = [performance.now()];
  const { graph, loss, losses, clock } = traceStep(model, adapter, objective(model), {
    examples: texts,
    length,
    rows: 0,
  }, true);
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

/** Builds the program of a step on a new device, where nothing is compiled yet. */
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
 * Runs two epochs of `steps` steps, the first as a warm-up. The wait for the GPU after each step is not
 * counted, so that a software driver's threads do not take the CPUs from JavaScript.
 */
async function replayed(model: ShapedEncoder, system: System, steps: number): Promise<ReplayFigures> {
  using gpu = await openGpu();
  using trainer = trainerOf(gpu, model, system, 2, steps);
  await trainer.prepare([]);
  const { queue } = gpu.device;
  using uploading = new Stopwatch(queue, "writeBuffer");
  using finishing = new Stopwatch(GPUCommandEncoder.prototype, "finish");
  using submitting = new Stopwatch(queue, "submit");
  // Allocated before the heap is measured.
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
    // The read-back at the epoch's end belongs to no step.
    [uploading, finishing, submitting].forEach((watch) => watch.take());
  };
  await epoch();
  const before = heapInUse();
  await epoch();
  const heapGrowth = heapInUse() - before;
  const { dispatches } = traced(gpu, model, system);
  // The first step of an epoch also orders the batches.
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
// The works import the peers, which would keep the event loop open.
Deno.exit(0);
