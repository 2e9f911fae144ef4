/** `deno task package`: the npm package in Node, by TypeScript's compiler, and in a page made by Vite. */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import config from "../deno.json" with { type: "json" };
import { version } from "../lib/version.ts";
import * as library from "../mod.ts";
import { ChromiumPage, executablePath } from "../tasks/browser/chromium.ts";
import { drivers } from "../tasks/conformance/drivers.ts";
import { Deno as denoInNode } from "../tasks/package/runtime/deno_in_node.ts";
import fixture from "./fixtures/bert_reference.json" with { type: "json" };
import { readings } from "./package/readings.js";
import { changes } from "./support/command.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { FakeHub } from "./support/fake_hub.ts";
import { withFolder } from "./support/files.ts";
import { suiteRows, writeGlueParquet } from "./support/glue_folders.ts";
import { findNode, installPackage, missingTools, output, tools } from "./support/installed_package.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const root = new URL("..", import.meta.url);
const missing = await missingTools();
const node = await findNode();
const vulkan = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].some((name) => Deno.env.has(name))
  ? {}
  : await drivers.find(({ id }) => id === "dawn")!.find();

/** What a test may need beside the package, with how to get it where it is not there. */
const needs = {
  ...Object.fromEntries(
    Object.entries(tools).map(([name, specifier]) => [
      name,
      missing.has(specifier) && `${specifier} in Deno's cache (deno run --no-lock -A ${specifier})`,
    ]),
  ) as Record<keyof typeof tools, false | string>,
  node: node === undefined && "Node (Debian: apt-get install nodejs)",
  swiftShader: vulkan === undefined && "SwiftShader (Debian: apt-get install chromium-common)",
  chromium: executablePath === undefined && "Chromium (Debian: apt-get install chromium)",
};

/** The project in which the package is installed, with Dawn and Vite where they are there; one for all tests. */
let project: Promise<string> | undefined;

async function makeProject(): Promise<string> {
  const folder = await Deno.makeTempDir();
  await installPackage(folder, [tools.dawn, tools.vite].filter((tool) => !missing.has(tool)));
  return folder;
}

Deno.test.afterAll(async () => {
  if (project) await Deno.remove(await project, { recursive: true });
});

/** A test in the project's folder; ignored, and says why, where something that it needs is not there. */
function packageTest(
  name: string,
  needed: readonly (keyof typeof needs)[],
  body: (folder: string) => Promise<void>,
): void {
  const lacking = (["bundler", "types", ...needed] as const).flatMap((need) => needs[need] || []);
  if (lacking.length > 0) console.log(`ignored: "${name}" needs ${lacking.join(", ")}`);
  Deno.test({
    name,
    ignore: lacking.length > 0,
    fn: async () => await body(await (project ??= makeProject())),
  });
}

/** Runs a module's text in Node, in the project's folder, and reads what it prints as JSON. */
async function inNode(folder: string, code: string, ...args: string[]) {
  // A file, because worker threads do not start under -e.
  await Deno.writeTextFile(`${folder}/own.js`, code);
  return JSON.parse(await output(node!, ["--no-warnings", "own.js", ...args], { cwd: folder }));
}

