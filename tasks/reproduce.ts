/**
 * `deno task reproduce [table…]`: fine-tunes the embedded encoder with every system of a table on the
 * embedded suite, and writes results/<table>.{json,md,svg} and a log of every step beside them. `--help`
 * lists the options.
 */

import { openGpu } from "../lib/gpu/device.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { FrozenWeights } from "../lib/train/weights.ts";
import { printEstimates } from "./estimate.ts";
import { lockFor } from "./lock.ts";
import { outputFolder, plainPath } from "./output.ts";
import { type Arguments, help, readArguments } from "./reproduce/arguments.ts";
import { planOf } from "./reproduce/plan.ts";
import type { Run } from "./run_cell.ts";
import { asUsage, runCommand } from "./usage.ts";

async function openRun(
  { profile: profileName, model: source, autotune, recompute }: Arguments,
): Promise<Run> {
  const gpu = await openGpu({ autotune });
  const environment = await describeEnvironment(gpu);
  console.log(
    `${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}; profile ${profileName}`,
  );
  const model = source === undefined ? await loadUseLite() : await loadEncoder(source);
  return { gpu, model, frozen: FrozenWeights.forTraining(gpu, model), environment, profileName, recompute };
}

async function main(): Promise<void> {
  const given = asUsage(readArguments);
  if (given.help) return console.log(help);
  const values = { ...given, out: await plainPath(given.out) };
  const plans = values.tables.map((table) => planOf(table, values));
  if (values.estimate) return await printEstimates(plans.map((plan) => plan.asked()), values);
  if (values.list) return plans.forEach((plan) => plan.list());
  await outputFolder(values.out);
  // Locked before reading files that another run may be about to change.
  using locks = new DisposableStack();
  for (const { name } of values.tables) locks.use(await lockFor(`${values.out}/${name}`));
  for (const plan of plans) await plan.prepare();
  const run = await openRun(values);
  for (const plan of plans) await plan.run(run);
}

await runCommand(main);
