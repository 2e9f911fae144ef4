/** The command line of `deno task reproduce`: its help, and what is read of it. */

import { parseArgs } from "node:util";
import { families, tasks } from "../../lib/data/registry.ts";
import { isNamed } from "../cells.ts";
import { isStudy } from "../report_table.ts";
import { tableByName, tables } from "../tables/registry.ts";
import type { Study, Table } from "../tables/table.ts";
import { UsageError } from "../usage.ts";

/** What `--help` prints. */
export const help = `deno task reproduce [table…] [options]

Tables (default: ${tables[0].name}):
${tables.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

  --profile NAME   smoke (seconds), default (first-table: ≤ 10 minutes on 2 cores), full (hours);
                   glue and commonsense also have paper: the published protocol on all of the data
  --model SOURCE   an encoder of Hugging Face's, by folder or hub id, in place of the embedded one
  --data DIR       the folder of the data sets that glue and commonsense read
  --task NAME      only this task (repeatable): ${tasks.map(({ name }) => name).join(", ")}
                   with --data: ${families.flatMap(({ tasks }) => tasks).join(", ")}
  --method NAME    only the rows of this label or method (repeatable); --list prints the labels
  --r R            every row at this rank, at its own α/r and learning rate (repeatable)
  --b B            every row that has blocks at this number of them, or auto (repeatable)
  --seeds N        seeds 0 … N−1 instead of the profile's
  --shard I/N      only the I-th of N parts of the cells, for N machines, each with its own --out, which deno task report
                   merges; or one after the other into one --out, with --resume
  --out DIR        where to write (default: results, whose files are the default profile's; results/NAME of another one)
  --resume         keep the finished cells of DIR's files, go on with the one that was stopped, and run the rest
  --checkpoint-every N  steps from one checkpoint of the running cell to the next (default: 50): what a stop can cost
  --autotune       time the kernels of the products for 10 seconds at most and take the fastest, which are kept in the user's
                   cache folder; changes no bit of the results
  --recompute      keep only each layer's input until the backward pass and compute the rest again: less memory, the same bits
  --tune           try the learning-rate grid on a held-out part of train and print the choice
  --list           print the cells and stop
  --estimate       print with each cell its steps, FLOPs, memory and hours, and what does not fit, and stop; wants neither
                   weights nor data: --model may be an id such as roberta-base, --data may be left out
  --rate TFLOPS    the GPU's, for --estimate's hours (default: a product's, measured here)
  --memory GIB     the GPU's, for --estimate (default: the host's, of a software driver)
  --json           the estimates as JSON
  --help           this text
`;

const options = {
  profile: { type: "string", default: "default" },
  model: { type: "string" },
  data: { type: "string" },
  task: { type: "string", multiple: true },
  method: { type: "string", multiple: true },
  r: { type: "string", multiple: true },
  b: { type: "string", multiple: true },
  seeds: { type: "string" },
  shard: { type: "string", default: "1/1" },
  out: { type: "string" },
  resume: { type: "boolean", default: false },
  "checkpoint-every": { type: "string", default: "50" },
  autotune: { type: "boolean", default: false },
  recompute: { type: "boolean", default: false },
  tune: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  estimate: { type: "boolean", default: false },
  rate: { type: "string" },
  memory: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

const parse = () => parseArgs({ args: Deno.args, allowPositionals: true, options });
type Values = ReturnType<typeof parse>["values"];

/** What is asked for: the options by name, and the tables, each once. */
export type Arguments = Values & { readonly out: string; readonly tables: readonly (Table | Study)[] };

/** The command line's arguments. Throws an Error that says which of them is a mistake, and what there is. */
export function readArguments(): Arguments {
  const { values, positionals } = parse();
  const names = positionals.length > 0 ? new Set(positionals) : [tables[0].name];
  const chosen = [...names].map(tableByName);
  checkNumbers(values);
  checkModes(values);
  checkMethods(values, chosen);
  return { ...values, out: values.out ?? folderOf(values.profile), tables: chosen };
}

function checkNumbers(values: Values): void {
  for (const name of ["seeds", "checkpoint-every"] as const) {
    const value = values[name];
    if (value !== undefined && !/^[1-9]\d*$/.test(value)) {
      throw new UsageError(`--${name} wants a whole number from 1, not "${value}"`);
    }
  }
}

/** What is done instead of running the cells, and the options that only one of these has. */
function checkModes(values: Values): void {
  const shown = (["list", "estimate"] as const).find((name) => values[name]);
  if (shown && values.tune) {
    throw new UsageError(`--tune runs what --${shown} would only print: give one of them`);
  }
  for (const name of ["rate", "memory", "json"] as const) {
    if (values[name] && !values.estimate) throw new UsageError(`--${name} goes with --estimate`);
  }
}

function checkMethods({ method: names = [] }: Values, chosen: readonly (Table | Study)[]): void {
  const rows = chosen.flatMap((table) => isStudy(table) ? [] : table.rows);
  const unknown = names.find((name) => !rows.some((row) => isNamed(row, name)));
  if (unknown !== undefined) {
    throw new UsageError(`no system "${unknown}"; have ${rows.map(({ label }) => label).join(", ")}`);
  }
}

/** Where a profile's results go: a quick look must not replace the tables that the repository holds. */
function folderOf(profile: string): string {
  return profile === "default" ? "results" : `results/${profile}`;
}
