/** Writes an adapter as a plain LoRA, in a folder for PEFT or for llama.cpp. */

import { loadAdapter, saveAdapter } from "../adapters/peft.ts";
import { methods } from "../adapters/registry.ts";
import { cardFile, cardText } from "../adapters/card/card.ts";
import { loraGgufCard } from "../adapters/card/lora_gguf_card.ts";
import { escapeMarkdown } from "../escape_markdown.ts";
import { refuseExisting, writeFolder, writeWhole } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import { loadModel } from "../models/load_model.ts";
import { checkGgufLora, saveLoraGguf } from "./lora_gguf.ts";
import { type LoraExport, toLora } from "./to_lora.ts";

/** The form of an exported adapter: a folder that PEFT, transformers and vLLM load, or one with llama.cpp's `adapter.gguf`. */
export type ExportFormat = "peft" | "gguf";

/** All forms. */
export const exportFormats: readonly ExportFormat[] = ["peft", "gguf"];

/** What to export, and where. */
export interface ExportOptions {
  /** Computes the factors. */
  readonly gpu: Gpu;
  /** The base: a folder, a GGUF file or a model's id. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** The form that is written. */
  readonly format: ExportFormat;
  /** A folder that does not exist yet. */
  readonly out: string;
  /** Takes the nearest LoRA of this rank: see `toLora`. */
  readonly rank?: number;
  /** Receives `loadAdapter`'s messages about the base. */
  readonly report?: (line: string) => void;
  /** Called with the number of layers done, of all. */
  readonly onLayer?: (done: number, of: number) => void;
}

/** What was exported. */
export interface Exported {
  /** The LoRA as it was written. */
  readonly lora: LoraExport;
  /** The name of the method that it was made from. */
  readonly method: string;
  /** Whether the base is a decoder. */
  readonly onDecoder: boolean;
}

/**
 * Exports the adapter in a folder as a plain LoRA (`toLora`). Beside it lies `export.json`: the method that it comes from, its
 * rank, and how far each layer is from the adapter's, where it is not the same. A temporary folder is written and then renamed.
 * @throws Error when `out` exists, and what `loadModel`, `loadAdapter`, `toLora` and `saveLoraGguf` throw. No `out` is left then.
 */
export async function exportAdapter(options: ExportOptions): Promise<Exported> {
  const { gpu, model: source, adapter: folder, format, out, rank, report, onLayer } = options;
  await refuseExisting(out);
  // Methods that are no LoRA compute with the base's values.
  const model = await loadModel(source, { unpack: rank !== undefined }, report);
  const saved = await loadAdapter(folder, model, methods, report);
  if (format === "gguf") checkGgufLora(model, saved.adapter);
  const lora = await toLora({ gpu, model, ...saved, rank, onLayer });
  const { name: method } = saved.adapter.method;
  const origin = originText(method, lora);
  await writeFolder(out, async (part) => {
    if (format === "peft") {
      await saveAdapter(part, model, lora.adapter, lora.weights, lora.labels, { origin });
    } else {
      await saveLoraGguf(`${part}/adapter.gguf`, source, model, lora);
      await writeWhole(`${part}/${cardFile}`, cardText(loraGgufCard(model, origin)));
    }
    await writeWhole(`${part}/export.json`, `${JSON.stringify(recordOf(method, lora), null, 2)}\n`);
  });
  return { lora, method, onDecoder: model.language !== undefined };
}

/** What it was made from, for the card. */
function originText(method: string, { rank, errors }: LoraExport): string {
  const name = escapeMarkdown(method);
  if (!errors) {
    return `It was made from an adapter of ${name}, and computes the same update, as a LoRA of rank ${rank}.`;
  }
  return `It is the LoRA of rank ${rank} that is nearest to an adapter of ${name}: the norm of what is missing is ` +
    `${errors.whole.toPrecision(3)} of the update's.`;
}

function recordOf(method: string, { rank, errors }: LoraExport): Record<string, unknown> {
  if (!errors) return { method, rank, exact: true };
  const { whole, layers, leftOut } = errors;
  return { method, rank, exact: false, error: whole, layers: Object.fromEntries(layers), leftOut };
}
