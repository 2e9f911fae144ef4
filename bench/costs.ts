/**
 * `deno task costs`: compares this library with itself: BoRA with LoRA, a step with the best matrix product,
 * merged with bare inference, and how time grows with the counted work. Writes results/costs.{md,json}.
 */

import { parseArgs } from "node:util";
import type { Method } from "../lib/adapters/method.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { logSlope, median } from "../lib/report/statistics.ts";
import { outputFolder } from "../tasks/output.ts";
import { asUsage, runCommand } from "../tasks/usage.ts";
import { costsPage, type Measured } from "./costs_page.ts";
import { own, type Runner, type Work } from "./work.ts";
import { layer } from "./works/adapter_layers.ts";
import { length, vocabulary } from "./works/batch.ts";
import { step } from "./works/lora_step.ts";
import { product } from "./works/products.ts";
import { type ShapedEncoder, shapedEncoder } from "./works/shaped_encoder.ts";
import { forwardPass } from "./works/forward_pass.ts";

const help = `deno task costs [options]

  --out DIR   where to write costs.md and costs.json (default: results)
  --help      this text
`;

/** Laps per work, run in alternation, and the target milliseconds per lap. */
const [laps, lapMilliseconds] = [9, 400];

/**
 * Works that are timed in alternation, and the value computed from their times (milliseconds per run, one
 * entry per lap).
 */
interface Measure {
  readonly name: string;
  readonly goal: string;
  readonly works: readonly Work[];
  /** The measure in one lap, from the works' times in that lap. */
  value(times: readonly number[]): number;
}

/** The time of the last work divided by that of the first. */
const ratio = (times: readonly number[]) => times.at(-1)! / times[0];

function growth(name: string, works: readonly Work[]): Measure {
  return { name, goal: "0.9–1.1", works, value: (times) => logSlope(works.map(({ flops }) => flops), times) };
}

const [lora, bora] = [methodByName("LoRA"), methodByName("BoRA")];

/** A training step at r = 8. */
const stepOf = (gpu: Gpu, model: ShapedEncoder, label: string, method: string, options: object = {}) =>
  step(gpu, model, label, method, { r: 8, alpha: 16, ...options });

/** An adapter without the frozen matrix product of its layer. */
const alone = (gpu: Gpu, method: Method, options: object, r = 8, tokens = 512) =>
  layer(gpu, { label: method.name, method, options: { r, alpha: 2 * r, ...options } }, true, tokens / 8);

/** BoRA's step and its adapter alone, with two numbers of blocks, relative to LoRA's. */
function againstLora(gpu: Gpu, model: ShapedEncoder): Measure[] {
  const loraStep = stepOf(gpu, model, "LoRA r 8", "LoRA");
  const loraAlone = alone(gpu, lora, {});
  const inWork = (work: Work) => (times: readonly number[]) => ratio(times) / (work.flops / loraAlone.flops);
  const [b16, auto] = [alone(gpu, bora, { blocks: 16 }), alone(gpu, bora, { blocks: "auto" })];
  return [
    {
      name: "BoRA r 8 b 16 step ÷ LoRA r 8 step",
      goal: "≤ 1.03",
      works: [loraStep, stepOf(gpu, model, "BoRA r 8 b 16", "BoRA", { blocks: 16 })],
      value: ratio,
    },
    {
      name: 'BoRA r 8 b "auto" (24) step ÷ LoRA r 8 step',
      goal: "≤ 1.08",
      works: [loraStep, stepOf(gpu, model, 'BoRA r 8 b "auto"', "BoRA", { blocks: "auto" })],
      value: ratio,
    },
    {
      name: "BoRA r 8 b 16 ÷ LoRA r 8, adapters alone, over their multiply-adds' ratio",
      goal: "≤ 1.25",
      works: [loraAlone, b16],
      value: inWork(b16),
    },
    {
      name: 'BoRA r 8 b "auto" ÷ LoRA r 8, adapters alone, over their multiply-adds\' ratio',
      goal: "≤ 1.25",
      works: [loraAlone, auto],
      value: inWork(auto),
    },
  ];
}

