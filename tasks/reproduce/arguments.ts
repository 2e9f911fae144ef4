/** The command line of `deno task reproduce`: its help and its parser. */

import { parseArgs } from "node:util";
import { families, tasks } from "../../lib/data/registry.ts";
import { packings, type WritablePacking } from "../../lib/graph/storages/registry.ts";
import { packingOf } from "../packing.ts";
import { isNamed } from "../planned_cells.ts";
import { isStudy } from "../report_table.ts";
import { tableByName, tables } from "../tables/registry.ts";
import type { Study, Table } from "../tables/table.ts";
import { UsageError } from "../usage.ts";
import { isDecoderSource } from "./model_kind.ts";

/** What `--help` prints. */
export const help = `deno task reproduce [table…] [options]

Tables (default: ${tables[0].name}):
${tables.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

  --profile NAME   how much to run: smoke (seconds) or default (first-table: ≤ 10 minutes on 2 cores; the others: hours);
                   approximation, glue, and commonsense by an encoder have full as well: more than default; glue, commonsense
                   and math paper: the published protocol on all data; commonsense by a decoder prompted: LLM-Adapters'
                   prompts in place of a cloze, by likelihood and by what is written
  --model SOURCE   use this model instead of the embedded encoder, or of smollm2 in tables for decoders: a folder, a .gguf file,
                   minilm or smollm2 (deno task models fetches them), or an id of the Hugging Face hub. Of commonsense there is
                   a table for encoders and one for decoders: the model decides
  --data DIR       folder with the data sets for glue, commonsense and math
  --task NAME      run only this task (repeatable): ${tasks.map(({ name }) => name).join(", ")}
                   with --data: ${families.flatMap(({ tasks }) => tasks).join(", ")}
  --method NAME    run only the rows with this label or method (repeatable); --list prints the labels
  --r R            run every row at this rank, with its own α/r and learning rate (repeatable)
  --b B            run every row that has blocks with this number of blocks, or auto (repeatable)
  --seeds N        use seeds 0 … N−1 instead of the profile's
  --shard I/N      run only the I-th of N parts of the cells: on N machines, each with its own --out, merged by deno task
                   report; or one after the other into the same --out, with --resume
  --out DIR        where to write (default: results for the default profile, results/NAME for profile NAME)
  --resume         keep the finished cells in DIR/cells, resume the one that was stopped, and run the rest
  --checkpoint-every N  steps between checkpoints of the running cell, the most that a stop can lose (default: 50)
  --autotune       time the kernels of the matrix products for at most 10 seconds and use the fastest; the choice is stored in
                   the user's cache folder and does not change any bit of the results. On a GPU this is the default
  --no-autotune    do not
  --packing NAME   packs the model's matrices on their way to the GPU, which rounds their values: ${
  packings.join(", ")
}
  --recompute      gradient checkpointing: keep only each layer's input and compute the rest again: less memory, the same bits
  --tune           try a grid of learning rates on a held-out part of the first task's train, and print the best
  --list           print the cells and stop, with --estimate before that. Needs no data: --data may be left out
  --estimate       print each cell's steps, FLOPs, memory and hours, and what does not fit, and stop. Needs neither weights
                   nor data: --model may be an id such as roberta-base or llama-3-8b, and --data may be left out
  --rate TFLOPS    the GPU's speed for --estimate's hours (default: measured here with a matrix product; of decoders on a
                   software driver an assumption, which is printed)
  --memory GIB     the GPU's memory for --estimate (default: for a software driver the host's free memory; of decoders 24, 48
                   and 80)
  --json           print the estimates as JSON
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
  autotune: { type: "boolean" },
  packing: { type: "string" },
  recompute: { type: "boolean", default: false },
  tune: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  estimate: { type: "boolean", default: false },
  rate: { type: "string" },
  memory: { type: "string" },
  json: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

const parse = (args: string[]) => parseArgs({ args, allowPositionals: true, allowNegative: true, options });
type Values = ReturnType<typeof parse>["values"];

/** The parsed command line: the options by name, and the tables, each once. */
export type Arguments = Omit<Values, "packing"> & {
  readonly out: string;
  readonly packing: WritablePacking | undefined;
  readonly tables: readonly (Table | Study)[];
};

/** Parses the command line. Throws an Error that names the mistake and what is allowed. */
export function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse([...args]);
  const names = positionals.length > 0 ? new Set(positionals) : [tables[0].name];
  if (values.model === "") throw new UsageError("--model is empty: name a model, or leave it out");
  if (values.data === "") throw new UsageError("--data is empty: name a folder, or leave it out");
  const forDecoder = values.model !== undefined && isDecoderSource(values.model);
  const chosen = [...names].map((name) => tableByName(name, forDecoder));
  checkNumbers(values);
  checkModes(values);
  if (values.tune) checkTuning(values);
  if (forDecoder) refuseEncoders(values, chosen);
  const made = chosen.filter((table): table is Table => !isStudy(table));
  if (values.data !== undefined && !made.some(({ data }) => data)) refuseData(chosen);
  if (values.method && made.length > 0) checkMethods(values.method, made);
  const { packing, out = folderOf(values.profile) } = values;
  return { ...values, packing: packingOf(packing), out, tables: chosen };
}

function checkNumbers(values: Values): void {
  for (const name of ["seeds", "checkpoint-every"] as const) {
    const value = values[name];
    if (value !== undefined && !/^[1-9]\d{0,5}$/.test(value)) {
      throw new UsageError(`--${name} wants a whole number from 1 to 999999, not "${value}"`);
    }
  }
}

/** Checks the options that replace running the cells, and the options that belong to only one of them. */
function checkModes(values: Values): void {
  const { list, estimate, tune, rate, memory, json } = values;
  if (list && json) throw new UsageError("--json prints the estimate alone: leave --list out");
  if (tune && (list || estimate)) {
    const shown = list ? "list" : "estimate";
    throw new UsageError(`--tune runs what --${shown} would only print: give one of them`);
  }
  if (estimate) return;
  const alone = Object.entries({ rate, memory, json: json || undefined }).find(([, own]) =>
    own !== undefined
  );
  if (alone) throw new UsageError(`--${alone[0]} goes with --estimate`);
}

/** Checks the options that choose what would not be tuned. */
function checkTuning({ shard, task = [], r, b }: Values): void {
  if (shard !== "1/1") {
    throw new UsageError(
      "--tune compares all rates of a row: leave --shard out, and share its rows out by --method",
    );
  }
  if (new Set(task).size > 1) throw new UsageError("--tune chooses by one task: name one --task");
  if (r || b) {
    throw new UsageError(
      "--tune is for rows with a rate of their own, which they have at every rank: leave --r and --b out",
    );
  }
}

/** Throws a UsageError for a table that is not for decoders. */
function refuseEncoders({ model }: Values, chosen: readonly (Table | Study)[]): void {
  const isForDecoders = (table: Table | Study) => !isStudy(table) && table.decoder !== undefined;
  const foreign = chosen.find((table) => !isForDecoders(table));
  if (!foreign) return;
  const others = tables.filter(isForDecoders).map(({ name }) => name).join(", ");
  throw new UsageError(
    `${foreign.name} is for encoders, and ${model} is a decoder; tables for decoders: ${others}`,
  );
}

/** Throws a UsageError for --data beside tables that read none. */
function refuseData(chosen: readonly (Table | Study)[]): never {
  const namesOf = (some: readonly (Table | Study)[]) => [...new Set(some.map(({ name }) => name))].join(", ");
  const readers = namesOf(tables.filter((table) => !isStudy(table) && table.data));
  throw new UsageError(`no --data is read by ${namesOf(chosen)}; it is for ${readers}: leave it out`);
}

/** Throws a UsageError for a row that no table has, and for a table that has none of the rows. */
function checkMethods(names: readonly string[], chosen: readonly Table[]): void {
  const rows = chosen.flatMap((table) => table.rows);
  const unknown = names.find((name) => !rows.some((row) => isNamed(row, name)));
  if (unknown !== undefined) {
    throw new UsageError(`no system "${unknown}"; have ${rows.map(({ label }) => label).join(", ")}`);
  }
  const without = chosen.find(({ rows }) => !rows.some((row) => names.some((name) => isNamed(row, name))));
  if (without) {
    throw new UsageError(
      `${without.name} has none of the rows that --method names: leave the table out; it has ${
        without.rows.map(({ label }) => label).join(", ")
      }`,
    );
  }
}

/** The folder for a profile's results. A quick run must not replace the tables in the repository. */
function folderOf(profile: string): string {
  return profile === "default" ? "results" : `results/${profile}`;
}
