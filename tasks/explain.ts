/**
 * `deno task explain`: which kernel each product of a training step gets, among which, and why, for a model, a method and
 * a batch, on this machine's adapter or on another kind of device. Nothing is computed. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { type Adapter, attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { isFolder } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import { grad } from "../lib/graph/grad.ts";
import type { Choice, DType, Node } from "../lib/graph/graph.ts";
import { choiceText, plan } from "../lib/graph/plan.ts";
import type { Model } from "../lib/models/model.ts";
import { publishedDecoders, publishedEncoders } from "../lib/models/published_configs.ts";
import { classification } from "../lib/objectives/classification.ts";
import { language } from "../lib/objectives/language.ts";
import type { BatchShape, Objective } from "../lib/objectives/objective.ts";
import { panelsForTraining } from "../lib/run/frozen_weights.ts";
import { traceStep } from "../lib/run/step.ts";
import { knownDecoder } from "./known_decoder.ts";
import { isDecoderSource } from "./reproduce/model_kind.ts";
import { decoderTarget, defaultTarget } from "./targets.ts";
import { unknownModel } from "./unknown_model.ts";
import { asUsage, countIn, runCommand, UsageError } from "./usage.ts";
import { knownEncoder } from "./workload.ts";

const help = `deno task explain [options]

  --model NAME     an encoder's or a decoder's folder or id, or a .gguf file (default: the embedded USE-lite); of a published model
                   that is not here, its shape is enough
  --method NAME    (default: BoRA)
  --target NAME    target modules (repeatable; default: ${defaultTarget.join(" and ")}; of decoders ${
  decoderTarget.join(", ")
})
  --batch N        texts of a step (default: 16)
  --length N       tokens of a text, all of which a decoder learns (default: 64)
  --device KIND    here (default: this machine's adapter), software (subgroups of 8), or gpu (subgroups of 32)
  --json           print JSON
  --help           this text
`;

/** The products of a step that are alike. */
interface Explained extends Choice {
  /** The first one's module, and how many there are. */
  readonly module: string;
  readonly count: number;
}

const kinds: Readonly<Record<string, DeviceTraits>> = {
  software: { subgroupSize: 8, software: true },
  gpu: { subgroupSize: 32, software: false },
};

async function traitsOf(kind: string): Promise<DeviceTraits> {
  if (kind === "here") {
    using gpu = await openGpu();
    return gpu.traits;
  }
  if (!Object.hasOwn(kinds, kind)) {
    throw new UsageError(`--device is "${kind}": give here, ${Object.keys(kinds).join(" or ")}`);
  }
  return kinds[kind];
}

/** The nodes with several kernels to choose from, alike ones together, in the order of the step. */
function explained(nodes: readonly Node[], device: DeviceTraits): Explained[] {
  const chosen = nodes.flatMap((node) => {
    const variants = node.op!.variants?.(node, device);
    return variants ? [{ module: `${node.name || "-"} (${node.op!.name})`, choice: variants.choice() }] : [];
  });
  const alike = ({ module, choice }: (typeof chosen)[number]) =>
    JSON.stringify([module.replaceAll(/\d+/g, "N"), choice]);
  return Map.groupBy(chosen, alike).values().map(([first, ...others]) => ({
    module: first.module,
    count: 1 + others.length,
    ...first.choice,
  })).toArray();
}

/** How a trainer stores a base weight: in panels where it can, unless the method trains it or merges into it. */
function storageForTraining(traits: DeviceTraits, model: Model, adapter: Adapter): (name: string) => DType {
  const panels = panelsForTraining(traits, model);
  const changed = adapter.method.restarts ? adapter.modules.map(({ module }) => `${module.path}.weight`) : [];
  for (const name of [...changed, ...adapter.trainedBase]) panels.delete(name);
  return (name) => panels.has(name) ? "f32 in panels" : "f32";
}

/** An encoder, or a decoder as it is trained: packed where its file is. Throws a UsageError for a name of neither. */
async function modelOf(source: string | undefined): Promise<Model> {
  if (source === undefined) return (await knownEncoder(source)).model;
  if (isDecoderSource(source)) return (await knownDecoder(source)).model;
  if (await isFolder(source) || publishedEncoders.includes(source)) return (await knownEncoder(source)).model;
  throw unknownModel(source, [...publishedEncoders, ...publishedDecoders]);
}

/** What is learnt of such a model, and a batch of it. */
function lessonOf(
  model: Model,
  examples: number,
  length: number,
): { objective: Objective; shape: BatchShape } {
  if (!model.language) {
    const objective = classification.of(model, { texts: 1, classes: 2 });
    return { objective, shape: { examples, length, rows: 0 } };
  }
  const objective = language.of(model, { texts: 1, classes: 0 });
  const learnt = { texts: [[]], labelled: Array<boolean>(length).fill(true), label: length };
  return { objective, shape: { examples, length, rows: objective.rowsOf(Array(examples).fill(learnt)) } };
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        model: { type: "string" },
        method: { type: "string", default: "BoRA" },
        target: { type: "string", multiple: true },
        batch: { type: "string", default: "16" },
        length: { type: "string", default: "64" },
        device: { type: "string", default: "here" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const [batch, length] = (["batch", "length"] as const).map((name) => countIn(name, values[name], 1));
  const traits = await traitsOf(values.device);
  const model = await modelOf(values.model);
  if (length > (model.maxTokens ?? Infinity)) {
    throw new UsageError(`--length is ${length}, and ${model.name} reads ${model.maxTokens} tokens at most`);
  }
  const { target = model.language ? decoderTarget : defaultTarget } = values;
  const adapter = attach(model, methodByName(values.method), { target } as AttachOptions);
  const { objective, shape } = lessonOf(model, batch, length);
  const storage = storageForTraining(traits, model, adapter);
  const { graph, loss, losses } = traceStep(model, adapter, objective, shape, true, storage);
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map((node) => node.outputs[0]);
  const rows = explained(plan([loss, ...grad(losses, targets)]).nodes, traits);
  if (values.json) return console.log(JSON.stringify({ traits, products: rows }, null, 1));
  for (const { module, count, ...choice } of rows) {
    console.log(`${count > 1 ? `${count} × ` : ""}${module}\n    ${choiceText(choice)}`);
  }
}

await runCommand(main);
