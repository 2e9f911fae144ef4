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

  --data DIR   folder that holds GLUE's folder as glue, LLM-Adapters' as llm-adapters, or both; tables of what is not there
               are left out, as are those of a model that was not fetched
  --list       print how many of its cells each table's record names, or why it is left out, and stop; cells that other tables
               have are taken from the store when a table's turn comes
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
    ["headline", ...miniLm],
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

/** The plan of a command's one table. */
function planFor(command: Arguments) {
  return planOf(command.tables[0], command);
}

/** Where the table is written, without an ending. */
function pathOf(command: Arguments): string {
  return `${command.out}/${planFor(command).name}`;
}

/** How many of the table's cells its record names. */
async function progressOf(command: Arguments): Promise<string> {
  const path = pathOf(command);
  const rows = await isFile(`${path}.json`) ? (await readCellTable(`${path}.json`)).rows : [];
  const named = new Set(
    rows.flatMap(({ task, label, seeds }) => seeds.map((seed) => cellName(task, label, seed))),
  );
  const { jobs } = planFor(command).asked();
  const done = jobs.filter(({ task, row, seed }) => named.has(cellName(task.name, row.label, seed)));
  return `${path}: ${done.length} of ${jobs.length} cells`;
}

const cellName = (task: string, row: string, seed: number) => JSON.stringify([task, row, seed]);

/** What the table needs and is not there: its folder of data, or a packaged model with the command that fetches it. */
async function lackedBy(command: Arguments): Promise<string | undefined> {
  if (command.data !== undefined && !await isFolder(command.data)) return command.data;
  const packaged = packagedModel(planFor(command).source ?? "");
  if (!packaged || await isFetched(packaged)) return undefined;
  return `${packaged.id}: deno task models ${packaged.id}`;
}

/** Throws a UsageError where `data` has nothing that a table reads: the tables come after days of others. */
async function checkData(data: string): Promise<void> {
  for (const name of ["glue", "llm-adapters"]) if (await isFolder(`${data}/${name}`)) return;
  throw new UsageError(
    `${data} has neither a folder glue nor llm-adapters: give the folder that holds them, or leave --data out`,
  );
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
  if (values.data !== undefined) await checkData(values.data);
  const leftOut = async (command: Arguments) => {
    const lacked = await lackedBy(command);
    return lacked && `left out, for want of ${lacked}`;
  };
  if (values.list) {
    for (const command of commands) {
      const parts = [await progressOf(command), await leftOut(command)];
      console.log(parts.filter((part) => part !== undefined).join("; "));
    }
    return;
  }
  setPriority(constants.priority.PRIORITY_LOW);
  const refused: string[] = [];
  for (const command of commands) {
    const reason = await leftOut(command);
    if (reason !== undefined) {
      console.log(`${pathOf(command)}: ${reason}`);
      continue;
    }
    const refusal = await refusalOf(command);
    if (refusal !== undefined) refused.push(refusal);
  }
  if (refused.length > 0) throw new Error(`the other tables are done; left out:\n${refused.join("\n")}`);
});
