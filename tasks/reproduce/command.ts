/** What `deno task reproduce` does with a command line. */

import { digestOf } from "../../lib/digest.ts";
import { openGpu } from "../../lib/gpu/device.ts";
import { fingerprintsOf } from "../../lib/models/fingerprint.ts";
import type { WritablePacking } from "../../lib/graph/storages/registry.ts";
import { loadModel } from "../../lib/models/load_model.ts";
import type { Model } from "../../lib/models/model.ts";
import { packModel } from "../../lib/models/packing.ts";
import { loadUseLite } from "../../lib/models/use_lite.ts";
import { describeEnvironment } from "../../lib/report/environment.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { type AskedTable, printEstimates } from "../estimate.ts";
import { printDecoderEstimates } from "../estimate_decoders.ts";
import { lockFor } from "../lock.ts";
import { outputFolder, plainPath } from "../output.ts";
import type { Run } from "../run_cell.ts";
import { UsageError } from "../usage.ts";
import type { Arguments } from "./arguments.ts";
import { planOf } from "./plan.ts";

/** Opens the device and the model. Disposing of `resources` frees both. */
async function openRun(
  { profile: profileName, autotune, recompute, packing }: Arguments,
  source: string | undefined,
  resources: DisposableStack,
): Promise<Run> {
  const gpu = resources.use(await openGpu({ autotune }));
  const environment = await describeEnvironment(gpu);
  console.log(
    `${environment.adapter}, ${environment.cpus} CPUs, ${environment.runtime}; profile ${profileName}`,
  );
  const model = await modelOf(source, packing);
  const modelDigest = await digestOf([...fingerprintsOf(model)]);
  const frozen = resources.use(FrozenWeights.forTraining(gpu, model));
  return { gpu, model, modelDigest, frozen, environment, profileName, recompute };
}

/**
 * The model, its GGUF blocks unpacked: some methods compute with the values of the base, and all rows are to have the same ones. With a
 * packing it is packed anew.
 */
async function modelOf(source: string | undefined, packing: WritablePacking | undefined): Promise<Model> {
  if (source !== undefined) return await loadModel(source, { unpack: true, packing });
  const useLite = await loadUseLite();
  return packing ? packModel(useLite, packing) : useLite;
}

/** Prints the estimates of encoders' or of decoders' tables. Throws a UsageError where both are asked for. */
async function estimate(asked: readonly AskedTable[], values: Arguments): Promise<void> {
  const isDecoders = ({ table }: AskedTable) => table.decoder !== undefined;
  if (asked.every(isDecoders)) return await printDecoderEstimates(asked, values);
  if (!asked.some(isDecoders)) return await printEstimates(asked, values);
  throw new UsageError("tables for encoders and for decoders are estimated apart: ask for one kind");
}

/** Lists, estimates, tunes or runs the tables' cells, as the command line says. */
export async function reproduce(given: Arguments): Promise<void> {
  const values = { ...given, out: await plainPath(given.out) };
  const all = values.tables.map((table) => planOf(table, values));
  const [empty, plans] = [true, false].map((isEmpty) => all.filter((plan) => plan.isEmpty === isEmpty));
  for (const { name } of empty) console.error(`${name}: none of its cells is in part ${values.shard}`);
  if (plans.length === 0) return;
  if (values.list) plans.forEach((plan) => plan.list());
  if (values.list && values.estimate) console.log();
  if (values.estimate) await estimate(plans.map((plan) => plan.asked()), values);
  if (values.list || values.estimate) return;
  await outputFolder(values.out);
  // Locked before reading files that another run may be about to change.
  using locks = new DisposableStack();
  for (const { name } of plans) locks.use(await lockFor(`${values.out}/${name}`));
  for (const plan of plans) await plan.prepare();
  for (const [source, own] of Map.groupBy(plans, ({ source }) => source)) {
    using resources = new DisposableStack();
    const run = await openRun(values, source, resources);
    for (const plan of own) await plan.run(run);
  }
}
