/**
 * `deno task decoders`: a training step and some tokens of decoders of published shapes, their weights made from a seed. Writes
 * results/decoders.{md,json}. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { isFile } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { publishedDecoder, publishedDecoders } from "../lib/models/published_configs.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { roomOn } from "../lib/run/room.ts";
import { type DecoderWork, estimateDecoder, measureDecoder } from "./decoders/measure.ts";
import { outputFolder } from "./output.ts";
import { type DecoderRunRecord, decodersPage, readRuns } from "./pages/decoders.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task decoders [options]

Runs a training step of BoRA and writes a few tokens with a decoder of a published shape. Its weights are made from a seed as they
are uploaded, in int4 with tables in int8, so nothing is downloaded and the host keeps none of them. The record keeps the runs of
other models and other numbers of layers.

  --model ID       the shape (default: meta-llama/Meta-Llama-3-8B): ${publishedDecoders.join(", ")}
  --layers N       only so many layers (default: all); what all of them take is estimated
  --tokens N       tokens of the text that is learnt (default: 256)
  --new-tokens N   tokens that are written (default: 16)
  --out DIR        where decoders.md and decoders.json are (default: results)
  --help           this text
`;

function countOf(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`--${name} wants a whole number from ${least} to ${most}, not "${text}"`);
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        model: { type: "string", default: "meta-llama/Meta-Llama-3-8B" },
        layers: { type: "string" },
        tokens: { type: "string", default: "256" },
        "new-tokens": { type: "string", default: "16" },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const { model } = values;
  const whole = publishedDecoder(model);
  if (!whole) throw new UsageError(`no decoder "${model}"; have ${publishedDecoders.join(", ")}`);
  const layers = countOf("layers", values.layers ?? `${whole.layers}`, 1, whole.layers);
  const work: DecoderWork = {
    config: { ...whole, layers },
    packing: "int4",
    tokens: countOf("tokens", values.tokens, 2, 512),
    newTokens: countOf("new-tokens", values["new-tokens"], 2, 256),
  };
  const out = await outputFolder(values.out);
  using gpu = await openGpu();
  const run: DecoderRunRecord = {
    model,
    layers,
    allLayers: whole.layers,
    vocabulary: whole.vocabulary,
    packing: work.packing,
    tokens: work.tokens,
    newTokens: work.newTokens,
    environment: await describeEnvironment(gpu),
    freeBytes: roomOn(gpu).memoryBytes,
    whole: await estimateDecoder(gpu.traits, model, { ...work, config: whole }),
    measured: await measureDecoder(gpu, model, work),
  };
  const path = `${out}/decoders.json`;
  const others = (await isFile(path) ? await readRuns(path) : []).filter((other) =>
    other.model !== model || other.layers !== layers
  );
  console.log(await decodersPage.write(out, { schemaVersion: 1, runs: [...others, run] }));
}

await runCommand(main);
