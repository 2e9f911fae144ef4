/**
 * `deno task browser`: serves a page on this machine that fine-tunes LoRA and BoRA side by side in a browser.
 */

import { parseArgs } from "node:util";
import { demo } from "./browser/demo.ts";
import { serveSite } from "./browser/site.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task browser [--port N]

Bundles the library and a page that fine-tunes the embedded encoder with LoRA and BoRA, serves them to this machine only, and
prints the address. The page needs a browser with WebGPU.

  --port N   default: 8000
  --help     this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8000" },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new UsageError(`--port wants a number up to 65535, not "${text}"`);
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const port = portOf(values.port);
  const site = await serveSite({ ...await demo(), port });
  console.log(`${site.url}   (Ctrl-C ends it)`);
}

await runCommand(main);