Deno.test("deno.json, the library and the changes tell one version", async () => {
  assert.equal(config.version, version);
  const [, latest] = (await Deno.readTextFile(new URL("CHANGELOG.md", root))).match(/^## (\S+)/m)!;
  assert.equal(latest, version);
});

Deno.test({
  name: "deno task package: stopped by Ctrl-C it leaves nothing that would be in the next one's way",
  ignore: Boolean(needs.bundler || needs.types),
  fn: () =>
    withFolder(async (folder) => {
      const program = config.tasks.package.command.split(" ").slice(1);
      const child = new Deno.Command(Deno.execPath(), {
        args: [...program, "--out", `${folder}/new/package`],
        cwd: root,
        env: { NO_COLOR: "1" },
        stderr: "piped",
      }).spawn();
      await changes(`${folder}/new/package.part`, 1);
      child.kill("SIGINT");
      const { code, stderr } = await child.output();
      assert.equal(code, 130);
      assert.match(new TextDecoder().decode(stderr), /Stopped\. Nothing is written to .*new\/package\.\n$/);
      assert.deepEqual([...Deno.readDirSync(folder)], []);
    }),
});

packageTest("in Node each entry point exports what its module does", ["node"], async (folder) => {
  for (const [entry, path] of Object.entries(config.exports)) {
    const code = `console.log(JSON.stringify(Object.keys(await import("@bora/webgpu${entry.slice(1)}"))));`;
    const module = await import(new URL(path, root).href);
    assert.deepEqual(await inNode(folder, code), Object.keys(module).toSorted(), entry);
  }
  const manifest = JSON.parse(await Deno.readTextFile(`${folder}/package/package.json`));
  assert.equal(manifest.version, version);
  for (const [name, exact] of Object.entries<string>(manifest.dependencies)) {
    assert.match(exact, /^\d+\.\d+\.\d+$/, name);
  }
});

packageTest("what its modules call of Deno's API is there in Node", [], async (folder) => {
  const called = new Set<string>();
  for (const { name, isFile } of Deno.readDirSync(`${folder}/package`)) {
    if (!isFile || !name.endsWith(".js")) continue;
    const text = await Deno.readTextFile(`${folder}/package/${name}`);
    for (const [, path] of text.matchAll(/\bDeno\.((?:(?:errors|env|build|permissions)\.)?\w+)/g)) {
      called.add(path);
    }
  }
  assert.ok(called.has("errors.NotFound") && called.has("openSync"));
  // Node gets packages by npm install instead: see rareNpmFile.
  for (const path of ["Command", "execPath"]) called.delete(path);
  const lookUp = (path: string) =>
    path.split(".").reduce<unknown>((found, name) => Reflect.get(Object(found), name), denoInNode);
  assert.deepEqual([...called].filter((path) => lookUp(path) === undefined), []);
});

packageTest(
  "in Node files, packages and the hub are read as in Deno, and refused alike",
  ["node"],
  async (folder) => {
    await writeCheckpoint(`${folder}/origin`, fixture.cases.RoBERTa.config);
    const files = [...Deno.readDirSync(`${folder}/origin`)].map(({ name }) =>
      [name, Deno.readFileSync(`${folder}/origin/${name}`)] as const
    );
    await writeGlueParquet(`${folder}/glue`, "RTE", await suiteRows("RTE", 20, 10));
    await using hub = new FakeHub(new Map(files));
    const given = (cache: string) => [hub.url, `${folder}/${cache}`, `${folder}/glue`] as const;
    const code = `import * as library from "@bora/webgpu";
    import { readings } from "./readings.js";
    console.log(JSON.stringify(await readings(library, ...process.argv.slice(2))));`;
    const found = await inNode(folder, code, ...given("in_node"));
    assert.deepEqual(found, JSON.parse(JSON.stringify(await readings(library, ...given("in_deno")))));
    assert.equal(found.hub.length, 37);
    assert.match(found.notText, /has no CoLA: neither/);
    const spam = `import { taskByName } from "@bora/webgpu";
    console.log(JSON.stringify(await taskByName("spam").load().catch(({ message }) => message)));`;
    assert.match(
      await inNode(folder, spam),
      /^SpamAssassin's mails .* is not installed: npm install @stdlib\/datasets-spam-assassin@0/,
    );
  },
);

packageTest("in Deno the package finds the packages installed with it", [], async (folder) => {
  const code = `import { loadUseLite } from "@bora/webgpu";
    console.log((await loadUseLite()).weights.size);`;
  await Deno.writeTextFile(`${folder}/in_deno_too.js`, code);
  const flags = ["run", "--allow-all", "--no-lock", "in_deno_too.js"];
  assert.equal(await output(Deno.execPath(), flags, { cwd: folder }), "37\n");
});

/** A program that TypeScript must accept: the marked lines are wrong, and it is wrong if they are not. */
const consumer = `
import { attach, bora, fineTune, loadEncoder, openGpu, saveAdapter, taskByName } from "@bora/webgpu";
import { Graph, linear, type Tensor } from "@bora/webgpu/graph";
import { type BlockOptions, type Method, type ObjectiveKind, objectives } from "@bora/webgpu/models";
import { tasks } from "@bora/webgpu/data";

const gpu = await openGpu();
const model = await loadEncoder("./roberta-base");
const adapter = attach(model, bora, { r: 8, blocks: 16, target: ["query"] });
const task = taskByName(tasks[0].name);
const options = { learningRate: 3e-3, epochs: 1, batchSize: 32, seed: 0 };
const { trained } = await fineTune({ gpu, model, adapter, task, ...options });
await saveAdapter("./adapter", model, adapter, trained, task);
export const graph = new Graph();
export const y: Tensor = linear(graph.input("x", [2, 3], "f32"), graph.input("w", [4, 3], "f32"));
export const method: Method<BlockOptions> = bora;
export const kind: ObjectiveKind = objectives.classification;
// @ts-expect-error: a rank is a number
attach(model, bora, { r: "8", target: ["query"] });
// @ts-expect-error: there is no such option
await openGpu({ autotuned: true });
`;

packageTest(
  "a program in TypeScript compiles against its types, and mistakes do not",
  [],
  async (folder) => {
    await Deno.writeTextFile(`${folder}/consumer.ts`, consumer);
    const flags = "--noEmit --strict --target esnext --module nodenext --lib esnext,dom".split(" ");
    const tsc = ["run", "--allow-all", "--no-lock", "--no-config", `${tools.types}/tsc`];
    assert.equal(await output(Deno.execPath(), [...tsc, ...flags, "consumer.ts"], { cwd: folder }), "");
  },
);

/** The tiny models, and rows for the decoder: conversations, and prompts with completions. */
async function writeModels(folder: string): Promise<void> {
  await writeCheckpoint(`${folder}/encoder`, tinyBert);
  await writeDecoder(`${folder}/decoder`, cases["LLaMA 2"]);
  const template = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}";
  await Deno.writeTextFile(`${folder}/decoder/chat_template.jinja`, template);
  const rows = Array.from({ length: 12 }, (_, i) => [..."abc"][i % 3] + [..."xyz"][i % 3]);
  const lines = (row: (prompt: string, completion: string) => object) =>
    rows.map(([prompt, completion]) => JSON.stringify(row(prompt, completion))).join("\n");
  const chat = (prompt: string, completion: string) => ({
    messages: [{ role: "user", content: prompt }, { role: "assistant", content: completion }],
  });
  await Deno.writeTextFile(`${folder}/chats.jsonl`, lines(chat));
  await Deno.writeTextFile(
    `${folder}/pairs.jsonl`,
    lines((prompt, completion) => ({ prompt, completion })),
  );
}

