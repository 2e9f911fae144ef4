/**
 * `deno task gpu`: all that one wants to know of a GPU while it is at hand, within eight minutes, to
 * results/gpus/NAME/. `--help` lists the options.
 */

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Gpu, openGpu } from "../lib/gpu/device.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { pack } from "./gpu/pack.ts";
import { type Part, parts, type Place } from "./gpu/parts.ts";
import { earlierParts, fetchImports, folderNameOf, limitOf, runPart } from "./gpu/run_parts.ts";
import { lockFor } from "./lock.ts";
import { newFolder, outputFolder, plainPath } from "./output.ts";
import { gpuPage, type GpuRecord, type PartRecord } from "./pages/gpu.ts";
import { asUsage, numberIn, runCommand, UsageError } from "./usage.ts";

/** For all parts together, unless asked otherwise. */
const usualMinutes = 8;

const help = `deno task gpu [options]

Finds out what this library does on the GPU at hand, in ${usualMinutes} minutes at most: ${
  parts.map(({ name }) => name).join(", ")
}. Each is a command of its
own with a time limit. One that fails or runs out of time is noted with the end of what it printed, what it had written is kept,
and the rest goes on. PyTorch runs on the same GPU where python3 has it with CUDA. What the bench imports is fetched first (190 MB,
once). Exits with 1 unless all are done.

  --part NAME   only this part, keeping the others' figures of an earlier run (repeatable)
  --minutes N   for all parts together, each of which gets its share and what those before it left (default: ${usualMinutes})
  --out DIR     the folder in which there is one for each GPU, by its name (default: results/gpus)
  --pack DIR    make a folder that runs this command on a bare Linux x86_64 machine that has a GPU's driver and no network: copy it
                there and run sh DIR/run.sh. About 85 MB, in two archives of about half, so that each fits where 64 MiB may be carried
                at a time: run.sh needs both beside it
  --help        this text
`;

/** The device's limits and what else tells GPUs apart. */
async function describe(gpu: Gpu): Promise<Omit<GpuRecord, "parts">> {
  const { limits } = gpu.device;
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
  ] as const;
  return {
    schemaVersion: 1,
    environment: await describeEnvironment(gpu),
    limits: Object.fromEntries(names.map((name) => [name, limits[name]])),
    subgroupSize: gpu.traits.subgroupSize,
  };
}

const inOrder = (records: readonly PartRecord[]) =>
  parts.flatMap(({ name }) => records.filter((record) => record.name === name));

/** Runs the parts, and writes the page after each. */
async function runParts(chosen: readonly Part[], out: string, minutes: number): Promise<void> {
  const gpu = await openGpu({ autotune: false });
  const found = await describe(gpu);
  const { adapter, software } = found.environment;
  const folder = resolve(await outputFolder(`${out}/${folderNameOf(adapter)}`));
  // What is measured has the device to itself.
  gpu[Symbol.dispose]();
  using _ = await lockFor(`${folder}/gpu`);
  const place: Place = { adapter, software, folder };
  for (const part of chosen) await fetchImports(part, place);
  const deadline = performance.now() + 60_000 * minutes;
  let records = await earlierParts(`${folder}/gpu.json`, chosen, found.environment);
  for (const [i, part] of chosen.entries()) {
    const left = (deadline - performance.now()) / 1000;
    console.log(`${part.title} …`);
    const later = chosen.slice(i + 1);
    const record = await runPart(part, place, limitOf(part, later, { left, scale: minutes / usualMinutes }));
    console.log(`${part.title}: ${record.outcome}, ${record.seconds.toFixed(0)} s`);
    records = inOrder([...records, record]);
    await gpuPage.write(folder, { ...found, parts: records });
  }
  console.log(`Wrote ${folder}/gpu.md`);
  const open = records.filter(({ outcome }) => outcome !== "done").map(({ name }) => name);
  if (open.length > 0) throw new Error(`not all is done (${open.join(", ")}): the page says why`);
}

function chosenParts(names: readonly string[] = parts.map(({ name }) => name)): readonly Part[] {
  const unknown = names.find((name) => parts.every((part) => part.name !== name));
  if (unknown !== undefined) {
    throw new UsageError(`no part "${unknown}"; have ${parts.map(({ name }) => name).join(", ")}`);
  }
  return parts.filter(({ name }) => names.includes(name));
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        part: { type: "string", multiple: true },
        minutes: { type: "string" },
        out: { type: "string" },
        pack: { type: "string" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  if (values.pack !== undefined) {
    const foreign = (["part", "minutes", "out"] as const).find((name) => values[name] !== undefined);
    if (foreign) throw new UsageError(`--pack runs nothing: give --${foreign} to its run.sh`);
    return await pack(resolve(await newFolder(values.pack)));
  }
  const chosen = chosenParts(values.part);
  const minutes = numberIn("minutes", values.minutes ?? `${usualMinutes}`);
  if (!(minutes > 0 && minutes <= 1000)) {
    throw new UsageError(`--minutes wants a number above 0 and up to 1000, not "${values.minutes}"`);
  }
  await runParts(chosen, await plainPath(values.out ?? "results/gpus"), minutes);
}

await runCommand(main);
