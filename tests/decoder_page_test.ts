/** The decoder's page of `deno task browser` in Chromium on SwiftShader: it writes, learns and saves what Deno does. */
/// <reference lib="dom" />

import assert from "node:assert/strict";
import { loadAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { ChromiumPage } from "../tasks/browser/chromium.ts";
import { demo, statusOf } from "../tasks/browser/demo.ts";
import { learn, type Learnt, makeLesson } from "../tasks/browser/lesson.ts";
import { browserTest, pixelsOf, widthOnPhone } from "./support/browser.ts";
import {
  download,
  fill,
  newTokens,
  openDecoderPage,
  prompt,
  settings,
  steps,
  train,
} from "./support/decoder_page.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";

/** What Deno learns, on its own adapter, and how it goes on from the prompt without an adapter. */
async function inDeno(
  folder: string,
): Promise<{ readonly losses: readonly number[]; readonly before: string }> {
  const gpu = await testGpu();
  const model = await loadDecoder(folder);
  using frozen = FrozenWeights.forTraining(gpu, model);
  using writer = new Writer({ gpu, model, frozen });
  const [{ text: before }] = await writer.write([prompt], { maxTokens: newTokens });
  const { losses } = await learn(gpu, frozen, await makeLesson(model, { ...settings, method: "BoRA" }));
  return { losses, before };
}

/** What Deno writes with the adapter in `adapter`, which must record this very base. */
async function writtenWith(adapter: string, folder: string): Promise<string> {
  const model = await loadDecoder(folder);
  const saved = await loadAdapter(adapter, model, methods, assert.fail);
  using writer = new Writer({ gpu: await testGpu(), model, ...saved });
  return (await writer.write([prompt], { maxTokens: newTokens }))[0].text;
}

browserTest(
  "the decoder's page learns to Deno's losses, writes before and after, and gives the adapter",
  () =>
    withFolder(async (folder) => {
      const model = `${folder}/tiny`;
      await writeDecoder(model, cases["LLaMA 2"]);
      await using chromium = await openDecoderPage(model);
      const { page } = chromium;
      const expected = await inDeno(model);
      await fill(page);
      assert.match(await train(page), /^Done: 8 steps on 3 examples, in [\d.]+ s\.$/);

      const { losses } = await page.evaluate("import('/decoder.js').then(({ learnt }) => learnt)") as Learnt;
      assert.equal(losses.length, steps);
      losses.forEach((loss, step) => {
        const error = Math.abs(loss - expected.losses[step]);
        assert.ok(error <= 1e-4, `step ${step}: ${loss}, in Deno ${expected.losses[step]}`);
      });
      assert.ok(losses.at(-1)! < losses[0] / 2, `the loss falls: ${losses}`);
      const card = page.locator(".card", { has: page.getByRole("heading", { name: "BoRA", exact: true }) });
      const [trainable, loss, speed, step] = await card.locator("dd").allInnerTexts();
      assert.match(trainable, /^[\d,]+$/);
      assert.deepEqual([loss, step], [losses.at(-1)!.toFixed(3), "8 of 8"]);
      assert.ok(Number(speed.replaceAll(",", "")) > 0, speed);
      const [pixels] = await pixelsOf(page, [[0xd5, 0x5e, 0x00]]);
      assert.ok(pixels > 100, `${pixels} pixels of the curve`);

      const [before, after] = await Promise.all(
        ["#before", "#after"].map((id) => page.locator(id).textContent()),
      );
      assert.equal(before, expected.before);
      assert.notEqual(after, before);
      const adapter = `${folder}/adapter`;
      assert.deepEqual(
        await download(page, adapter),
        ["README.md", "adapter_config.json", "adapter_model.safetensors"],
      );
      assert.equal(after, await writtenWith(adapter, model));
      assert.equal(await widthOnPhone(page), 390, "on a phone nothing lies beyond the right edge");
      assert.deepEqual(chromium.complaints, []);
    }),
);

browserTest(
  "the decoder's page takes files that the user picks, and names the line that it cannot learn from",
  () =>
    withFolder(async (model) => {
      await writeDecoder(model, cases["LLaMA 2"]);
      await using chromium = await openDecoderPage();
      const { page } = chromium;
      await fill(page);
      await page.locator("[name=files]").setInputFiles(
        [...Deno.readDirSync(model)].map(({ name }) => `${model}/${name}`),
      );
      await page.getByRole("button", { name: "Write" }).click();
      assert.equal(await statusOf(page), "Done.");
      const answers = await Promise.all(["#before", "#after"].map((id) => page.locator(id).textContent()));
      assert.deepEqual(answers, [(await inDeno(model)).before, "–"]);

      await page.locator("[name=examples]").fill(`${settings.examples}\n{"prompt": "d"}`);
      await page.getByRole("button", { name: "Train" }).click();
      await page.locator("#status.failed").waitFor();
      assert.match(
        await page.locator("#status").innerText(),
        /^memory:\d+\/page\/examples\.jsonl line 4: "completion" is missing: write a text/,
      );
      assert.deepEqual(chromium.complaints, []);
    }),
);

for (const path of ["/", "/decoder"]) {
  browserTest(`without WebGPU, the page at ${path} says so, and what to do`, async () => {
    const init = () => Object.defineProperty(navigator, "gpu", { value: undefined });
    await using chromium = await ChromiumPage.open(await demo([]), { path, init });
    const { page } = chromium;
    await page.locator("#status.failed").waitFor();
    assert.match(
      await page.locator("#status").innerText(),
      /^No WebGPU adapter: .*In a browser: WebGPU wants/s,
    );
    assert.ok(await page.getByRole("button", { name: "Train" }).isDisabled());
    assert.deepEqual(chromium.complaints, []);
  });
}
