/** The card of a model with an adapter merged in. */

import type { SavedAdapter } from "../peft.ts";
import { escapeMarkdown } from "../../escape_markdown.ts";
import type { Model } from "../../models/model.ts";
import { version } from "../../version.ts";
import { baseFields, baseName, baseText } from "./base.ts";
import type { Card } from "./card.ts";
import { methodList, outputsOf, pipelineOf } from "./method.ts";

/** What a merged model was written as. */
export type MergedForm = "transformers" | "gguf";

/** The card of a merged model. */
export function mergedCard(model: Model, saved: SavedAdapter, form: MergedForm): Card {
  const subject = { model, ...saved };
  const { name } = saved.adapter.method;
  return {
    fields: {
      ...baseFields(model, "finetune"),
      library_name: form === "gguf" ? "llama.cpp" : "transformers",
      // llama.cpp has no place for a head on a mean of the tokens: the file gives the mean.
      pipeline_tag: form === "gguf" && model.pooledByFolder ? "feature-extraction" : pipelineOf(subject),
      tags: [...form === "gguf" ? ["gguf"] : [], "bora-webgpu"],
    },
    parts: [
      `# ${escapeMarkdown(baseName(model))} with a ${name} adapter merged in`,
      `This is ${
        baseText(model)
      }, with an adapter's update added to its weights by @bora/webgpu ${version}. It is a whole model and needs no PEFT. Below, \`DIR\` ` +
      "stands for this folder's path.",
      methodList(subject),
      "## Use",
      form === "gguf"
        ? `\`\`\`sh\n${llamaCommand(model)}\n\`\`\``
        : pythonText(model, outputsOf(subject) !== undefined),
      "## Training and results",
      "How the adapter was trained is in its own card. Nothing was measured when it was merged.",
    ],
  };
}

function llamaCommand({ language }: Model): string {
  return language ? "llama-cli -m DIR/model.gguf" : 'llama-embedding -m DIR/model.gguf -p "A text."';
}

function pythonText({ language, pooledByFolder }: Model, hasHead: boolean): string {
  const kind = language ? "ForCausalLM" : hasHead && !pooledByFolder ? "ForSequenceClassification" : "";
  const code = [
    "```python",
    `from transformers import AutoModel${kind}, AutoTokenizer`,
    "",
    'tokenizer = AutoTokenizer.from_pretrained("DIR")',
    `model = AutoModel${kind}.from_pretrained("DIR")`,
    "```",
  ].join("\n");
  if (!hasHead || !pooledByFolder) return code;
  return `${code}\n\nNo class of transformers has a head on vectors that are pooled as this model's: it is \`head.weight\` and ` +
    "`head.bias` in `model.safetensors`.";
}
