/**
 * `deno task browser`: serves two pages on this machine that fine-tune in a browser: an encoder with LoRA and BoRA side by side, and
 * a decoder on a few examples.
 */

import { parseArgs } from "node:util";
import { demo } from "./browser/demo.ts";
import { serveSite } from "./browser/site.ts";
import { asUsage, portOf, runCommand } from "./usage.ts";

const help = `deno task browser [--port N]

Bundles the library and two pages, serves them to this machine only, and prints the address. At / the embedded encoder is
fine-tuned with LoRA and BoRA; at /decoder a decoder learns from a few examples and writes before and after: smollm2, if it was
fetched (deno task models smollm2), or files that you pick there. The pages need a browser with WebGPU.

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

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  const port = portOf(values.port);
  const site = await serveSite({ ...await demo(), port });
  console.log(`${site.url}   (Ctrl-C ends it)`);
}

await runCommand(main);
