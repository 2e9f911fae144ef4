/**
 * `deno task test:quick`: the test files that start no other process, neither themselves nor through their
 * imports from tests/ and tasks/. The files left out test what a user types, kills, serves or opens in a
 * browser, and each start of Deno takes a second or more. The files run here test everything that is computed.
 */

import { parseArgs } from "node:util";
import { asUsage, runCommand } from "../../tasks/usage.ts";
import { reachedFrom, textOf } from "./modules.ts";

const names = [...Deno.readDirSync(new URL("..", import.meta.url))].map(({ name }) => name);
const files = names.filter((name) => name.endsWith("_test.ts")).map((name) => `tests/${name}`).toSorted();
const startsProcesses = (file: string) =>
  [...reachedFrom([file])].some((module) =>
    /^(tests|tasks)\//.test(module) && textOf(module).includes("Deno.Command(")
  );

await runCommand(async () => {
  asUsage(() => parseArgs({ options: {} }));
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--allow-all",
      "--parallel",
      "--preload=tests/support/before_tests.ts",
      ...files.filter((file) => !startsProcesses(file)),
    ],
    cwd: new URL("../..", import.meta.url),
  }).spawn().status;
  Deno.exitCode = code;
});
