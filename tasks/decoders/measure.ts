/** One training step and some tokens of a decoder whose weights are made from a seed, with their time and memory. */

import process from "node:process";
import { type Adapter, attach } from "../../lib/adapters/attach.ts";
import { bora } from "../../lib/adapters/bora.ts";
import { shapeOf } from "../../lib/analysis/shapes.ts";
import { Writer } from "../../lib/generate/writer.ts";
import type { Gpu } from "../../lib/gpu/device.ts";
import type { DeviceTraits } from "../../lib/gpu/kernel.ts";
import { shuffled } from "../../lib/graph/random.ts";
import type { DecoderConfig } from "../../lib/models/decoder_config.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { unloadedDecoder } from "../../lib/models/unloaded_decoder.ts";
import { language } from "../../lib/objectives/language.ts";
import { processStatus } from "../../lib/report/process_status.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { weightBuffers } from "../../lib/run/room.ts";
import { estimateTraining } from "../../lib/train/estimate.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { decoderTarget } from "../targets.ts";
import { type MadePacking, madeWeights } from "./made_weights.ts";

/** What is run. */
export interface DecoderWork {
  readonly config: DecoderConfig;
  readonly packing: MadePacking;
  /** Tokens of the text that is learnt, and new tokens that are written. */
  readonly tokens: number;
  readonly newTokens: number;
}

/** Tokens of the prompt. */
const promptTokens = 16;

const seed = 0;

/** Room for positions: enough for what is run. */
const maxTokens = 1024;

const training = {
  learningRate: 1e-4,
  epochs: 1,
  batchSize: 1,
  warmupRatio: 0,
  seed,
  recompute: true,
};

/** Bytes and seconds of a run. The host's memory has the GPU's buffers in it on a software driver. */
export interface DecoderRun {
  readonly parameters: number;
  readonly trainable: number;
  readonly weightBytes: number;
  readonly uploadSeconds: number;
  readonly buildSeconds: number;
  readonly stepSeconds: number;
  /** The process's, on all cores: a software driver's work, whatever else the machine does. */
  readonly stepCpuSeconds: number;
  /** Before the step: about ln(vocabulary), since the weights know nothing. */
  readonly loss: number;
  readonly stepPeakBytes: number;
  /** Until the first token: building programs, and reading the prompt. */
  readonly firstTokenSeconds: number;
  readonly tokenSeconds: number;
  readonly tokenCpuSeconds: number;
  readonly writePeakBytes: number;
  readonly hostPeakBytes: number;
}

/** What a step of the whole shape takes, by a dry run. */
export interface WholeEstimate {
  readonly parameters: number;
  readonly weightBytes: number;
  readonly stepPeakBytes: number;
}

const sumOf = (sizes: readonly (readonly [string, number])[]) =>
  sizes.reduce((sum, [, bytes]) => sum + bytes, 0);

function adapterOf(model: Decoder): Adapter {
  return attach(model, bora, { target: decoderTarget });
}

/** Random tokens, all of which are learnt. */
function exampleOf({ vocabulary }: Decoder, tokens: number) {
  const ids = shuffled(seed, 1, vocabulary).slice(0, tokens);
  return { texts: [ids], labelled: ids.map(() => true), label: tokens - 1 };
}

/** Wall clock and CPU time of this process, in seconds. */
interface Clock {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

function now(): Clock {
  const { user, system } = process.cpuUsage();
  return { seconds: performance.now() / 1e3, cpuSeconds: (user + system) / 1e6 };
}

/** The time from `start` to `end`. */
function between(start: Clock, end: Clock = now()): Clock {
  return { seconds: end.seconds - start.seconds, cpuSeconds: end.cpuSeconds - start.cpuSeconds };
}

/** Makes the model, trains one step of BoRA on it and writes. Throws as these do, and when the loss is no number. */
export async function measureDecoder(gpu: Gpu, name: string, work: DecoderWork): Promise<DecoderRun> {
  const { config, packing, tokens, newTokens } = work;
  const made = unloadedDecoder(name, config, { maxTokens, packing, weights: madeWeights(config, seed) });
  // Each token has a text, so that a stream tells when it comes.
  const streamingDecoder = () => ({ push: () => ".", end: () => "" });
  const tokenizer = { ...made.language.tokenizer, streamingDecoder };
  const model = { ...made, language: { ...made.language, tokenizer } };
  const start = now();
  using frozen = FrozenWeights.forTraining(gpu, model);
  await gpu.settled();
  const { seconds: uploadSeconds } = between(start);
  const adapter = adapterOf(model);
  const example = exampleOf(model, tokens);
  const { trained, ...step } = await trainStep(gpu, model, adapter, frozen, example);
  gpu.resetPeak();
  using writer = new Writer({ gpu, model, adapter, weights: trained, frozen });
  const times = [now()];
  for await (const _ of writer.stream(example.texts[0].slice(0, promptTokens), { maxTokens: newTokens })) {
    times.push(now());
  }
  const next = between(times[1], times.at(-1));
  return {
    parameters: shapeOf(model).parameters,
    trainable: adapter.trainableParameters,
    weightBytes: sumOf(weightBuffers(model)),
    uploadSeconds,
    ...step,
    firstTokenSeconds: between(times[0], times[1]).seconds,
    tokenSeconds: next.seconds / (newTokens - 1),
    tokenCpuSeconds: next.cpuSeconds / (newTokens - 1),
    writePeakBytes: gpu.memory.peakBytes,
    hostPeakBytes: processStatus().peakResidentBytes,
  };
}

async function trainStep(
  gpu: Gpu,
  model: Decoder,
  adapter: Adapter,
  frozen: FrozenWeights,
  example: ReturnType<typeof exampleOf>,
) {
  const objective = language.of(model, { texts: 1, classes: 0 });
  gpu.resetPeak();
  using trainer = new Trainer({ gpu, model, adapter, frozen, objective, examples: [example], ...training });
  const beginning = now();
  await trainer.prepare([]);
  const built = now();
  const [{ loss }] = await trainer.epoch();
  const step = between(built);
  if (!Number.isFinite(loss)) throw new Error(`${model.name}: the loss of the step is ${loss}`);
  return {
    buildSeconds: between(beginning, built).seconds,
    stepSeconds: step.seconds,
    stepCpuSeconds: step.cpuSeconds,
    loss,
    stepPeakBytes: gpu.memory.peakBytes,
    trained: await trainer.weights(),
  };
}

/** Estimates the same step. */
export async function estimateDecoder(
  traits: DeviceTraits,
  name: string,
  { config, packing, tokens }: DecoderWork,
): Promise<WholeEstimate> {
  const model = unloadedDecoder(name, config, { maxTokens, packing });
  const objective = language.of(model, { texts: 1, classes: 0 });
  const example = exampleOf(model, tokens);
  const parts = { model, adapter: adapterOf(model), objective, train: [example], dev: [], traits };
  const { peakBytes } = await estimateTraining({ ...parts, ...training });
  return {
    parameters: shapeOf(model).parameters,
    weightBytes: sumOf(weightBuffers(model)),
    stepPeakBytes: peakBytes,
  };
}
