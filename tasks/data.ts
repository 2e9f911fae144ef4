/** `deno task data`: every task of the embedded suite: size, label balance, majority baseline. Writes results/data.md. */

import { parseArgs } from "node:util";
import { tasks } from "../lib/data/registry.ts";
import type { Example, Task } from "../lib/data/task.ts";
import { table } from "../lib/report/markdown.ts";
import { writeWhole } from "../lib/files.ts";
import { majorityBaseline } from "../lib/train/fine_tune.ts";
import { outputFolder } from "./output.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task data [options]

  --out DIR   where to write data.md (default: results)
  --help      this text
`;

/** The share of each label, or for regression the range and the mean. */
function balanceOf(task: Task, examples: readonly Example[]): string {
  const labels = examples.map(({ label }) => label);
  if (task.objective === "regression") {
    const mean = labels.reduce((sum, label) => sum + label, 0) / labels.length;
    return `${Math.min(...labels)} … ${Math.max(...labels)}, mean ${mean.toFixed(2)}`;
  }
  const counts = new Map<number, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const shares = [...counts.values()].sort((a, b) => b - a).map((count) => 100 * count / labels.length);
  if (shares.length > 4) {
    return `${shares.length} labels, ${shares[0].toFixed(1)} … ${shares.at(-1)!.toFixed(1)} %`;
  }
  return `${shares.map((share) => share.toFixed(1)).join(" / ")} %`;
}

async function rowOf(task: Task): Promise<string[]> {
  const { train, dev } = await task.load();
  return [
    task.name,
    task.shape,
    train.length.toLocaleString("en-US"),
    dev.length.toLocaleString("en-US"),
    balanceOf(task, train),
    balanceOf(task, dev),
    task.objective === "regression" ? "0" : (100 * majorityBaseline(task, dev)).toFixed(1),
    task.metrics.join(", "),
  ];
}

const header = ["task", "shape", "train", "dev", "labels in train", "labels in dev", "majority", "metrics"];

async function main(): Promise<void> {
  const { values: { out, help: wanted } } = asUsage(() =>
    parseArgs({
      options: { out: { type: "string", default: "results" }, help: { type: "boolean", default: false } },
    })
  );
  if (wanted) return console.log(help);
  const folder = await outputFolder(out);
  const rows = [];
  for (const task of tasks) rows.push(await rowOf(task));
  const page = `# The embedded suite

Real text with labels made by people, from npm packages; written by \`deno task data\`. No lemma or text is on both sides
of a split. Majority: the score of the commonest label on dev.

${table(header, rows)}
`;
  await writeWhole(`${folder}/data.md`, page);
  console.log(page);
}

await runCommand(main);
