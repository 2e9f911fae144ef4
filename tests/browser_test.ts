/** The library in a browser: its bundle, and the page of `deno task browser`, in Chromium on SwiftShader. */
/// <reference lib="dom" />

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { baseMetadata } from "../lib/adapters/base_weights.ts";
import { taskByName } from "../lib/data/registry.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { parseSafetensors } from "../lib/models/safetensors.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { version } from "../lib/version.ts";
import { ChromiumPage } from "../tasks/browser/chromium.ts";
import { demo, statusOf } from "../tasks/browser/demo.ts";
import { contestants, makeCourse, trainSideBySide } from "../tasks/browser/side_by_side.ts";
import { serveSite } from "../tasks/browser/site.ts";
import { browserTest, pixelsOf, widthOnPhone } from "./support/browser.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyBert } from "./support/tiny_bert.ts";

/**
 * The values for the page's form: few and short examples, for SwiftShader, and few steps, since the rounding
 * differences between two drivers grow with each AdamW step (Deno on llvmpipe against SwiftShader: 7e-6 after
 * these 8 steps, 4e-4 after 9 steps of two examples each).
 */
const sizes = { train: 24, epochs: 1, batchSize: 3 };
const maxTokens = 8;
const steps = 8;

/** The losses of both methods in Deno, on its own adapter. */
async function lossesInDeno(): Promise<readonly (readonly number[])[]> {
  const task = { ...taskByName("sentiment"), maxTokens };
  const course = await makeCourse(await loadUseLite(), task, { ...sizes, dev: 2 });
  return (await trainSideBySide(await testGpu(), course)).map(({ losses }) => losses);
}

browserTest("the page trains LoRA and BoRA to the losses of Deno, and shows them", async () => {
  await using chromium = await ChromiumPage.open(await demo([]));
  const { page } = chromium;
  page.setDefaultTimeout(300_000);
  const expected = await lossesInDeno();
  for (const [name, value] of Object.entries({ ...sizes, maxTokens })) {
    await page.locator(`[name=${name}]`).fill(`${value}`);
  }
  await page.getByRole("button", { name: "Train" }).click();
  assert.match(await statusOf(page), /^Done: 8 steps each, and 24 held-out examples/);

  const finishes = (await chromium.page.evaluate("import('/main.js')") as {
    finishes: { losses: number[]; score: number }[];
  }).finishes;
  for (const [i, { system: { label } }] of contestants.entries()) {
    const { losses, score } = finishes[i];
    assert.equal(losses.length, steps);
    losses.forEach((loss, step) => {
      const error = Math.abs(loss - expected[i][step]);
      assert.ok(error <= 1e-4, `${label}, step ${step}: ${loss}, in Deno ${expected[i][step]}`);
    });
    const card = page.locator(".card", { has: page.getByRole("heading", { name: label, exact: true }) });
    const [trainable, loss, speed, accuracy] = await card.locator("dd").allInnerTexts();
    assert.equal(trainable, { "LoRA r 8": "24,576", "BoRA r 8 b 16": "32,768" }[label]);
    assert.equal(loss, losses.at(-1)!.toFixed(3));
    assert.ok(Number(speed.replaceAll(",", "")) > 0, speed);
    assert.equal(accuracy, `${(100 * score).toFixed(1)} %`);
    assert.ok((await page.locator("#key").innerText()).includes(label));
  }
  const pixels = await pixelsOf(page, [[0x00, 0x72, 0xb2], [0xd5, 0x5e, 0x00]]);
  assert.ok(pixels.every((count) => count > 100), `${pixels} pixels of the curves in the methods' colours`);
  assert.notDeepEqual(finishes[0].losses, finishes[1].losses);

  assert.equal(await widthOnPhone(page), 390, "on a phone nothing lies beyond the right edge");
  assert.deepEqual(chromium.complaints, []);
});

