/** The workflow of `.github/`: that it parses, names only tasks and files there are, and lets no stranger onto our machines. */

import assert from "node:assert/strict";
import { parse } from "npm:yaml@2.9.1";
import config from "../deno.json" with { type: "json" };
import { groups } from "../bench/groups.ts";

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
  const named = texts.flatMap((text) => [...text.matchAll(/^[^#\n]*\bdeno task (?:--quiet )?([a-z]+)/gm)]);
  const tasks = [...new Set(named.map(([, task]) => task))].toSorted();
  assert.deepEqual(tasks, ["bench", "check", "compare", "doctor", "reproduce", "test"]);
  for (const task of tasks) assert.ok(task in config.tasks, `deno.json has no task "${task}"`);
});

Deno.test("the bench groups that it compares are there", () => {
  const lines = [...everything.matchAll(/compare_with\.sh "\S+" "\S+"\s+([a-z -]+?) -- /g)].map(([, names]) =>
    names
  );
  assert.equal(lines.length, 2);
  for (const name of lines.flatMap((line) => line.split(" "))) {
    assert.ok(groups.some((group) => group.name === name), `no group "${name}"`);
  }
});

Deno.test("a software job for everyone; a GPU only where there is one, and never for a fork's code", () => {
  assert.deepEqual(Object.keys(jobs), ["software", "gpu"]);
  assert.match(String(jobs.software["runs-on"]), /^ubuntu-/);
  assert.equal(jobs.software.if, undefined);
  assert.deepEqual(jobs.gpu["runs-on"], ["self-hosted", "gpu"]);
  assert.match(
    jobs.gpu.if!,
    /^vars\.GPU_RUNNER == 'true' && \(.*head\.repo\.full_name == github\.repository\)$/,
  );
  assert.deepEqual(workflow.permissions, { contents: "read" });
  // What a branch's name or a title holds must not become part of a command.
  assert.doesNotMatch(everything, /\$\{\{/);
});
