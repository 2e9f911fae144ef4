/**
 * Runs a driver's checks: every case of every op, and short training runs, each compared with float64 on the
 * CPU. Nothing here needs Deno.
 */

import { type Adapter, attach } from "../../lib/adapters/attach.ts";
import { bora } from "../../lib/adapters/bora.ts";
import { lora } from "../../lib/adapters/lora.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { WritablePacking } from "../../lib/graph/storages/registry.ts";
import type { Model } from "../../lib/models/model.ts";
import { packModel, unpack } from "../../lib/models/packing.ts";
import { classification } from "../../lib/objectives/classification.ts";
import type { Encoded } from "../../lib/objectives/objective.ts";
import type { CaseResult, DriverRun, TrainingResult } from "../../lib/report/conformance_schema.ts";
import { Trainer, type TrainOptions } from "../../lib/train/trainer.ts";
import { limitsOf } from "./default_limits.ts";
import { lossesInFloat64 } from "./float64_training.ts";
import { type OpCase, opCases } from "./op_cases.ts";
import { opErrors, relativeError, traceCase } from "./op_errors.ts";
import { tinyEncoder } from "./tiny_encoder.ts";

/** A short run of the trainer. */
export interface TrainingCase {
  readonly name: string;
  readonly model: Model;
  readonly adapter: Adapter;
  readonly options: TrainOptions;
}

const objective = (model: Model) => classification.of(model, { texts: 1, classes: 2 });

/** Ten batches of four; lengths from 1 to 14, in two buckets. */
const examples: readonly Encoded[] = Array.from({ length: 40 }, (_, i) => ({
  label: i % 2,
  texts: [Array.from({ length: 1 + (i * 5) % 14 }, (_, j) => (i % 2 * 5 + i + j * 3) % 11)],
}));

const options: TrainOptions = { learningRate: 1e-2, epochs: 1, batchSize: 4, warmupRatio: 0.1, seed: 3 };

const model = tinyEncoder();
const attached = { r: 4, alpha: 8, dropout: 0.1, target: "all-linear" } as const;
const withBora = (base: Model) => attach(base, bora, { ...attached, blocks: 4 });

function packedCase(packing: WritablePacking): TrainingCase {
  const packed = packModel(model, packing);
  return { name: `BoRA on ${packing} weights`, model: packed, adapter: withBora(packed), options };
}

/**
 * The training runs: LoRA; BoRA; and BoRA without dropout, with two batches per step, and on each kind of
 * packed weights.
 */
export const trainingCases: readonly TrainingCase[] = [
  { name: "LoRA", model, adapter: attach(model, lora, attached), options },
  { name: "BoRA", model, adapter: withBora(model), options },
  // Without dropout, an attention's layers read the same x and share kernels.
  {
    name: "BoRA without dropout",
    model,
    adapter: attach(model, bora, { ...attached, blocks: 4, dropout: 0 }),
    options,
  },
  {
    name: "BoRA, 2 batches a step",
    model,
    adapter: withBora(model),
    options: { ...options, accumulationSteps: 2 },
  },
  ...(["f16", "int8", "int4"] as const).map(packedCase),
];

/** The largest allowed error of a step's loss, relative to the largest loss. */
const lossTolerance = 1e-5;

/** The model with its packed weights unpacked. */
function unpacked(own: Model): Model {
  const values = [...own.packed ?? []].map(([name, packed]) => [name, unpack(packed)] as const);
  const { packed: _, ...rest } = own;
  return { ...rest, weights: new Map([...own.weights, ...values]) };
}

/** The expected losses of a run. */
export function referenceLosses({ model, adapter, options }: TrainingCase): number[] {
  return lossesInFloat64(unpacked(model), adapter, objective(model), examples, options);
}

/** Runs `body`, and turns an exception into a failure. */
async function orFailure<Own, Result>(
  own: Own,
  body: () => Promise<Result>,
): Promise<Own & (Result | { failure: string })> {
  try {
    return { ...own, ...await body() };
  } catch (error) {
    return { ...own, failure: (error as Error).message };
  }
}

/** Runs one op on one shape. */
export function runCase(gpu: Gpu, op: OpCase): Promise<CaseResult> {
  const { family, name, tolerance } = op;
  return orFailure({ family, name, tolerance }, async () => {
    const errors = await opErrors(gpu, traceCase(op));
    const worst = errors.reduce((most, own) => own.error > most.error ? own : most);
    gpu.check();
    return worst;
  });
}

/** Runs one training run. */
export function runTraining(gpu: Gpu, own: TrainingCase): Promise<TrainingResult> {
  const { name, model, adapter, options } = own;
  return orFailure({ name, tolerance: lossTolerance }, async () => {
    using trainer = new Trainer({ gpu, model, adapter, objective: objective(model), examples, ...options });
    const losses = (await trainer.epoch()).map(({ loss }) => loss);
    return { losses, error: relativeError(losses, referenceLosses(own)) };
  });
}

/** Runs everything on one device; `onDone` gets the name of each finished piece. */
export async function runConformance(
  gpu: Gpu,
  onDone: (name: string) => void = () => {},
): Promise<DriverRun> {
  const start = performance.now();
  const cases: CaseResult[] = [];
  for (const op of opCases) {
    cases.push(await runCase(gpu, op));
    onDone(op.name);
  }
  const training: TrainingResult[] = [];
  for (const own of trainingCases) {
    training.push(await runTraining(gpu, own));
    onDone(own.name);
  }
  return {
    limits: limitsOf(gpu),
    subgroupSize: gpu.traits.subgroupSize,
    seconds: (performance.now() - start) / 1000,
    cases,
    training,
  };
}
