/**
 * `deno task reproduce [table…]`: fine-tunes the embedded encoder with every system of a table on the
 * embedded suite, and writes results/<table>.{json,md,svg} and a log of every step beside them, and every
 * finished cell under results/cells. `--help` lists the options.
 */

import { help, readArguments } from "./reproduce/arguments.ts";
import { reproduce } from "./reproduce/command.ts";
import { asUsage, runCommand } from "./usage.ts";

await runCommand(async () => {
  const given = asUsage(() => readArguments(Deno.args));
  if (given.help) return console.log(help);
  await reproduce(given);
});
