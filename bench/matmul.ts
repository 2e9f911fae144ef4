/**
 * `deno task bench`: matrix products against tfjs-webgpu and jax-js in one process on one adapter, interleaved. The
 * results are checked first, ours against float64 on the CPU and the peers' against ours. A lap is `repeats` products
 * and one read-back of the last, for every library alike. Writes results/bench-matmul.{md,json}.
 */

import { openGpu } from "../lib/gpu/device.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { table } from "../lib/report/markdown.ts";
import type { Environment } from "../lib/report/schema.ts";
import { writeWhole } from "../lib/files.ts";
import { jax } from "./peers/jax.ts";
import { ours } from "./peers/ours.ts";
import type { Peer, Product } from "./peers/peer.ts";
import { tfjs } from "./peers/tfjs.ts";

const sizes: readonly (readonly [m: number, n: number, k: number])[] = [
  [512, 768, 768],
  [512, 3072, 768],
  [512, 768, 3072],
];
const layouts = ["NN", "NT", "TN"] as const;
const repeats = 3;
const laps = 5;

/** One library's laps on one product. */
interface Measured {
  readonly library: string;
  /** Milliseconds a product, one entry a lap, in the order they were run. */
  readonly milliseconds: number[];
}

interface Row {
  readonly layout: Product["layout"];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly measured: readonly Measured[];
}

function productOf(layout: Product["layout"], [m, n, k]: readonly [number, number, number]): Product {
  const random = (name: string, size: number) => Float32Array.from(uniform(3, streamOf(name), size, 1));
  return { layout, m, n, k, a: random("a", m * k), b: random("b", k * n) };
}

/** Throws unless a sample of `values` agrees with sums in float64 to 1e-4 of the largest. */
function checkSample({ layout, m, n, k, a, b }: Product, values: Float32Array): void {
  for (let i = 0; i < 200; i++) {
    const [row, col] = [(i * 7919) % m, (i * 104729) % n];
    let sum = 0;
    for (let p = 0; p < k; p++) {
      sum += (layout === "TN" ? a[p * m + row] : a[row * k + p]) *
        (layout === "NT" ? b[col * k + p] : b[p * n + col]);
    }
    const error = Math.abs(values[row * n + col] - sum);
    if (!(error <= 1e-4 * Math.sqrt(k))) {
      throw new Error(`${layout}: entry ${row}, ${col} is off by ${error}`);
    }
  }
}

/** Throws unless two results agree to 1e-4 of √k, the size of an entry. */
function checkEqual(name: string, { k }: Product, values: Float32Array, expected: Float32Array): void {
  if (values.length !== expected.length) {
    throw new Error(`${name} gives ${values.length} values, not ${expected.length}`);
  }
  const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  if (!(worst <= 1e-4 * Math.sqrt(k))) throw new Error(`${name} differs from this library by ${worst}`);
}

/** Checks every library's result, then runs the laps in turn. */
async function race(peers: readonly Peer[], product: Product): Promise<Row> {
  const prepared = [];
  for (const peer of peers) prepared.push({ peer, work: await peer.prepare(product), laps: [] as number[] });
  const results: Float32Array[] = [];
  for (const { work } of prepared) results.push(await work.run(1));
  checkSample(product, results[0]);
  results.forEach((values, i) => checkEqual(peers[i].name, product, values, results[0]));
  for (let lap = 0; lap < laps; lap++) {
    for (const { work, laps } of prepared) {
      const start = performance.now();
      await work.run(repeats);
      laps.push((performance.now() - start) / repeats);
    }
  }
  prepared.forEach(({ work }) => work.dispose());
  const { layout, m, n, k } = product;
  const measured = prepared.map(({ peer, laps }) => ({ library: peer.name, milliseconds: laps }));
  return { layout, m, n, k, measured };
}

const sorted = (values: readonly number[]) => values.toSorted((x, y) => x - y);
const median = (values: readonly number[]) => sorted(values)[Math.floor(values.length / 2)];
const rate = ({ m, n, k }: Row, milliseconds: number) => 2 * m * n * k / milliseconds / 1e6;

/** Our rate over a peer's: the median over laps of the ratio within a lap. */
function ratioTo(own: Measured, peer: Measured): number {
  return median(peer.milliseconds.map((time, lap) => time / own.milliseconds[lap]));
}

function pageOf(rows: readonly Row[], environment: Environment): string {
  const [own, ...others] = rows[0].measured.map(({ library }) => library);
  const cell = (row: Row, { milliseconds }: Measured) => {
    const [slowest, fastest] = [Math.max(...milliseconds), Math.min(...milliseconds)];
    return `${rate(row, median(milliseconds)).toFixed(1)} (${rate(row, slowest).toFixed(1)}–${
      rate(row, fastest).toFixed(1)
    })`;
  };
  const header = [
    "product",
    ...[own, ...others].map((name) => `${name}, GFLOP/s`),
    ...others.map((name) => `÷ ${name}`),
  ];
  const body = rows.map((row) => [
    `${row.layout} ${row.m}×${row.n}×${row.k}`,
    ...row.measured.map((measured) => cell(row, measured)),
    ...row.measured.slice(1).map((peer) => `${ratioTo(row.measured[0], peer).toFixed(1)}×`),
  ]);
  return `# Matrix products against other WebGPU libraries

\`deno task bench\`: f32, m×n×k, one process, one adapter, ${laps} interleaved laps of ${repeats} products and one
read-back each; median (slowest–fastest) in GFLOP/s, two FLOPs a multiply-add; ratios are medians within a lap. Results
were first checked against float64 and against each other.

${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}, commit ${
    environment.commit.slice(0, 10)
  }.

${table(header, body)}
`;
}

async function main(): Promise<void> {
  const gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  const peers = [ours(gpu), await tfjs(), await jax()];
  const rows: Row[] = [];
  for (const size of sizes) {
    for (const layout of layouts) {
      rows.push(await race(peers, productOf(layout, size)));
      console.error(`${layout} ${size.join("×")} done`);
    }
  }
  const page = pageOf(rows, environment);
  await Deno.mkdir("results", { recursive: true });
  await writeWhole(
    "results/bench-matmul.json",
    `${JSON.stringify({ schemaVersion: 1, environment, rows }, null, 2)}\n`,
  );
  await writeWhole("results/bench-matmul.md", page);
  console.log(page);
}

await main();
// The peers keep their devices open and with them the event loop.
Deno.exit(0);
