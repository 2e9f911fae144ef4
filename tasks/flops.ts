/**
 * `deno task flops`: trainable parameters and multiply-adds per token of every system relative to LoRA, for
 * USE-lite and, from their configurations alone, MiniLM and the paper's models. Writes results/flops.{md,json}. `--help`
 * lists the options.
 */

import { parseArgs } from "node:util";
import { methodByName } from "../lib/adapters/registry.ts";
import { firstSystems, type System } from "../lib/adapters/systems.ts";
import { countMethod } from "../lib/analysis/counts.ts";
import { type ModelShape, shapeOf } from "../lib/analysis/shapes.ts";
import { publishedDecoders, publishedEncoders } from "../lib/models/published_configs.ts";
import { unloadedModel } from "../lib/models/unloaded_model.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { methodsTable } from "./tables/methods.ts";
import { outputFolder } from "./output.ts";
import { flopsPage, type ModelCounts } from "./pages/flops.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

/** The paper's models, by its names. */
const paper: Readonly<Record<string, string>> = {
  "RoBERTa-base": "roberta-base",
  "RoBERTa-large": "roberta-large",
  "LLaMA-3-8B": "meta-llama/Meta-Llama-3-8B",
  "Gemma-7B": "google/gemma-7b",
  "Qwen2.5-14B": "Qwen/Qwen2.5-14B",
};

const help = `deno task flops [options]

  --model NAME     only this model (repeatable): USE-lite, minilm, ${Object.keys(paper).join(", ")},
                   or the id of a published one: ${[...publishedEncoders, ...publishedDecoders].join(", ")}
  --target NAME    target modules, by name or by what they are for: query, key, value (repeatable; default: these three)
  --out DIR        where to write flops.md and flops.json (default: results)
  --json           print JSON instead of the page
  --help           this text
`;

/** Tokens per training step. Work done once per step is divided by this. */
const tokens = 4096;

/** The first table's systems, every other method, and BoRA as the paper counts it: b = 64. */
const counted: readonly System[] = [
  ...firstSystems,
  ...methodsTable.rows.filter(({ label, tunedAs }) =>
    tunedAs === undefined && firstSystems.every((known) => known.label !== label)
  ),
  { label: "BoRA r 8 b 64", method: "BoRA", options: { r: 8, alpha: 16, blocks: 64 } },
  { label: 'BoRA r 8 b "auto"', method: "BoRA", options: { r: 8, alpha: 16, blocks: "auto" } },
];

/** The shape of a model by its name in the help. Throws a UsageError for another name. */
async function shapeNamed(name: string): Promise<ModelShape> {
  if (name === "USE-lite") return shapeOf(await loadUseLite());
  const model = unloadedModel(paper[name] ?? name);
  if (model) return { ...shapeOf(model), name };
  const known = ["USE-lite", "minilm", ...Object.keys(paper)];
  throw new UsageError(`no model "${name}"; have ${known.join(", ")}, and others by their ids: see --help`);
}

/** A model's own names of the target modules: the roles query, key and value are modules of other names in a decoder. */
function targetsOn({ linears }: ModelShape, names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const own = linears.filter(({ role }) => role === name).map(({ target }) => target);
    return own.length > 0 ? [...new Set(own)] : [name];
  });
}

function countsOn(model: ModelShape, names: readonly string[]): ModelCounts {
  const target = targetsOn(model, names);
  return {
    name: model.name,
    parameters: model.parameters,
    systems: counted.map(({ label, method, options }) => ({
      label,
      ...countMethod(model, methodByName(method), options, { target }, tokens),
    })),
  };
}

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        model: { type: "string", multiple: true },
        target: { type: "string", multiple: true, default: ["query", "key", "value"] },
        out: { type: "string", default: "results" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const chosen: ModelShape[] = [];
  for (const name of new Set(values.model ?? ["USE-lite", "minilm", ...Object.keys(paper)])) {
    chosen.push(await shapeNamed(name));
  }
  const out = await outputFolder(values.out);
  const record = {
    schemaVersion: 1,
    target: values.target,
    tokens,
    reference: "LoRA r 8",
    models: chosen.map((model) => countsOn(model, values.target)),
  } as const;
  const page = await flopsPage.write(out, record);
  console.log(values.json ? JSON.stringify(record, null, 1) : `${page}\nWrote ${out}/flops.md`);
}

await runCommand(main);
