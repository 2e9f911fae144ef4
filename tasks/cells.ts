/**
 * `deno task cells`: works off the list of committed tables, cell by cell, at the lowest priority. It may be
 * stopped at any time and goes on where it was.
 */

import { constants, setPriority } from "node:os";
import { parseArgs } from "node:util";
import { isFile, isFolder } from "../lib/files.ts";
import { isFetched, packagedModel } from "../lib/models/packaged_models.ts";
import { readCellTable } from "../lib/report/cell_table.ts";
import { type Arguments, readArguments } from "./reproduce/arguments.ts";
import { ForeignRecord } from "./reproduce/cells_run.ts";
import { reproduce } from "./reproduce/command.ts";
import { planOf } from "./reproduce/plan.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task cells [options]

Trains what the committed tables lack, one cell after the other, at the lowest priority, and renders their pages. Stop it at any
time: every finished cell is kept, and the next start goes on with the one that was running.

  --data DIR   folder that holds GLUE's folder as glue and LLM-Adapters' as llm-adapters; without it, their tables are left
               out, as are those of a model that was not fetched
  --list       print how many of its cells each table's record names, and stop; cells that other tables have are taken from
               the store when a table's turn comes
  --help       this text
`;

/**
 * Every committed table, in the order of its worth, as command lines of `deno task reproduce`. Math is for machines with a GPU: its
 * answers are long.
 */
function lines(data: string | undefined): readonly (readonly string[])[] {
  const miniLm = ["--model", "minilm", "--out", "results/minilm"];
  const smolLm2 = ["--model", "smollm2", "--data", `${data}/llm-adapters`];
  return [
    ["headline"],
    ["ablation"],
    ["methods"],
    ["headline", ...miniLm, "--seeds", "5"],
    ["scaling"],
    ["decoders"],
    ...data === undefined ? [] : [
      ["glue", ...miniLm, "--data", `${data}/glue`],
      ["commonsense", ...miniLm, "--data", `${data}/llm-adapters`],
      ["commonsense", ...smolLm2],
      ["commonsense", ...smolLm2, "--profile", "prompted", "--out", "results/prompted"],
    ],
    ["granularity"],
    ["rank"],
  ];
}

/** How many of the table's cells its record names. */
async function progressOf({ tables: [table], ...values }: Arguments): Promise<string> {
  const plan = planOf(table, { ...values, tables: [table] });
  const path = `${values.out}/${plan.name}.json`;
  const rows = await isFile(path) ? (await readCellTable(path)).rows : [];
  const done = rows.reduce((sum, { seeds }) => sum + seeds.length, 0);
  const { jobs } = plan.asked();
  return `${values.out}/${plan.name}: ${done} of ${jobs.length} cells`;
}

/** The packaged model that the table needs and that was not fetched, with the command that fetches it. */
async function lackingModel({ tables: [table], ...values }: Arguments): Promise<string | undefined> {
  const { source } = planOf(table, { ...values, tables: [table] });
  const packaged = packagedModel(source ?? "");
  if (!packaged || await isFetched(packaged)) return undefined;
  return `${packaged.id}: deno task models ${packaged.id}`;
}

/** Throws a UsageError where one of the folders that the tables read is not in `data`: they come after days of others. */
async function checkData(data: string): Promise<void> {
  for (const name of ["glue", "llm-adapters"]) {
    if (await isFolder(`${data}/${name}`)) continue;
    throw new UsageError(
      `${data} has no folder ${name}: give the folder that holds glue and llm-adapters, or leave --data out`,
    );
  }
}

/** Trains what the table lacks. Gives what is said against it where its record is of another experiment. */
async function refusalOf(command: Arguments): Promise<string | undefined> {
  try {
    await reproduce(command);
  } catch (error) {
    if (!(error instanceof ForeignRecord)) throw error;
    return error.message;
  }
}

await runCommand(async () => {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        data: { type: "string" },
        list: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const commands = lines(values.data).map((line) => asUsage(() => readArguments([...line, "--resume"])));
  if (values.list) {
    for (const command of commands) console.log(await progressOf(command));
    return;
  }
  if (values.data !== undefined) await checkData(values.data);
  setPriority(constants.priority.PRIORITY_LOW);
  const refused: string[] = [];
  for (const command of commands) {
    const lacking = await lackingModel(command);
    if (lacking !== undefined) {
      console.log(`Left out: ${command.out}/${command.tables[0].name}, for want of ${lacking}`);
      continue;
    }
    const refusal = await refusalOf(command);
    if (refusal !== undefined) refused.push(refusal);
  }
  if (refused.length > 0) throw new Error(`the other tables are done; left out:\n${refused.join("\n")}`);
});
