/** Plans what `deno task reproduce` does with one table. */

import { existsSync } from "node:fs";
import type { CellTable } from "../../lib/report/cell_table.ts";
import { jobsOf, profileOf, shardOf, tasksOf } from "../planned_cells.ts";
import type { AskedTable } from "../estimate.ts";
import { isStudy, pageNameOf } from "../report_table.ts";
import type { Run } from "../run_cell.ts";
import { atSizes } from "../sizes.ts";
import type { Study, Table } from "../tables/table.ts";
import { tune, tunedRows } from "../tune.ts";
import { asUsage, UsageError } from "../usage.ts";
import type { Arguments } from "./arguments.ts";
import { earlierTable, runCells } from "./cells_run.ts";

/** A table as the command line asks for it. */
export interface Plan {
  /** The model that it is run on; undefined for the embedded encoder. */
  readonly source: string | undefined;
  /** The start of its files' names. */
  readonly name: string;
  /** Whether nothing of it is in the part that --shard names. */
  readonly isEmpty: boolean;
  list(): void;
  /** What to estimate. Throws a UsageError if it is not made of cells. */
  asked(): AskedTable;
  /** Reads the results of an earlier run, before anything runs. */
  prepare(): Promise<void>;
  run(run: Run): Promise<void>;
}

/** The plan of a table or a study. Throws a UsageError for options that it does not support. */
export function planOf(table: Table | Study, values: Arguments): Plan {
  return isStudy(table) ? planOfStudy(table, values) : planOfTable(table, values);
}

function planOfTable(asked: Table, values: Arguments): Plan {
  const { table, profile } = asUsage(() =>
    atSizes({ table: asked, profile: profileOf(asked, values) }, values)
  );
  // Neither an estimate nor a list reads the files.
  const data = values.data ?? (values.estimate || values.list ? "" : undefined);
  const tasks = asUsage(() => tasksOf(table, profile, data));
  if (values.tune && profile.tests) {
    throw new UsageError(
      `${table.name} has the rates of the table decoders, or its protocol's; leave --tune out`,
    );
  }
  if (values.tune && tunedRows(table, profile).length === 0) {
    throw new UsageError(`${table.name}: these rows have another row's rate, or none; leave --tune out`);
  }
  const shard = shardOf(values);
  const jobs = jobsOf(table, profile, tasks, shard);
  const source = values.model ?? table.decoder;
  const name = fileNameOf(table, source);
  let earlier: CellTable | undefined;
  return {
    source,
    name,
    isEmpty: jobs.length === 0,
    list() {
      for (const { task, row, seed } of jobs) {
        const tests = task.tests ? `, tested on ${task.tests.sets.join(", ")}` : "";
        console.log(`${table.name} / ${task.name}${tests} / ${row.label} / seed ${seed}`);
      }
    },
    asked: () => ({ source, table, profile, jobs }),
    async prepare() {
      const path = `${values.out}/${name}.json`;
      if (values.resume) earlier = await earlierTable(path);
      else if (shard[1] > 1 && !values.tune && existsSync(path)) {
        throw new UsageError(
          `${path} may hold another part's cells, and --shard would replace them: add --resume to keep them, or use another --out`,
        );
      }
    },
    run(given) {
      const run = { ...given, recompute: given.recompute || profile.recompute === true };
      const { out, resume, "checkpoint-every": every } = values;
      const files = { out, name, resume, every: Number(every) };
      return values.tune
        ? tune(run, table, profile, tasks, files)
        : runCells(run, table, profile, jobs, earlier, files);
    },
  };
}

/** The start of the names of a table's files. A decoder is called by the last part of its id or path. */
function fileNameOf(table: Table, source: string | undefined): string {
  if (table.decoder === undefined) return table.name;
  const model = (source!.split(/[/\\]/).findLast((part) => part !== "") ?? "").replace(/\.gguf$/i, "");
  return pageNameOf(table) + model.toLowerCase().replaceAll(/[^\p{L}\p{N}.]+/gu, "-");
}

function planOfStudy(study: Study, values: Arguments): Plan {
  const { profile, tune, shard, r, b, out, model } = values;
  if (!study.profiles.includes(profile)) {
    throw new UsageError(`${study.name} has no profile "${profile}"; it has ${study.profiles.join(", ")}`);
  }
  if (tune) throw new UsageError(`${study.name} tunes its own learning rates; leave --tune out`);
  if (r || b) throw new UsageError(`${study.name} has its own ranks and blocks; leave --r and --b out`);
  const foreign = (["task", "method", "seeds"] as const).find((name) => values[name]);
  if (foreign) {
    throw new UsageError(`${study.name} has its own tasks, rows and seeds; leave --${foreign} out`);
  }
  if (shard !== "1/1") throw new UsageError(`${study.name} is not made of cells; leave --shard out`);
  return {
    source: model,
    name: study.name,
    isEmpty: false,
    list: () => console.log(`${study.name} / ${study.title}`),
    asked() {
      throw new UsageError(`${study.name} is not made of cells; leave --estimate out`);
    },
    prepare: () => Promise.resolve(),
    run: (run) => study.run(run, out),
  };
}
