/** Finds the cells of a table that a command line asks for. */

import { taskByName, taskFrom } from "../lib/data/registry.ts";
import type { Example, Split, Task } from "../lib/data/task.ts";
import type { Job } from "./run_cell.ts";
import type { Profile, Row, Table } from "./tables/table.ts";
import { UsageError } from "./usage.ts";

/** The part of a table that is asked for. */
export interface Choice {
  readonly profile: string;
  /** Tasks to run in place of the profile's; `method` likewise lists rows, by label or method. */
  readonly task?: readonly string[];
  readonly method?: readonly string[];
  readonly seeds?: string;
  /** `i/n`: the i-th of n parts. */
  readonly shard: string;
}

/** True if `--method name` selects the row. */
export function isNamed({ label, method }: Row, name: string): boolean {
  return label === name || method === name;
}

/** A table's profile, with the command line's changes. */
export function profileOf(
  { name: table, profiles, rows, decoder }: Table,
  { profile: name, task, method, seeds }: Choice,
): Profile {
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (!profile) {
    throw new UsageError(`${table} has no profile "${name}"; it has ${Object.keys(profiles).join(", ")}`);
  }
  const own = new Set(Object.values(profiles).flatMap(({ tasks }) => tasks));
  const foreign = decoder ? task?.find((name) => !own.has(name)) : undefined;
  if (foreign) {
    throw new UsageError(
      `the table ${table} for decoders has no task "${foreign}"; it has ${[...own].join(", ")}`,
    );
  }
  return {
    ...profile,
    tasks: task ? [...new Set(task)] : profile.tasks,
    rows: method
      ? rows.filter((row) => method.some((name) => isNamed(row, name))).map(({ label }) => label)
      : profile.rows,
    ...(seeds === undefined ? {} : { seeds: Number(seeds), moreSeeds: {} }),
  };
}

/** Parses `--shard i/n` as [i − 1, n]. */
export function shardOf({ shard }: Choice): readonly [part: number, of: number] {
  const [, part, of] = shard.match(/^([1-9]\d*)\/([1-9]\d*)$/)?.map(Number) ?? [];
  if (!(part <= of)) throw new UsageError(`--shard wants I/N with 1 ≤ I ≤ N, such as 2/4, not "${shard}"`);
  return [part - 1, of];
}

export function rowsOf({ rows }: Table, profile: Profile): Row[] {
  return rows.filter(({ label }) => profile.rows?.includes(label) ?? true);
}

/** The profile's tasks, from the embedded suite or from `--data`. Throws a UsageError for those that the table's models cannot learn. */
export function tasksOf(table: Table, { tasks, tests }: Profile, data: string | undefined): Task[] {
  if (!table.data) {
    const found = tasks.map(taskByName);
    const written = table.decoder === undefined && found.find(({ objective }) => objective === "language");
    if (written) {
      throw new UsageError(`${table.name} is for encoders, and ${written.name} a task for decoders`);
    }
    return found;
  }
  if (data === undefined) throw new UsageError(`${table.name} wants --data DIR: ${table.data.folder}`);
  const { task } = table.data;
  return tasks.map((name) => task ? task(name, data, tests!) : taskFrom(name, data));
}

/** A cell whose training settings are not known yet. */
export type PlannedJob = Omit<Job, "training">;

/**
 * The cells of a shard. Seeds are the outermost loop, so that an interrupted run has all rows with fewer
 * seeds. A shard takes every n-th cell.
 */
export function jobsOf(
  table: Table,
  profile: Profile,
  tasks: readonly Task[],
  [part, of]: readonly [part: number, of: number],
): PlannedJob[] {
  const { seeds, moreSeeds = {} } = profile;
  const rows = rowsOf(table, profile);
  const seedsOf = ({ label, untrained }: Row) => untrained ? 1 : Math.max(seeds, moreSeeds[label] ?? 0);
  return Array.from(
    { length: Math.max(...rows.map(seedsOf)) },
    (_, seed) =>
      tasks.flatMap((task) => rows.filter((row) => seed < seedsOf(row)).map((row) => ({ task, row, seed }))),
  ).flat().filter((_, i) => i % of === part);
}

/** The first `train` and `dev` examples. Both lists are in hash order, so this is a random sample. */
export async function sample(task: Task, profile: Profile): Promise<Split> {
  const { train, dev, furtherDev = {} } = await task.load();
  const first = (examples: readonly Example[]) => examples.slice(0, profile.dev);
  const further = Object.entries(furtherDev).map(([part, examples]) => [part, first(examples)]);
  return {
    train: train.slice(0, profile.train),
    dev: first(dev),
    ...further.length > 0 ? { furtherDev: Object.fromEntries(further) } : {},
  };
}
