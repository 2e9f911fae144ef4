/**
 * `deno task merge`: writes a model with an adapter merged in, as a folder that transformers loads.
 * `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { openGpu } from "../lib/gpu/device.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { asUsage, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task merge --model SOURCE --adapter DIR --out DIR

Writes the model with the adapter merged in: a folder that transformers loads without PEFT, a decoder by AutoModelForCausalLM,
an encoder, with its head, by AutoModelForSequenceClassification. The base's other weights keep their bits. config.json is what PEFT's
own merge would write; if the adapter has a labels.json, the labels come from there. Of an encoder whose vectors are a mean
over tokens, such as minilm, AutoModel loads the trunk, and the head on the mean is head.weight and head.bias in the file.

  --model SOURCE   the model that the adapter was trained on: a folder, minilm, or an id of the Hugging Face hub; it is
                   recognised by the values of its weights, not by its name or path
  --adapter DIR    a folder that deno task finetune, saveAdapter or PEFT wrote
  --out DIR        a folder that does not exist yet
  --help           this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      adapter: { type: "string" },
      out: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

async function main(): Promise<void> {
  const { model, adapter, out: wanted, help: wantsHelp } = asUsage(readArguments);
  if (wantsHelp) return console.log(help);
  if (model === undefined || adapter === undefined || wanted === undefined) {
    throw new UsageError("--model, --adapter and --out are all needed; see --help");
  }
  const out = await newFolder(wanted);
  using _ = await lockFor(out);
  using gpu = await openGpu();
  await saveMerged(gpu, model, adapter, out, (line) => console.error(printable(line)));
  console.log(`merged: ${out}`);
}

await runCommand(main);
