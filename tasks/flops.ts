/**
 * `deno task flops`: trainable parameters and multiply-adds per token of every system relative to LoRA, for
 * USE-lite and, from their configurations alone, MiniLM and the paper's models. Writes results/flops.{md,json}. `--help`
 * lists the options.
 */

import { parseArgs } from "node:util";
import { methodByName } from "../lib/adapters/registry.ts";
import { firstSystems, type System } from "../lib/adapters/systems.ts";
import { countMethod } from "../lib/analysis/counts.ts";
import { type ModelShape, modelShapes, shapeOf } from "../lib/analysis/shapes.ts";
import { publishedConfig } from "../lib/models/published_configs.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { methodsTable } from "./tables/methods.ts";
import { outputFolder } from "./output.ts";
import { flopsPage, type ModelCounts } from "./pages/flops.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task flops [options]

  --model NAME     only this model (repeatable): USE-lite, minilm, ${
  modelShapes.map(({ name }) => name).join(", ")
}
  --target NAME    target modules (repeatable; default: query, key and value)
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

function countsOn(model: ModelShape, target: readonly string[]): ModelCounts {
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
  const miniLm = unloadedEncoder("minilm", publishedConfig("minilm")!);
  const models = [shapeOf(await loadUseLite()), shapeOf(miniLm), ...modelShapes];
  for (const name of values.model ?? []) {
    if (models.every((model) => model.name !== name)) {
      throw new UsageError(`no model "${name}"; have ${models.map((model) => model.name).join(", ")}`);
    }
  }
  const chosen = models.filter(({ name }) => values.model?.includes(name) ?? true);
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