browserTest("the library bundles for browsers: a device of the page's own, and no npm cache", async () => {
  await using chromium = await ChromiumPage.open({
    entry: new URL("support/browser_entry.ts", import.meta.url),
  });
  const { product, advice, noFolder } = await chromium.page.evaluate(async () => {
    const { compile, Graph, loadDecoder, loadUseLite, matmul, openGpu }:
      typeof import("./support/browser_entry.ts") = await import(
        `${location.origin}/main.js`
      );
    const device = await (await navigator.gpu.requestAdapter())!.requestDevice();
    using gpu = await openGpu({ device });
    const graph = new Graph();
    const c = matmul(graph.input("a", [2, 3], "f32"), graph.input("b", [3, 2], "f32"));
    using compiled = await compile(gpu, [c], { label: "product", weights: () => ({}) as never });
    compiled.upload({ a: Float32Array.of(1, 2, 3, 4, 5, 6), b: Float32Array.of(1, 0, 0, 1, 1, 1) });
    compiled.run();
    const product = [...await compiled.read(c)];
    const advice = await loadUseLite().then(String, (error: Error) => error.message);
    const noFolder = await loadDecoder("./model").then(String, (error: Error) => error.message);
    return { product, advice, noFolder };
  });
  assert.deepEqual(product, [4, 5, 10, 11]);
  assert.match(
    advice,
    /model\.json is a file of an npm package, and there is no npm cache here: pass \{ packages/,
  );
  assert.match(noFolder, /^\.\/model cannot be read: a browser has no folders; .* FilesInMemory$/);
  assert.deepEqual(chromium.complaints, []);
});

browserTest(
  "an encoder's folder and an adapter's are read from memory in a page, and their digests are Deno's",
  () =>
    withFolder(async (folder) => {
      await writeCheckpoint(folder, tinyBert);
      await using chromium = await ChromiumPage.open({
        entry: new URL("support/browser_entry.ts", import.meta.url),
        files: { "/bert/": pathToFileURL(`${folder}/`) },
      });
      const file = await chromium.page.evaluate(async (names) => {
        const { adapterFiles, attach, FilesInMemory, loadAdapter, loadEncoder, lora }:
          typeof import("./support/browser_entry.ts") = await import(`${location.origin}/main.js`);
        const bytes = async (name: string) =>
          new Uint8Array(await (await fetch(`/bert/${name}`)).arrayBuffer());
        const entries = await Promise.all(names.map(async (name) => [name, await bytes(name)] as const));
        using files = new FilesInMemory("bert", Object.fromEntries(entries));
        const model = await loadEncoder(files.path);
        const adapter = attach(model, lora, { r: 2, target: ["query"] });
        const weights = new Map(
          [...adapter.parameters].map(([name, { shape }]) => [
            name,
            { shape, data: new Float32Array(shape[0] * shape[1]) },
          ]),
        );
        const made = adapterFiles(model, adapter, weights);
        using saved = new FilesInMemory("adapter", made);
        const loaded = await loadAdapter(saved.path, model);
        if (loaded.weights.size !== weights.size) throw new Error(`${loaded.weights.size} tensors`);
        return [...made["adapter_model.safetensors"] as Uint8Array];
      }, [...Deno.readDirSync(folder)].map(({ name }) => name));
      const inPage = parseSafetensors(Uint8Array.from(file), "the page's").metadata;
      assert.deepEqual(inPage, {
        format: "pt",
        ...baseMetadata(await loadEncoder(folder)),
        bora_webgpu_version: version,
      });
      assert.deepEqual(chromium.complaints, []);
    }),
);

Deno.test("a site serves its own files and no others", async () => {
  const include = new URL("../wgsl/include/", import.meta.url);
  const entry = new URL("support/letters.ts", import.meta.url);
  await using site = await serveSite({ entry, files: { "/wgsl/": include } });
  await assert.rejects(
    serveSite({ entry, port: Number(new URL(site.url).port) }),
    /^Error: port \d+ cannot be had \(.*in use.*\): name another port \(--port\)$/,
  );
  const status = async (path: string) => {
    const response = await fetch(new URL(path, site.url));
    return { status: response.status, text: await response.text() };
  };
  assert.match((await status("main.js")).text, /export/);
  assert.equal(
    (await status("wgsl/index.wgsl")).text,
    await Deno.readTextFile(new URL("index.wgsl", include)),
  );
  for (
    const path of [
      "wgsl/none.wgsl",
      "wgsl/%2e%2e/matmul.wgsl",
      "wgsl/..%2fmatmul.wgsl",
      "wgsl/..%5Cmatmul.wgsl",
      "deno.json",
      "wgsl",
    ]
  ) {
    assert.equal((await status(path)).status, 404, path);
  }
});
