/**
 * doppler-gpu: calls its kernels' functions, one submit each, as its trainer does. Deno 2.9 cannot install
 * the package, because an optional dependency depends on a package that the registry lacks
 * (doe-gpu-darwin-arm64); npm skips it. So npm's own library unpacks the package, and it is imported from
 * there. Its public exports do not include the kernels.
 */

import pacote from "npm:pacote@22.0.0";
import { pathToFileURL } from "node:url";
import { lazily } from "../work.ts";
import type { Input, Runner } from "../work.ts";

const version = "0.5.1";

/** A tensor of doppler's, in a buffer of its pool. */
export interface DopplerTensor {
  readonly buffer: GPUBuffer;
  readonly dtype: "f32";
  readonly shape: readonly number[];
}

interface MatmulOptions {
  readonly transposeB: boolean;
  readonly outputDtype: "f32";
  readonly bDtype: "f32";
}

interface AttentionOptions {
  readonly seqLen: number;
  readonly kvLen: number;
  readonly numKVHeads: number;
  readonly scale: number;
  readonly causal: boolean;
}

interface AdamOptions {
  readonly step: number;
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** Records the computation, for its gradients. */
interface Tape {
  readonly records: readonly { readonly output: DopplerTensor }[];
  backward(gradient: DopplerTensor): Promise<Map<DopplerTensor, DopplerTensor>>;
}

/** The part of doppler that the works use. */
export interface Doppler {
  runMatmul(
    a: DopplerTensor,
    b: DopplerTensor,
    m: number,
    n: number,
    k: number,
    options: MatmulOptions,
  ): Promise<DopplerTensor>;
  /** The gradients of y = x W or x Wᵀ, x m×k. */
  runMatmulBackward(
    x: DopplerTensor,
    w: DopplerTensor,
    dy: DopplerTensor,
    options: {
      readonly M: number;
      readonly N: number;
      readonly K: number;
      readonly computeGradInput: boolean;
    },
  ): Promise<{ readonly gradWeight: DopplerTensor }>;
  runResidualAdd(a: DopplerTensor, b: DopplerTensor, size: number): Promise<DopplerTensor>;
  runScale(x: DopplerTensor, factor: number, options: { readonly inplace: boolean }): Promise<DopplerTensor>;
  runLayerNorm(
    x: DopplerTensor,
    gamma: GPUBuffer,
    beta: GPUBuffer,
    epsilon: number,
    options: { readonly batchSize: number; readonly hiddenSize: number; readonly normWeightDtype: "f32" },
  ): Promise<DopplerTensor>;
  runAttention(
    q: DopplerTensor,
    k: DopplerTensor,
    v: DopplerTensor,
    mask: null,
    heads: number,
    width: number,
    options: AttentionOptions,
  ): Promise<DopplerTensor>;
  recordAttentionForward(
    q: DopplerTensor,
    k: DopplerTensor,
    v: DopplerTensor,
    config: null,
    tape: Tape,
    options: {
      readonly seqLen: number;
      readonly numHeads: number;
      readonly headDim: number;
      readonly causal: boolean;
    },
  ): Promise<{ readonly output: DopplerTensor; readonly softmax: DopplerTensor }>;
  crossEntropyLoss(
    logits: DopplerTensor,
    labels: DopplerTensor,
    config: null,
    tape: Tape,
  ): Promise<DopplerTensor>;
  /** Updates `w`, `m` and `v` in place. */
  runAdam(
    w: DopplerTensor,
    g: DopplerTensor,
    m: DopplerTensor,
    v: DopplerTensor,
    options: AdamOptions,
  ): Promise<DopplerTensor>;
  clipGradients(
    gradients: ReadonlyMap<string, DopplerTensor>,
    config: { readonly training: { readonly gradient: { readonly maxNorm: number } } },
  ): Promise<{ readonly clippedGrads: ReadonlyMap<string, DopplerTensor> }>;
  newTape(): Tape;
  /** Uploads the values as a tensor. */
  upload(data: Float32Array | Uint32Array, shape: readonly number[]): DopplerTensor;
  /** Returns tensors to the pool; each buffer once. */
  release(...tensors: readonly DopplerTensor[]): void;
  read(tensor: DopplerTensor, bytes: number): Promise<ArrayBuffer>;
}

/** The modules under the package's `src` that the works need. */
const modules = {
  device: "gpu/device.js",
  kernels: "gpu/kernels/index.js",
  pool: "memory/buffer-pool.js",
  registry: "config/backward-registry-loader.js",
  training: "training.js",
  debug: "debug/index.js",
} as const;

/** Unpacks the package until this process ends, and opens its device. */
async function open(): Promise<Doppler> {
  const folder = await Deno.makeTempDir({ prefix: "doppler-gpu-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const registry = Deno.env.get("NPM_CONFIG_REGISTRY");
  await pacote.extract(`doppler-gpu@${version}`, folder, registry ? { registry } : {});
  const load = async (path: string) => await import(pathToFileURL(`${folder}/src/${path}`).href);
  const [device, kernels, pool, registry_, training, debug] = await Promise.all(
    Object.values(modules).map(load),
  );
  debug.setLogLevel("silent");
  await device.initDevice();
  return {
    ...kernels,
    ...training,
    newTape: () => new training.AutogradTape(registry_.loadBackwardRegistry()),
    upload(data, shape) {
      const buffer = pool.acquireBuffer(data.byteLength, undefined, "bench");
      pool.uploadData(buffer, data);
      return { buffer, dtype: "f32", shape };
    },
    release: (...tensors) =>
      new Set(tensors.map(({ buffer }) => buffer)).forEach((b) => pool.releaseBuffer(b)),
    read: ({ buffer }, bytes) => pool.readBuffer(buffer, bytes),
  };
}

const opened = lazily(open);

/** Does the work on tensors of the inputs and returns the outputs; frees all other tensors that it creates. */
export type DopplerWork = (
  inputs: Readonly<Record<string, DopplerTensor>>,
  doppler: Doppler,
) => Promise<DopplerTensor[]>;

/** A runner of a work in doppler; `arrange` reorders its results into the layout that all libraries share. */
export async function dopplerRunner(
  inputs: Readonly<Record<string, Input>>,
  work: DopplerWork,
  arrange = (values: Float32Array[]): Float32Array[] => values,
): Promise<Runner> {
  const doppler = await opened();
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, doppler.upload(data, shape)]),
  );
  const isInput = new Set(Object.values(tensors));
  const release = (outputs: readonly DopplerTensor[]) =>
    doppler.release(...outputs.filter((output) => !isInput.has(output)));
  return {
    async results() {
      const outputs = await work(tensors, doppler);
      const values = [];
      for (const output of outputs) {
        const bytes = 4 * output.shape.reduce((product, extent) => product * extent, 1);
        values.push(new Float32Array(await doppler.read(output, bytes)));
      }
      release(outputs);
      return arrange(values);
    },
    async lap(times) {
      for (let i = 1; i < times; i++) release(await work(tensors, doppler));
      const outputs = await work(tensors, doppler);
      await doppler.read(outputs[0], 4);
      release(outputs);
    },
    dispose: () => doppler.release(...Object.values(tensors)),
  };
}
