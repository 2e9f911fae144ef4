/** `deno task serve`: an OpenAI-compatible server over a decoder and its adapters. `--help` lists the options. */

import { parseArgs } from "node:util";
import { loadAdapter, type SavedAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { cacheOf, packingHelp, packingOf } from "./packing.ts";
import { ServedModels } from "./serve/served_models.ts";
import { serveTexts } from "./serve/server.ts";
import { asUsage, countIn, portOf, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task serve --model SOURCE [--adapter NAME=DIR …] [options]

Serves /v1/completions, /v1/chat/completions and /v1/models of OpenAI's API to programs on this machine, at 127.0.0.1. A request's
"model" is the decoder's name, or an adapter's. Requests are answered one after another. Ctrl-C ends it.

  --model SOURCE          LLaMA, Mistral, Qwen2, Qwen3 or Gemma: a folder, a .gguf file, smollm2 (deno task models), or an id of
                          the Hugging Face hub
  --adapter NAME=DIR      a folder that deno task finetune, saveAdapter or PEFT wrote, and what requests call it (repeatable)
  --unpack                unpacks a GGUF file's blocks to float32, which adapters of DoRA and HiRA need
${packingHelp(26)}
  --cache f32|f16         how keys and values of earlier tokens are stored (default: f32)
  --port N                default: 8000; 0: a free one
  --max-requests N        requests that may wait or be answered; more are refused with status 429 (default: 16)
  --max-tokens N          new tokens that a request may ask for (default: 1024)
  --help                  this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      adapter: { type: "string", multiple: true, default: [] },
      unpack: { type: "boolean", default: false },
      packing: { type: "string" },
      cache: { type: "string", default: "f32" },
      port: { type: "string", default: "8000" },
      "max-requests": { type: "string", default: "16" },
      "max-tokens": { type: "string", default: "1024" },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

/** The adapters' folders by name. */
function foldersOf(texts: readonly string[]): Map<string, string> {
  const folders = new Map<string, string>();
  for (const text of texts) {
    const [, name, folder] = text.match(/^([^=]+)=(.+)$/) ?? [];
    if (name === undefined) throw new UsageError(`--adapter wants NAME=DIR, not "${text}"`);
    if (folders.has(name)) {
      throw new UsageError(`two adapters are called "${name}": name one of them otherwise`);
    }
    folders.set(name, folder);
  }
  return folders;
}

async function loadAdapters(folders: ReadonlyMap<string, string>, model: Decoder) {
  if (folders.has(model.name)) {
    throw new UsageError(`"${model.name}" is the model itself: give the adapter another name`);
  }
  const adapters = new Map<string, SavedAdapter>();
  const report = (line: string) => console.error(printable(line));
  for (const [name, folder] of folders) {
    adapters.set(name, await loadAdapter(folder, model, methods, report));
  }
  return adapters;
}

/** Waits for Ctrl-C. A second one ends the process as usual. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    Deno.addSignalListener("SIGINT", function end() {
      Deno.removeSignalListener("SIGINT", end);
      resolve();
    });
  });
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  if (values.model === undefined) throw new UsageError("--model is missing; see --help");
  const folders = foldersOf(values.adapter);
  const limits = {
    port: portOf(values.port),
    maxRequests: countIn("max-requests", values["max-requests"], 1),
    maxTokens: countIn("max-tokens", values["max-tokens"], 1),
  };
  const [cache, packing] = [cacheOf(values.cache), packingOf(values.packing)];
  const model = await loadDecoder(values.model, { unpack: values.unpack, packing });
  const adapters = await loadAdapters(folders, model);
  using gpu = await openGpu();
  using models = new ServedModels({ gpu, model, adapters, cache });
  const end = interrupted();
  await using server = await serveTexts({ models, ...limits });
  console.log(`${server.url}   ${printable(models.names.join(", "))}   (Ctrl-C ends it)`);
  await end;
}

await runCommand(main);
