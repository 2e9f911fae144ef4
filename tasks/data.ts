/**
 * `deno task data`: size, label balance and majority baseline of every embedded task. Writes
 * results/data.{md,json}.
 */

import { parseArgs } from "node:util";
import { tasks } from "../lib/data/registry.ts";
import type { Example, Task } from "../lib/data/task.ts";
import { majorityBaseline } from "../lib/train/fine_tune.ts";
import { outputFolder } from "./output.ts";
import { dataPage, type LabelFacts, type TaskFacts } from "./pages/data.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task data [options]

  --out DIR   where to write data.md and data.json (default: results)
  --json      print JSON instead of the page
  --help      this text
`;

/** The count of each label, or the range and mean of numeric labels. */
function labelsOf({ objective }: Task, examples: readonly Example[]): LabelFacts {
  const labels = examples.map(({ label }) => label);
  if (objective !== "regression") {
    const counts = [...Map.groupBy(labels, (label) => label).values()].map(({ length }) => length);
    return { counts: counts.toSorted((a, b) => b - a) };
  }
  const mean = labels.reduce((sum, label) => sum + label, 0) / labels.length;
  return { least: Math.min(...labels), most: Math.max(...labels), mean };
}

async function factsOf(task: Task): Promise<TaskFacts> {
  const { name, objective, metrics } = task;
  const { train, dev } = await task.load();
  return {
    name,
    shape: objective === "choice" ? "choice" : train[0].texts.length === 1 ? "single" : "pair",
    train: train.length,
    dev: dev.length,
    labelsInTrain: labelsOf(task, train),
    labelsInDev: labelsOf(task, dev),
    majority: objective === "regression" ? 0 : majorityBaseline(task, dev),
    metrics: [...metrics],
  };
}

async function main(): Promise<void> {
  const { values: { out, json, help: wanted } } = asUsage(() =>
    parseArgs({
      options: {
        out: { type: "string", default: "results" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (wanted) return console.log(help);
  const folder = await outputFolder(out);
  const facts: TaskFacts[] = [];
  for (const task of tasks) facts.push(await factsOf(task));
  const record = { schemaVersion: 1, tasks: facts } as const;
  const page = await dataPage.write(folder, record);
  console.log(json ? JSON.stringify(record, null, 1) : page);
}

await runCommand(main);
