/** The workflow of `.github/`, and the Slurm script: that it parses, names only tasks and files there are, and lets no stranger onto our machines. */

import assert from "node:assert/strict";
import { parse } from "npm:yaml@2.9.1";
import config from "../deno.json" with { type: "json" };
import { benchGroups } from "./support/bench_groups.ts";
import { runTask } from "./support/command.ts";

interface Job {
  readonly "runs-on": string | string[];
  readonly if?: string;
  readonly steps: readonly { readonly uses?: string; readonly run?: string }[];
}

const root = new URL("..", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, root));
const workflow = parse(await read(".github/workflows/ci.yml"));
const jobs: Record<string, Job> = workflow.jobs;
const commands = (job: Job) => job.steps.flatMap(({ run }) => run ? [run] : []);
const everything = Object.values(jobs).flatMap(commands).join("\n");

Deno.test("every task and script that the workflow, or a script of its, runs is there", async () => {
  const scripts = [...everything.matchAll(/\bsh (tasks\/\S+\.sh)/g)].map(([, script]) => script);
  assert.deepEqual([...new Set(scripts)].toSorted(), ["tasks/compare_with.sh", "tasks/setup.sh"]);
  const texts = [everything, ...await Promise.all(scripts.map(read))];
  const named = texts.flatMap((
    text,
  ) => [...text.matchAll(/^[^#\n]*\bdeno task (?:--quiet )?([a-z]+(?::[a-z]+)?)/gm)]);
  const tasks = [...new Set(named.map(([, task]) => task))].toSorted();
  assert.deepEqual(tasks, [
    ...[
      "bench",
      "check",
      "compare",
      "doctor",
      "kernels",
      "models",
      "package",
      "reproduce",
      "test",
      "test:swiftshader",
    ],
  ]);
  for (const task of tasks) assert.ok(task in config.tasks, `deno.json has no task "${task}"`);
});

Deno.test("the bench groups that it compares are there", () => {
  const lines = [...everything.matchAll(/compare_with\.sh "\S+" "\S+"\s+([a-z -]+?) -- /g)].map(([, names]) =>
    names
  );
  assert.equal(lines.length, 2);
  for (const name of lines.flatMap((line) => line.split(" "))) {
    assert.ok(benchGroups().includes(name), `no group "${name}"`);
  }
});

Deno.test("a software job for everyone; a GPU only where there is one, and never for a fork's code", () => {
  assert.deepEqual(Object.keys(jobs), ["software", "kernels", "gpu"]);
  for (const job of [jobs.software, jobs.kernels]) {
    assert.match(String(job["runs-on"]), /^ubuntu-/);
    assert.equal(job.if, undefined);
  }
  assert.deepEqual(jobs.gpu["runs-on"], ["self-hosted", "gpu"]);
  assert.match(
    jobs.gpu.if!,
    /^vars\.GPU_RUNNER == 'true' && \(.*head\.repo\.full_name == github\.repository\)$/,
  );
  assert.deepEqual(workflow.permissions, { contents: "read" });
  // The text of a branch name or title must not become part of a command.
  assert.doesNotMatch(everything, /\$\{\{/);
});

Deno.test("kernels are compiled whole, and compared with the committed record", async () => {
  const lines = commands(jobs.kernels);
  const compiled = lines.findIndex((line) => line === 'deno task kernels --out "$RUNNER_TEMP/kernels"');
  const [, base, head] = lines[compiled + 1].match(/^deno task compare (\S+) "(\S+)" /)!;
  assert.equal(head, "$RUNNER_TEMP/kernels/kernels.json");
  const { environment } = JSON.parse(await read(base));
  // Debian 12's, as the job's image is.
  assert.match(environment.driver, /^Mesa 22\.3\.6, NVRTC 13\.0$/);
});

const slurmScript = new URL("tasks/slurm.sbatch", root).pathname;

/** Runs the Slurm script with a `deno` that prints its arguments, a line each. */
async function runSlurmScript(env: Record<string, string>, ...args: string[]) {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/deno`, '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: [slurmScript, ...args],
    clearEnv: true,
    env: { PATH: `${folder}:${Deno.env.get("PATH")}`, ...env },
  }).output();
  await Deno.remove(folder, { recursive: true });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, lines: text(stdout).trimEnd().split("\n"), stderr: text(stderr) };
}

const arrayOf = (id: number, min: number, max: number, count: number) => ({
  SLURM_ARRAY_TASK_ID: String(id),
  SLURM_ARRAY_TASK_MIN: String(min),
  SLURM_ARRAY_TASK_MAX: String(max),
  SLURM_ARRAY_TASK_COUNT: String(count),
});

Deno.test("the Slurm script parses, and runs one shard a task, in a folder of its own, by options that there are", async () => {
  const { success } = await new Deno.Command("bash", { args: ["-n", slurmScript] }).output();
  assert.ok(success, "bash -n");
  const { code, lines } = await runSlurmScript(arrayOf(2, 1, 4, 4), "methods", "--method", "BoRA r 8 b 16");
  assert.equal(code, 0);
  assert.deepEqual(lines, [
    ...["task", "reproduce", "methods", "--method", "BoRA r 8 b 16"],
    ...["--shard", "2/4", "--out", "results/shard-2", "--resume"],
  ]);
  const { stdout: help } = await runTask("reproduce", ["--help"]);
  const text = await read("tasks/slurm.sbatch");
  const ofReproduce = [...text.matchAll(/(?:reproduce|tasks\/slurm\.sbatch) (.+?(?:\\\n.*)*)(?=\n|\)|$)/g)];
  const flags = ofReproduce.flatMap(([, line]) => [...line.matchAll(/--[a-z-]+/g)].map(([flag]) => flag));
  assert.deepEqual([...new Set(flags)].toSorted(), ["--out", "--profile", "--resume", "--shard"]);
  for (const flag of flags) assert.match(help, new RegExp(`^  ${flag} `, "m"));
  assert.match((await runTask("report", ["--help"])).stdout, /^deno task report \[DIR…\] \[options\]/m);
});

Deno.test("the Slurm script refuses to run outside an array, or in one that would leave cells out", async () => {
  for (const env of [{}, arrayOf(0, 0, 3, 4), arrayOf(3, 1, 7, 4)]) {
    const { code, stderr } = await runSlurmScript(env);
    assert.equal(code, 2);
    assert.match(stderr, /submit it as an array from 1 on, such as sbatch --array=1-4 /);
  }
});
