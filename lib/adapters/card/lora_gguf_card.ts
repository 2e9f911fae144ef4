/** The card of a folder with a LoRA for llama.cpp. */

import { escapeMarkdown } from "../../escape_markdown.ts";
import type { Model } from "../../models/model.ts";
import { version } from "../../version.ts";
import { baseFields, baseName, baseText } from "./base.ts";
import type { Card } from "./card.ts";
import { untrainedParts } from "./training.ts";

/** The card of `adapter.gguf`; `origin` says in sentences of markdown what it was made from. */
export function loraGgufCard(model: Model, origin: string): Card {
  return {
    fields: {
      ...baseFields(model, "adapter"),
      library_name: "llama.cpp",
      pipeline_tag: "text-generation",
      tags: ["lora", "gguf", "bora-webgpu"],
    },
    parts: [
      `# LoRA of ${escapeMarkdown(baseName(model))} in GGUF`,
      `An adapter for ${
        baseText(model)
      }, written by @bora/webgpu ${version} for llama.cpp. It holds what was trained and not the base's ` +
      `weights. ${origin}`,
      "## Use with llama.cpp",
      "```sh\nllama-cli -m BASE.gguf --lora DIR/adapter.gguf\n```",
      "The base may be in any of GGUF's types; results differ by its rounding.",
      ...untrainedParts(true),
    ],
  };
}
