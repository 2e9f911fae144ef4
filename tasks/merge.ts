/**
 * `deno task merge`: writes a model with an adapter merged in, as a folder that transformers loads or as a GGUF file.
 * `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { openGpu } from "../lib/gpu/device.ts";
import { saveMerged } from "../lib/train/merge_folder.ts";
import { saveMergedGguf } from "../lib/train/merge_gguf.ts";
import { ggufTypes } from "../lib/train/merged_gguf_file.ts";
import { lockFor } from "./lock.ts";
import { newFolder } from "./output.ts";
import { pushHelp, pushOf } from "./push/option.ts";
import { pushFolder } from "./push/push_folder.ts";
import { leavingNothingOf } from "./stopping.ts";
import { asUsage, printable, runCommand, UsageError } from "./usage.ts";

const help =
  `deno task merge --model SOURCE --adapter DIR --out DIR [--format gguf --type f16|q8_0] [--push USER/NAME]

Writes the model with the adapter merged in: a folder that transformers loads without PEFT, a decoder by AutoModelForCausalLM,
an encoder, with its head, by AutoModelForSequenceClassification. The base's other weights keep their bits. config.json is what PEFT's
own merge would write; if the adapter has a labels.json, the labels come from there. Of an encoder whose vectors are a mean
over tokens, such as minilm, AutoModel loads the trunk, and the head on the mean is head.weight and head.bias in the file.
With --format gguf it writes DIR/model.gguf, which llama.cpp loads: of a decoder that is a GGUF file itself, or a folder whose
settings and tokenizer GGUF can say for certain; others are merged into a folder, which llama.cpp's convert_hf_to_gguf.py converts.
Of an encoder the file gives a text's vector, or the outputs of a head on its first token; a head on a mean is left out.

  --model SOURCE   the model that the adapter was trained on: a folder, a .gguf file (with --format gguf), minilm, smollm2, or an
                   id of the Hugging Face hub; it is recognised by the values of its weights, not by its name or path
  --adapter DIR    a folder that deno task finetune, saveAdapter or PEFT wrote
  --format FORMAT  transformers (the default) or gguf
  --type TYPE      of the matrices in a GGUF file: f16 (the default), or q8_0, 8.5 bits a value
  --out DIR        a folder that does not exist yet
${pushHelp(19)}
  --help           this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      adapter: { type: "string" },
      format: { type: "string", default: "transformers" },
      type: { type: "string" },
      out: { type: "string" },
      push: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const type = ggufTypes.find((known) => known === (values.type ?? "f16"));
  if (!type) throw new Error(`--type is ${JSON.stringify(values.type)}: use one of ${ggufTypes.join(", ")}`);
  if (!["transformers", "gguf"].includes(values.format)) {
    throw new Error(`--format is ${JSON.stringify(values.format)}: use transformers or gguf`);
  }
  if (values.type !== undefined && values.format !== "gguf") {
    throw new Error("--type is that of a GGUF file: give --format gguf as well");
  }
  return { ...values, type };
}

async function main(): Promise<void> {
  const { model, adapter, out: wanted, format, type, push, help: wantsHelp } = asUsage(readArguments);
  if (wantsHelp) return console.log(help);
  if (model === undefined || adapter === undefined || wanted === undefined) {
    throw new UsageError("--model, --adapter and --out are all needed; see --help");
  }
  const destination = await pushOf(push, "model");
  const out = await newFolder(wanted);
  using lock = await lockFor(out);
  using stopping = leavingNothingOf(out, lock);
  using gpu = await openGpu();
  const report = (line: string) => console.error(printable(line));
  if (format === "gguf") await saveMergedGguf({ gpu, model, adapter, out, type, report });
  else await saveMerged(gpu, model, adapter, out, report);
  console.log(`merged: ${out}`);
  if (!destination) return;
  // What is written stays from now on.
  stopping[Symbol.dispose]();
  await pushFolder(out, destination, (line) => console.log(printable(line)));
}

await runCommand(main);