interface Trained {
  readonly losses: readonly number[];
  readonly before: unknown;
  readonly after: unknown;
}

/** Both models' losses are those of the other runtime to 1e-4, and their saved adapters predict as the trained ones did. */
function assertAgree(own: Record<string, Trained>, other: Record<string, Trained>): void {
  for (const model of ["encoder", "decoder"]) {
    const { losses, before, after } = own[model];
    assert.deepEqual(after, before, model);
    assert.ok(losses.length >= 4 && losses.at(-1)! < losses[0], `${losses}`);
    const apart = losses.map((loss, i) => Math.abs(loss - other[model].losses[i]));
    assert.ok(apart.length === other[model].losses.length && Math.max(...apart) < 1e-4, `${apart}`);
  }
}

/** What Deno's own WebGPU makes of it on SwiftShader. */
async function trainedInDeno(folder: string, rows: string): Promise<Record<string, Trained>> {
  const script = new URL("package/in_deno.js", import.meta.url).pathname;
  const args = [`${folder}/encoder`, `${folder}/decoder`, `${folder}/${rows}`, `${folder}/in_deno`];
  const env = { ...vulkan, DENO_WEBGPU_BACKEND: "vulkan" };
  const flags = ["run", "--allow-all", "--no-check"];
  return JSON.parse(await output(Deno.execPath(), [...flags, script, ...args], { cwd: root, env }));
}

packageTest(
  "Node with Dawn trains, saves and loads as Deno does",
  ["node", "dawn", "swiftShader"],
  async (folder) => {
    await writeModels(folder);
    const args = ["--no-warnings", "in_node.js", "encoder", "decoder", "chats.jsonl", "adapters"];
    const own = JSON.parse(await output(node!, args, { cwd: folder, env: vulkan }));
    assert.match(own.adapter, /SwiftShader/);
    assertAgree(own, await trainedInDeno(folder, "chats.jsonl"));
  },
);

const page = `<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>package</title>
<script type="module" src="./in_page.js"></script></html>`;

packageTest(
  "a page that Vite builds trains, saves and loads as Deno does",
  ["node", "vite", "chromium", "swiftShader"],
  async (folder) => {
    await writeModels(folder);
    await Deno.writeTextFile(`${folder}/index.html`, page);
    const build = ["node_modules/vite/bin/vite.js", "build", "--base=/vite/", "--logLevel=error"];
    await output(node!, build, { cwd: folder });
    const [encoder, decoder] = ["encoder", "decoder"].map((model) =>
      [...Deno.readDirSync(`${folder}/${model}`)].map(({ name }) => `/files/${model}/${name}`)
    );
    await using chromium = await ChromiumPage.open({
      entry: new URL("package/training.js", import.meta.url),
      files: { "/vite/": pathToFileURL(`${folder}/dist/`), "/files/": pathToFileURL(`${folder}/`) },
    }, { path: "/vite/index.html" });
    await chromium.page.waitForFunction("globalThis.run");
    const run = `run(...${JSON.stringify([encoder, decoder, "/files/pairs.jsonl"])})`;
    const own: Record<string, Trained> = await chromium.page.evaluate(run);
    assert.deepEqual(chromium.complaints, []);
    assertAgree(own, await trainedInDeno(folder, "pairs.jsonl"));
  },
);
