/**
 * `deno task conformance`: runs every op and short training runs on every installed driver, with WebGPU's
 * default limits, each driver in its own process. Writes results/conformance.{md,json}; exits 1 when
 * something failed. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { isFile } from "../lib/files.ts";
import { conformancePage, failuresOf } from "../lib/report/conformance_page.ts";
import { type DriverRecord, readConformance } from "../lib/report/conformance_schema.ts";
import { referenceLosses, trainingCases } from "./conformance/run.ts";
import { type Driver, drivers, recordsWith } from "./conformance/drivers.ts";
import { outputFolder } from "./output.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task conformance [options]

  --driver ID      run only this driver and keep the others' results in DIR (repeatable): ${
  drivers.map(({ id }) => id).join(", ")
}
  --out DIR        where to write conformance.md and conformance.json (default: results)
  --help           this text
`;

/** Runs one driver, in a process with the environment variables it needs, and returns its record. */
async function recordOf({ id, name, compiler, toGet, isLocked, find }: Driver): Promise<DriverRecord> {
  const env = await find();
  if (!env) return { name, compiler, missing: toGet };
  const path = await Deno.makeTempFile();
  const module = new URL("conformance/one_driver.ts", import.meta.url).href;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", isLocked ? "--cached-only" : "--no-lock", module, id, path],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = await Deno.readTextFile(path);
  await Deno.remove(path);
  if (code === 0) return { name, compiler, ...JSON.parse(text) };
  return { name, compiler, broken: `exit code ${code}\n${new TextDecoder().decode(stderr).trim()}` };
}

/** A line with a driver's result. */
function lineOf(record: DriverRecord): string {
  if ("missing" in record) return `not here. ${record.missing}`;
  if ("broken" in record) return record.broken;
  const { cases, training, seconds } = record.run;
  const failed = failuresOf(record.run).length;
  return `${cases.length} cases and ${training.length} training runs in ${
    seconds.toFixed(0)
  } s, ${failed} failed`;
}

const passed = (record: DriverRecord) =>
  "missing" in record || "run" in record && failuresOf(record.run).length === 0;

function readArguments(): { help: boolean; out: string; chosen: readonly Driver[] } {
  const { values } = asUsage(() =>
    parseArgs({
      args: Deno.args,
      options: {
        driver: { type: "string", multiple: true },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  const ids = values.driver ?? drivers.map(({ id }) => id);
  const unknown = ids.find((id) => drivers.every((driver) => driver.id !== id));
  if (unknown !== undefined) {
    throw new UsageError(`no driver "${unknown}"; have ${drivers.map(({ id }) => id).join(", ")}`);
  }
  return { ...values, chosen: drivers.filter(({ id }) => ids.includes(id)) };
}

/** The records of an earlier run, whose drivers may be those of other machines. */
async function earlierRecords(path: string): Promise<readonly DriverRecord[]> {
  return await isFile(path) ? (await readConformance(path)).drivers : [];
}

await runCommand(async () => {
  const options = readArguments();
  if (options.help) return console.log(help);
  const out = await outputFolder(options.out);
  const json = `${out}/conformance.json`;
  const reference = Object.fromEntries(trainingCases.map((own) => [own.name, referenceLosses(own)]));
  let sound = true;
  for (const driver of options.chosen) {
    console.log(`${driver.name} …`);
    const own = await recordOf(driver);
    console.log(`${driver.name}: ${lineOf(own)}`);
    sound &&= passed(own);
    const records = recordsWith(own, await earlierRecords(json));
    await conformancePage.write(out, { schemaVersion: 1, reference, drivers: records });
  }
  console.log(`Wrote ${out}/conformance.md`);
  if (!sound) throw new Error("something failed: the page says what");
});
