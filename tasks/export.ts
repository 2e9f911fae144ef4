/** `deno task export`: writes an adapter as a plain LoRA, for PEFT, vLLM or llama.cpp. `--help` lists the options. */

import { parseArgs } from "node:util";
import { openGpu } from "../lib/gpu/device.ts";
import { exportAdapter, type Exported, exportFormats } from "../lib/train/export_folder.ts";
import type { LoraErrors } from "../lib/train/to_lora.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { pushHelp, pushOf } from "./push/option.ts";
import { pushFolder } from "./push/push_folder.ts";
import { leavingNothingOf } from "./stopping.ts";
import { Ticker } from "./ticker.ts";
import { asUsage, countIn, printable, runCommand, UsageError } from "./usage.ts";
import { adviceOnVllm } from "./vllm_ranks.ts";

const help =
  `deno task export --model SOURCE --adapter DIR --format peft|gguf --out DIR [--rank R] [--push USER/NAME]

Writes the adapter as a plain LoRA, which other software applies to the same base. The update of LoRA, rsLoRA, BoRA (with every
Σ), MELoRA, GraLoRA and VeRA is one exactly: of rank b·r for BoRA and MELoRA. Of the others that are a fixed matrix (DoRA, HiRA,
KronA, RandLoRA, ReLoRA) --rank takes the nearest LoRA, and prints how far it is: the norm of what is missing, relative to the
update's. Its scale is 1 (r = alpha).

  --model SOURCE   the model that the adapter was trained on: a folder, a .gguf file, minilm, smollm2, or an id of the Hugging
                   Face hub
  --adapter DIR    a folder that deno task finetune, saveAdapter or PEFT wrote
  --format FORMAT  peft: a folder that PEFT, transformers and vLLM load, the head in it for encoders;
                   gguf: DIR/adapter.gguf, for llama.cpp's --lora (decoders)
  --rank R         the nearest LoRA of rank R, by singular values
  --out DIR        a folder that does not exist yet; export.json in it has every layer's error
${pushHelp(19)}
  --help           this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      adapter: { type: "string" },
      format: { type: "string", default: "peft" },
      rank: { type: "string" },
      out: { type: "string" },
      push: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const format = exportFormats.find((known) => known === values.format);
  if (!format) {
    throw new Error(`--format is ${JSON.stringify(values.format)}: use one of ${exportFormats.join(", ")}`);
  }
  return { ...values, format, rank: values.rank === undefined ? undefined : countIn("rank", values.rank, 1) };
}

function distance({ whole, layers, leftOut }: LoraErrors): string {
  const errors = [...layers.values()];
  const [least, most] = [Math.min(...errors), Math.max(...errors)].map((error) => error.toPrecision(3));
  const without = leftOut.length > 0 ? `; ${leftOut.length} other tensors are left out` : "";
  return `relative error ${whole.toPrecision(3)} (layers ${least} to ${most}${without})`;
}

function* summary({ lora, method, onDecoder }: Exported, format: string): Generator<string> {
  const { rank, errors, adapter } = lora;
  const { modules, trainedBase } = adapter;
  yield errors ? `the nearest LoRA to ${method}, ${distance(errors)}` : `the same update as ${method}'s`;
  const narrow = modules.filter(({ options }) => (options as { readonly r: number }).r < rank);
  yield `rank ${rank} in ${modules.length - narrow.length} layers${
    narrow.length > 0 ? `, less in ${narrow.length} that are narrower (${narrow[0].module.path}, …)` : ""
  }`;
  if (format !== "peft" || !onDecoder) return;
  yield adviceOnVllm(rank);
  if (trainedBase.size > 0) {
    yield "vLLM refuses modules that are trained whole (modules_to_save): merge for it";
  }
}

async function main(): Promise<void> {
  const { model, adapter, out: wanted, format, rank, push, help: wantsHelp } = asUsage(readArguments);
  if (wantsHelp) return console.log(help);
  if (model === undefined || adapter === undefined || wanted === undefined) {
    throw new UsageError("--model, --adapter and --out are all needed; see --help");
  }
  const destination = await pushOf(push, "adapter");
  const out = await newFolder(wanted);
  using lock = await lockFor(out);
  using stopping = leavingNothingOf(out, lock);
  using gpu = await openGpu();
  let ticker: Ticker | undefined;
  const exported = await exportAdapter({
    ...{ gpu, model, adapter, format, out, rank },
    report: (line) => console.error(printable(line)),
    onLayer: (done, of) => (ticker ??= new Ticker(of)).step(done, `layer ${done} of ${of}`),
  });
  ticker?.stop();
  for (const line of summary(exported, format)) console.log(printable(line));
  console.log(`exported: ${out}`);
  if (!destination) return;
  // What is written stays from now on.
  stopping[Symbol.dispose]();
  await pushFolder(out, destination, (line) => console.log(printable(line)));
}

await runCommand(main);
