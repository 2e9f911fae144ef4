/** `deno task package`: makes the npm package of the library. */

import { parseArgs } from "node:util";
import { writeFolder } from "../lib/files.ts";
import { bytesText } from "../lib/show.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { sizeOfFolder, writePackage } from "./package/package.ts";
import { leavingNothingOf } from "./stopping.ts";
import { asUsage, runCommand } from "./usage.ts";

const help = `deno task package [--out DIR]

Makes the npm package: ES modules with the WGSL inside, types, package.json, README, CHANGELOG and LICENSE. npm pack DIR makes the
archive of it that npm install takes, and npm publish DIR publishes it.

  --out DIR   a folder that does not exist yet; default: npm-package
  --help      this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: "npm-package" },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const out = await newFolder(values.out);
  using lock = await lockFor(out);
  using _ = leavingNothingOf(out, lock);
  await writeFolder(out, writePackage);
  console.log(`package: ${out}, ${bytesText(await sizeOfFolder(out))}`);
}

await runCommand(main);
