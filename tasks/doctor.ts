/**
 * `deno task doctor`: this machine's adapter, its speed, and which models fit. Without an adapter it prints
 * how to get one and exits with 1.
 */

import { parseArgs } from "node:util";
import { measureRates, type Rates } from "../lib/analysis/rates.ts";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { bytesText } from "../lib/show.ts";
import { columns, withPrefix } from "./columns.ts";
import { batches, fitsOf, lengths, type ModelFit, modelsToFit } from "./fits.ts";
import { type Room, roomOf } from "./machine.ts";
import { suiteBatchSize } from "./training.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task doctor [options]

Shows the WebGPU adapter, its driver, limits, features and speed, and what can be fine-tuned on it. Takes a few seconds.
Exits with 1 if there is no adapter.

  --memory GIB     the GPU's memory, which WebGPU does not report (default: for a software driver the host's free memory)
  --json           print JSON
  --help           this text
`;

/** Everything that the doctor finds out. */
interface Findings {
  readonly adapter: string;
  readonly software: boolean;
  readonly driver?: string;
  readonly runtime: string;
  readonly system: string;
  readonly cpus: number;
  readonly timestamps: boolean;
  /** Lanes per subgroup; 0 if kernels cannot use subgroups. */
  readonly subgroupSize: number;
  readonly limits: ReturnType<typeof limitsOf>;
  readonly room: Room;
  readonly rates: Rates;
  readonly models: readonly ModelFit[];
  readonly next: Next;
}

/** A suggested command, and what it does. */
interface Next {
  readonly command: string;
  readonly does: string;
}

/** The limits that matter for large models. */
function limitsOf({ limits }: GPUDevice) {
  return {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
  };
}

async function examine(gpu: Gpu, memory: string | undefined): Promise<Findings> {
  const room = asUsage(() => roomOf(gpu, memory));
  const models: ModelFit[] = [];
  for (const model of await modelsToFit()) models.push(await fitsOf(gpu.traits, model, room));
  const { adapter, driver, software, runtime, system, cpus } = await describeEnvironment(gpu);
  return {
    ...{ adapter, software, driver, runtime, system, cpus },
    timestamps: gpu.device.features.has("timestamp-query"),
    subgroupSize: gpu.traits.subgroupSize,
    limits: limitsOf(gpu.device),
    room,
    rates: await measureRates(gpu),
    models,
    next: nextOf(software, models),
  };
}

/** The command to run first on this machine. */
function nextOf(software: boolean, models: readonly ModelFit[]): Next {
  const batchOf = (name: string, length: number) =>
    models.find(({ model }) => model === name)!.fits.find((fit) => fit.length === length)!.batch ?? 0;
  if (batchOf("USE-lite", 64) < suiteBatchSize) {
    return { command: "deno task reproduce --profile smoke", does: "the whole path in seconds" };
  }
  if (software || batchOf("roberta-base", 128) < suiteBatchSize) {
    return { command: "deno task reproduce", does: "the first table, under ten minutes on 2 cores" };
  }
  return {
    command: "deno task reproduce glue --model roberta-base --profile paper --estimate",
    does: "what the paper's GLUE table takes here, cell by cell",
  };
}

const unknownMemory = "not told by WebGPU: give --memory GIB to hold it against what follows";

function textOf(found: Findings): string {
  const { adapter, software, driver, runtime, system, cpus, limits, room, rates, models, next } = found;
  const facts: [string, string][] = [
    ["Adapter", `${adapter}${software ? ", a software driver" : ""}`],
    ["Driver", driver ?? "not known here"],
    ["Runtime", `${runtime}, ${system}, ${cpus} CPUs`],
    [
      "Features",
      `timestamps ${found.timestamps ? "yes" : "no"}, subgroups ${
        found.subgroupSize ? `of ${found.subgroupSize} lanes` : "no"
      }`,
    ],
    [
      "Limits",
      `buffer ${bytesText(limits.maxBufferSize)}, binding ${
        bytesText(limits.maxStorageBufferBindingSize)
      }, ${limits.maxStorageBuffersPerShaderStage} storage buffers`,
    ],
    [
      "Workgroups",
      `${limits.maxComputeInvocationsPerWorkgroup} invocations, ${
        limits.maxComputeWorkgroupStorageSize / 1024
      } KiB`,
    ],
    ["Memory", room.memoryBytes ? `${bytesText(room.memoryBytes)}, ${room.memoryFrom}` : unknownMemory],
    ["Products", `${withPrefix(rates.flopsPerSecond, "FLOP/s")}, f32, measured now`],
    ["Bandwidth", `${withPrefix(rates.bytesPerSecond, "B/s")}, adding two arrays`],
  ];
  const rows = models.map(({ model, fits }) => [
    model,
    ...fits.flatMap(({ batch, peakBytes }) =>
      batch === undefined ? ["none", ""] : [`${batch}`, bytesText(peakBytes!)]
    ),
  ]);
  const header = ["model", ...lengths.flatMap((length) => [`${length} tokens`, "memory"])];
  return `${columns(facts, [])}

Largest batch that can be fine-tuned here, up to ${
    batches.at(-1)
  }, and its memory (LoRA r 8 on query and value):

${columns([header, ...rows], lengths.flatMap((_, i) => [1 + 2 * i, 2 + 2 * i]))}

smollm2 and LLaMA are decoders: their weights are packed, every token is learnt, and layers are recomputed in the backward
pass (--packing and --recompute of deno task finetune).

Next: ${next.command}
      ${next.does}`;
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        memory: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  using gpu = await openGpu();
  const found = await examine(gpu, values.memory);
  console.log(values.json ? JSON.stringify(found, null, 1) : textOf(found));
}

await runCommand(main);