/** A step relative to the best matrix product, and merged inference relative to the bare model's. */
function againstProductsAndBare(gpu: Gpu, model: ShapedEncoder): Measure[] {
  const gemm = product(gpu, "NT", 512, 3072, 768);
  const loraStep = stepOf(gpu, model, "LoRA r 8", "LoRA");
  const rate = ({ flops }: Work, time: number) => flops / time;
  return [
    {
      name: "LoRA step's rate ÷ the rate of a product (NT 512×3072×768)",
      goal: "≥ 0.80",
      works: [gemm, loraStep],
      value: ([first, second]) => rate(loraStep, second) / rate(gemm, first),
    },
    {
      name: "inference with merged weights ÷ with the bare model's",
      goal: "1.00",
      works: [forwardPass(gpu, model, "bare"), forwardPass(gpu, model, "merged")],
      value: ratio,
    },
  ];
}

/** How time grows with tokens, r, b and layers. */
function growths(gpu: Gpu): Measure[] {
  const whole = (tokens: number) =>
    layer(gpu, { label: "BoRA", method: bora, options: { r: 8, alpha: 16, blocks: 16 } }, false, tokens / 8);
  return [
    growth("slope over tokens 512 … 4096 (BoRA layer)", [512, 1024, 2048, 4096].map(whole)),
    // At small r and b, an adapter mostly reads x and G, which does not depend on r or b.
    growth(
      "slope over r 128 … 512 (BoRA b 16 alone, 2048 tokens)",
      [128, 256, 512].map((r) => alone(gpu, bora, { blocks: 16 }, r, 2048)),
    ),
    growth(
      "slope over b 192 … 768 (BoRA r 8 alone, 512 tokens)",
      [192, 384, 768].map((blocks) => alone(gpu, bora, { blocks })),
    ),
    growth(
      "slope over layers 1, 2, 4 (LoRA step)",
      [1, 2, 4].map((layers) => stepOf(gpu, shapedEncoder(layers, vocabulary, length), "LoRA", "LoRA")),
    ),
  ];
}

function measuresOf(gpu: Gpu): Measure[] {
  const two = shapedEncoder(2, vocabulary, length);
  return [...againstLora(gpu, two), ...againstProductsAndBare(gpu, two), ...growths(gpu)];
}

async function timed(runner: Runner, runs: number): Promise<number> {
  const start = performance.now();
  await runner.lap(runs);
  return (performance.now() - start) / runs;
}

async function measure({ name, goal, works, value }: Measure): Promise<Measured> {
  using owned = new DisposableStack();
  const entrants: { runner: Runner; runs: number }[] = [];
  for (const { ways } of works) {
    const runner = owned.adopt(await ways[own]!(), (used) => used.dispose());
    await runner.lap(1);
    const one = await timed(runner, 3);
    entrants.push({ runner, runs: Math.max(1, Math.round(lapMilliseconds / one)) });
  }
  const milliseconds: number[][] = works.map(() => []);
  for (let lap = 0; lap < laps; lap++) {
    for (const [i, { runner, runs }] of entrants.entries()) milliseconds[i].push(await timed(runner, runs));
  }
  const values = Array.from({ length: laps }, (_, lap) => value(milliseconds.map((times) => times[lap])));
  return { name, goal, works: works.map((work) => work.name), milliseconds, values };
}

async function main(): Promise<void> {
  const { values: { out, help: wanted } } = asUsage(() =>
    parseArgs({
      options: { out: { type: "string", default: "results" }, help: { type: "boolean", default: false } },
    })
  );
  if (wanted) return console.log(help);
  const folder = await outputFolder(out);
  const gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  const measured: Measured[] = [];
  let page = "";
  for (const entry of measuresOf(gpu)) {
    measured.push(await measure(entry));
    console.error(`${entry.name}: ${median(measured.at(-1)!.values).toFixed(3)}`);
    // Written after every measure, so that an interrupted run keeps what it has.
    page = await costsPage.write(folder, { schemaVersion: 1, environment, measured });
  }
  console.log(page);
}

await runCommand(main);
// The works import the peers, which would keep the event loop open.
Deno.exit(0);
