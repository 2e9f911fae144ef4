/** What cards say of the model that an adapter is for. */

import { codeMarkdown } from "../../escape_markdown.ts";
import type { Model } from "../../models/model.ts";
import type { Card } from "./card.ts";

/** The name by which others find the model, or else its folder's. */
export function baseName({ hubId, name }: Model): string {
  return hubId ?? name;
}

/** The model's name, with a link to it where it is on the hub. */
export function baseText({ hubId, name }: Model): string {
  return hubId === undefined
    ? `a model called ${codeMarkdown(name)}, whose id on the hub is not known`
    : `[${hubId}](https://huggingface.co/${hubId})`;
}

/** The fields `base_model` and `base_model_relation` of the front matter. */
export function baseFields({ hubId }: Model, relation: "adapter" | "finetune"): Card["fields"] {
  return { base_model: hubId, base_model_relation: hubId && relation };
}

/** What the names in a card's code stand for. */
export function placesText({ hubId }: Model): string {
  const base = hubId === undefined ? ", and `BASE` for the base's, or the base's id" : "";
  return `Below, \`DIR\` stands for this folder's path${base}.`;
}

/** How the model's matrices were packed, if they were: others that load the adapter may round otherwise. */
export function packingText({ packed = new Map() }: Model): string | undefined {
  const packings = new Set([...packed.values()].map(({ packing }) => packing));
  if (packings.size === 0) return undefined;
  return `The base's matrices were packed (${
    [...packings].join(", ")
  }): on the base in another form, results differ by rounding.`;
}
