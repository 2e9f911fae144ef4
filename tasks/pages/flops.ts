/** Parameters and multiply-adds of every system: the record of `deno task flops`, and its page. */

import * as v from "npm:valibot@1.5.0";
import { table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";

const count = v.pipe(v.number(), v.finite(), v.minValue(0));

const systemSchema = v.object({
  label: v.string(),
  /** Trainable parameters, without the head. */
  trainable: count,
  /**
   * Multiply-adds per token: the frozen model's forward pass, what the adapters add, and a training step with
   * them.
   */
  baseForward: count,
  adapterForward: count,
  trainingStep: count,
});

const modelSchema = v.object({ name: v.string(), parameters: count, systems: v.array(systemSchema) });

const flopsSchema = v.object({
  schemaVersion: v.literal(1),
  /** The adapted modules. */
  target: v.array(v.string()),
  /** Tokens per step. Work done once per step is divided by this. */
  tokens: count,
  /** The system that the others are divided by. */
  reference: v.string(),
  models: v.array(modelSchema),
});

type FlopsRecord = v.InferOutput<typeof flopsSchema>;
/** The systems' costs on one model. */
export type ModelCounts = v.InferOutput<typeof modelSchema>;

const integer = (value: number) => value.toLocaleString("en-US");
const ratio = (value: number, digits: number) => Number.isFinite(value) ? value.toFixed(digits) : "–";

function sectionOf({ name, parameters, systems }: ModelCounts, reference: string): string {
  const lora = systems.find(({ label }) => label === reference);
  if (!lora) throw new Error(`the counts of ${name} lack "${reference}": count them again`);
  const rows = systems.map((own) => [
    own.label,
    integer(own.trainable),
    ratio(own.trainable / lora.trainable, 2),
    integer(own.adapterForward),
    ratio((own.baseForward + own.adapterForward) / (lora.baseForward + lora.adapterForward), 4),
    ratio(own.trainingStep / lora.trainingStep, 4),
  ]);
  const header = [
    "system",
    "trainable parameters",
    `÷ ${reference}`,
    "adapter multiply-adds",
    `forward ÷ ${reference}`,
    `training step ÷ ${reference}`,
  ];
  return `## ${name}\n\n${integer(parameters)} parameters; base forward ${
    integer(lora.baseForward)
  } multiply-adds a token.\n\n${table(header, rows)}\n`;
}

function markdownOf({ target, tokens, reference, models }: FlopsRecord): string {
  return [
    "# Parameters and multiply-adds\n",
    `Counted from shapes by \`deno task flops\`: adapters on ${
      target.join(", ")
    }, r = 8. Multiply-adds are per ` +
    "token through the linear layers (one multiply-add is two FLOPs; the paper counts it as one); attention's own " +
    "products, which grow with length and are the same for every system, and the language-model head are left out. A " +
    `training step counts 2mn for a frozen layer, 3mn for a trained one and an adapter's products forward and backward; ` +
    `what is done once a step (norms, products of weights) is shared by ${tokens} tokens. Where only the head is trained, ` +
    "nothing goes back through the trunk.\n",
    ...models.map((model) => sectionOf(model, reference)),
  ].join("\n");
}

export const flopsPage = definePage("flops", flopsSchema, (record) => ({ ".md": markdownOf(record) }));
