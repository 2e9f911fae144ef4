/**
 * Every command that is a program of its own: a mistake on its command line exits with 2 and one line,
 * without a stack trace.
 */

import assert from "node:assert/strict";
import { makeFolder, readText } from "../lib/files.ts";
import { profileOf } from "../tasks/planned_cells.ts";
import { help } from "../tasks/reproduce/arguments.ts";
import { firstTable } from "../tasks/tables/first.ts";
import { tables } from "../tasks/tables/registry.ts";
import { runTask } from "./support/command.ts";
import configuration from "../deno.json" with { type: "json" };

const root = new URL("..", import.meta.url);

Deno.test("every deno task refuses an option that it has not with exit code 2, and prints no stack", async () => {
  // Not those that fetch the bench's libraries first: 190 MB.
  const commands = Object.values(configuration.tasks).map(({ command }) => command)
    .filter((command) => !command.includes("bench/announce.ts"));
  const programs = commands.map((command) => command.split(" ")).filter(([, verb]) => verb === "run").map((
    [, ...args],
  ) => args);
  assert.ok(programs.length > 10);
  for (const args of programs) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args, "--nonsense"],
      cwd: root,
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stderr);
    assert.match(text, /Unknown option '--nonsense'/, args.at(-1));
    assert.doesNotMatch(text, /^ +at /m, args.at(-1));
    assert.equal(code, 2, args.at(-1));
  }
});

Deno.test("export: a rank that is none is a mistake on its line, before a model is looked for", async () => {
  for (const rank of ["0", "2.5"]) {
    const from = ["--model", "none", "--adapter", "none", "--out", "none"];
    const { code, stderr } = await runTask("export", [...from, "--rank", rank]);
    assert.match(stderr, new RegExp(`^--rank wants a whole number from 1, not ${rank}\\n$`));
    assert.equal(code, 2);
  }
});

Deno.test("reproduce --help names every profile of its tables", () => {
  const [own] = help.match(/--profile NAME.*?(?=\n {2}--)/s)!;
  for (const { profiles } of tables) {
    const names = Array.isArray(profiles) ? profiles : Object.keys(profiles);
    for (const name of names) assert.match(own, new RegExp(`\\b${name}\\b`));
  }
});

Deno.test("a property of every object, such as toString, is not a profile", () => {
  assert.throws(
    () => profileOf(firstTable, { profile: "toString", shard: "1/1" }),
    /no profile "toString"; it has/,
  );
});

Deno.test("a file that is not there, and a folder where a file is, are named with what to do", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const error = await readText(`${folder}/config.json`).then(() => undefined, (error) => error);
    assert.ok(error instanceof Deno.errors.NotFound);
    assert.equal(error.message, `there is no file ${folder}/config.json: check its path`);
    await Deno.writeTextFile(`${folder}/results`, "");
    await assert.rejects(() => makeFolder(`${folder}/results`), /results cannot be written .*another folder/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
