/**
 * The programs whose kernels are compiled: a training step with BoRA and one with LoRA, of one layer of each
 * shape of model, and a decoder's (`decoder_programs.ts`). To add one, add it here or there.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { dryRun } from "../../lib/gpu/dry_run.ts";
import type { DeviceTraits, Kernel } from "../../lib/gpu/kernel.ts";
import { grad } from "../../lib/graph/grad.ts";
import { bytesOf, graphOf, sizeOf, type Tensor } from "../../lib/graph/graph.ts";
import { plan } from "../../lib/graph/plan.ts";
import type { Model } from "../../lib/models/model.ts";
import { publishedEncoder } from "../../lib/models/published_configs.ts";
import { unloadedEncoder } from "../../lib/models/unloaded_encoder.ts";
import { withoutValues } from "../../lib/models/unread_weight.ts";
import { loadUseLite } from "../../lib/models/use_lite.ts";
import { classification } from "../../lib/objectives/classification.ts";
import { traceStep } from "../../lib/run/step.ts";
import { TrainableWeights } from "../../lib/run/trainable_weights.ts";
import { AdamW, adamWDefaults } from "../../lib/train/adamw.ts";
import { decoderPrograms, type Traced } from "./decoder_programs.ts";
import { llamaLayer } from "./llama_layer.ts";

/**
 * The hardware GPU that kernels are chosen for. 32 lanes are a subgroup's on NVIDIA and RDNA, and Intel's
 * widest; 64 and no fixed size (GCN, and drivers that let it vary) are chosen alike, because lanes share loads
 * only where there are 16 at most. f16 changes how frozen weights may be stored, not which kernel a step has.
 */
export const hardware: DeviceTraits = { subgroupSize: 32, software: false, f16: false };

/** Texts per batch, and tokens per text. */
const batch = { examples: 8, length: 128, rows: 0 };

/** The step's size, for the page. */
export const batchText = `${batch.examples} texts of ${batch.length} tokens`;

/** A kernel launch of a program. */
export interface ProgramLaunch {
  readonly program: string;
  /** The op, its module and, from the second with this op and module on, which one: `matmul layer.0.query 2`. */
  readonly role: string;
  readonly kernel: Kernel;
  readonly workgroups: number;
  /** Bytes of the tensors that it reads and writes. */
  readonly bytes: number;
}

/** Adapters on every linear layer, so that the adapters' products of every shape are there. */
const systems = [
  { method: "LoRA", options: { r: 8, alpha: 16 } },
  { method: "BoRA", options: { r: 8, alpha: 16, blocks: 16 } },
] as const;

/** One layer of each; USE-lite whole, for its two differ. */
async function models(): Promise<readonly { readonly name: string; readonly model: Model }[]> {
  const roberta = { ...publishedEncoder("roberta-base")!, layers: 1, vocabulary: 128 };
  return [
    { name: "RoBERTa-base", model: unloadedEncoder("roberta-base", roberta) },
    { name: "USE-lite", model: withoutValues(await loadUseLite()) },
    { name: "LLaMA-3-8B", model: llamaLayer(batch.length) },
  ];
}

/** Every kernel launch of every program, with the kernels that `traits` get by default. */
export async function launchesOfPrograms(traits: DeviceTraits): Promise<ProgramLaunch[]> {
  const steps = (await models()).flatMap(({ name, model }) =>
    systems.map(({ method, options }): Traced => {
      const target = [...new Set(model.linears.map((linear) => linear.target))];
      const adapter = attach(model, methodByName(method), { ...options, target });
      return { program: `${name} ${method}`, ...tracedStep(model, adapter) };
    })
  );
  return [...steps, ...decoderPrograms()].flatMap(({ program, outputs, trained }) =>
    withRoles(program, [...placed(program, outputs, traits), ...optimizerLaunches(trained)])
  );
}

/** A launch before those of one role are told apart. */
interface PlacedLaunch {
  /** The op and its module. */
  readonly place: string;
  readonly kernel: Kernel;
  readonly grid: readonly number[];
  readonly bytes: number;
}

/** Forward and backward of a classifier's step. */
function tracedStep(model: Model, adapter: ReturnType<typeof attach>): Omit<Traced, "program"> {
  const objective = classification.of(model, { texts: 1, classes: 2 });
  const { graph, losses, loss } = traceStep(model, adapter, objective, batch, true);
  const trained = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  return { outputs: [loss, ...grad(losses, trained)], trained };
}

/** The launches that compute `outputs`, and what the graph's states become. */
function placed(program: string, outputs: readonly Tensor[], traits: DeviceTraits): PlacedLaunch[] {
  const { updates } = graphOf(program, outputs);
  const { nodes, inPlace } = plan([...outputs, ...updates.values()], { updates });
  return nodes.flatMap((node) =>
    node.op!.dispatches(node, inPlace.has(node), traits)
      .map(({ kernel, grid, bindings }) => ({
        place: `${node.op!.name} ${node.name}`.trim(),
        kernel,
        grid,
        bytes: Object.values(bindings).reduce((sum, tensor) => sum + bytesOf(tensor), 0),
      }))
  );
}

function withRoles(program: string, launches: readonly PlacedLaunch[]): ProgramLaunch[] {
  const times = new Map<string, number>();
  return launches.map(({ place, kernel, grid, bytes }) => {
    const time = (times.get(place) ?? 0) + 1;
    times.set(place, time);
    return {
      program,
      role: time === 1 ? place : `${place} ${time}`,
      kernel,
      workgroups: grid.reduce((product, extent) => product * extent),
      bytes,
    };
  });
}

/** AdamW's kernels are no ops of the graph. */
function optimizerLaunches(trainable: readonly Tensor[]): PlacedLaunch[] {
  if (trainable.length === 0) return [];
  const size = trainable.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  using run = dryRun();
  const { gpu } = run;
  using weights = new TrainableWeights(
    gpu,
    new Map([["all", { shape: [size], data: new Float32Array(size) }]]),
  );
  using optimizer = new AdamW(gpu, weights, adamWDefaults, [1e-3], () => false);
  const view = (label: string, bytes: number) => ({
    buffer: gpu.createBuffer(label, bytes),
    offset: 0,
    bytes,
  });
  return optimizer.calls(view("loss", 4), view("clock", 8))
    .map(({ label, kernel, grid, views }) => ({
      place: label,
      kernel,
      grid,
      bytes: Object.values(views).reduce((sum, { bytes }) => sum + bytes, 0),
    }));
}
