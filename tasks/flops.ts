/**
 * `deno task flops`: trainable parameters and multiply-adds a token of every system against LoRA, for USE-lite and,
 * from their configurations alone, the paper's models. Writes results/flops.md. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { methodByName } from "../lib/adapters/registry.ts";
import { firstSystems, type System } from "../lib/adapters/systems.ts";
import { type Count, countMethod } from "../lib/analysis/counts.ts";
import { type ModelShape, modelShapes, shapeOf } from "../lib/analysis/shapes.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { methodsTable } from "./tables/methods.ts";
import { table } from "../lib/report/markdown.ts";
import { writeWhole } from "../lib/files.ts";
import { outputFolder } from "./output.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task flops [options]

  --model NAME     only this model (repeatable): USE-lite, ${modelShapes.map(({ name }) => name).join(", ")}
  --target NAME    target modules (repeatable; default query, key and value)
  --out DIR        where to write flops.md (default: results)
  --help           this text
`;

/** Tokens of a training step: what is done once a step is shared by them. */
const tokens = 4096;

/** The first table's systems, every other method, and BoRA where the paper counts it: b = 64. */
const counted: readonly System[] = [
  ...firstSystems,
  ...methodsTable.rows.filter(({ label, tunedAs }) =>
    tunedAs === undefined && firstSystems.every((known) => known.label !== label)
  ),
  { label: "BoRA r 8 b 64", method: "BoRA", options: { r: 8, alpha: 16, blocks: 64 } },
  { label: 'BoRA r 8 b "auto"', method: "BoRA", options: { r: 8, alpha: 16, blocks: "auto" } },
];

const integer = (value: number) => value.toLocaleString("en-US");
const ratio = (value: number, digits: number) => Number.isFinite(value) ? value.toFixed(digits) : "–";

function tableOf(model: ModelShape, target: readonly string[]): string {
  const count = ({ method, options }: System) =>
    countMethod(model, methodByName(method), options, { target }, tokens);
  const lora = count(firstSystems.find(({ label }) => label === "LoRA r 8")!);
  const row = (system: System, own: Count) => [
    system.label,
    integer(own.trainable),
    ratio(own.trainable / lora.trainable, 2),
    integer(own.adapterForward),
    ratio((own.baseForward + own.adapterForward) / (lora.baseForward + lora.adapterForward), 4),
    ratio(own.trainingStep / lora.trainingStep, 4),
  ];
  const header = [
    "system",
    "trainable parameters",
    "÷ LoRA r 8",
    "adapter multiply-adds",
    "forward ÷ LoRA r 8",
    "training step ÷ LoRA r 8",
  ];
  const aligned = table(header, counted.map((system) => row(system, count(system))));
  return `## ${model.name}\n\n${integer(model.parameters)} parameters; base forward ${
    integer(lora.baseForward)
  } multiply-adds a token.\n\n${aligned}\n`;
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        model: { type: "string", multiple: true },
        target: { type: "string", multiple: true, default: ["query", "key", "value"] },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const models = [shapeOf(await loadUseLite()), ...modelShapes];
  for (const name of values.model ?? []) {
    if (models.every((model) => model.name !== name)) {
      throw new UsageError(`no model "${name}"; have ${models.map((model) => model.name).join(", ")}`);
    }
  }
  const chosen = models.filter(({ name }) => values.model?.includes(name) ?? true);
  const markdown = [
    "# Parameters and multiply-adds\n",
    `Counted from shapes by \`deno task flops\`: adapters on ${
      values.target.join(", ")
    }, r = 8. Multiply-adds are per ` +
    "token through the linear layers (one multiply-add is two FLOPs; the paper counts it as one); attention's own " +
    "products, which grow with length and are the same for every system, and the language-model head are left out. A " +
    `training step counts 2mn for a frozen layer, 3mn for a trained one and an adapter's products forward and backward; ` +
    `what is done once a step (norms, products of weights) is shared by ${tokens} tokens. Where only the head is trained, ` +
    "nothing goes back through the trunk.\n",
    ...chosen.map((model) => tableOf(model, values.target)),
  ].join("\n");
  const out = await outputFolder(values.out);
  await writeWhole(`${out}/flops.md`, markdown);
  console.log(`${markdown}\nWrote ${out}/flops.md`);
}

await runCommand(main);
