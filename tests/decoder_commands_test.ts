/** `deno task finetune` on texts and `deno task generate`, on a tiny decoder. */

import assert from "node:assert/strict";
import { instructionPrompt } from "../lib/models/instruction_prompt.ts";
import { cardFields, cardScores } from "./support/card_fields.ts";
import { changes, outputOf, runTask, startTask } from "./support/command.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { writeTinyDecoder } from "./support/tiny_decoder.ts";

const chatTemplate = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}";

async function withModel(body: (folder: string, model: string) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const model = `${folder}/model`;
    await writeDecoder(model, cases["LLaMA 2"]);
    await Deno.writeTextFile(`${model}/chat_template.jinja`, chatTemplate);
    await body(folder, model);
  });
}

const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ prompt: "abc"[i % 3], completion: "xyz"[i % 3] }))
    .join("\n");

Deno.test("finetune learns answers, tells what it left out, shows a sample, and generate writes with the adapter", () =>
  withModel(async (folder, model) => {
    const long = JSON.stringify({ prompt: "a".repeat(80), completion: "b" });
    await Deno.writeTextFile(`${folder}/train.jsonl`, `${rows(60)}\n${long}\n`);
    await Deno.writeTextFile(`${folder}/dev.jsonl`, `${long}\n${rows(6)}`);
    const made = await runTask("finetune", [
      ...["--model", model, "--train", `${folder}/train.jsonl`, "--dev", `${folder}/dev.jsonl`],
      ...["--method", "LoRA", "--r", "4", "--learning-rate", "0.05", "--epochs", "4", "--batch-size", "4"],
      ...["--dropout", "0", "--max-tokens", "32", "--out", `${folder}/adapter`],
    ]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^61 examples to train on, 7 to evaluate on$/m);
    assert.match(
      made.stdout,
      /^train: 1 rows left out, because nothing of them is learnt within the limit of tokens \(.*train\.jsonl line 61\)$/m,
    );
    const perplexities = [...made.stdout.matchAll(/perplexity ([\d.]+)/g)].map(([, value]) => Number(value));
    assert.equal(perplexities.length, 4);
    assert.ok(perplexities[3] < 1.5 && perplexities[3] < perplexities[0], `${perplexities}`);
    assert.match(made.stdout, /^sample: <s>a → x$/m);
    assert.match(made.stdout, /^LoRA with \d+ parameters: .*adapter$/m);
    assert.deepEqual(
      [...Deno.readDirSync(`${folder}/adapter`)].map(({ name }) => name).toSorted(),
      ["README.md", "adapter_config.json", "adapter_model.safetensors"],
    );
    const card = await Deno.readTextFile(`${folder}/adapter/README.md`);
    assert.equal(cardFields(card).library_name, "peft");
    assert.equal(cardScores(card).Perplexity.toFixed(4), perplexities[3].toFixed(4));
    assert.match(card, /^- Data: `train\.jsonl`, 61 examples \(only the answers are learnt\)$/m);
    assert.match(card, /^On dev\.jsonl, 7 examples, after that epoch:$/m);
    assert.ok(!card.includes(folder), "where the files lay is nobody's business");

    const generate = async (...args: string[]) =>
      await runTask("generate", ["--model", model, "--max-tokens", "8", ...args]);
    const written = await generate("--adapter", `${folder}/adapter`, "--prompt", "b");
    assert.deepEqual([written.code, written.stdout], [0, "y\n"], written.stderr);
    const note =
      /^special tokens that a prompt spells are text there: <s>, <\/s>; --chat writes the model's own$/m;
    assert.doesNotMatch(written.stderr, /special tokens/);
    assert.match((await generate("--prompt", "<s>b</s>")).stderr, note);
    await Deno.writeTextFile(`${folder}/prompts`, "a\nb\nc\n");
    const several = await generate("--adapter", `${folder}/adapter`, "--prompts", `${folder}/prompts`);
    assert.equal(several.code, 0, several.stderr);
    assert.equal(several.stdout, '"x"\n"y"\n"z"\n');
    const beams = await generate("--adapter", `${folder}/adapter`, "--prompt", "c", "--beams", "2");
    assert.equal(beams.stdout, "z\n");
    const bare = await generate("--prompt", "b");
    assert.notEqual(bare.stdout, written.stdout);

    const merged = await runTask("merge", [
      ...["--model", model, "--adapter", `${folder}/adapter`, "--out", `${folder}/merged`],
    ]);
    assert.equal(merged.code, 0, merged.stderr);
    const again = await generate("--model", `${folder}/merged`, "--prompt", "b");
    assert.equal(again.stdout, "y\n");
  }));

Deno.test("finetune's sample goes on from a prompt, though prompts are learnt too, and from a whole text's first tokens", () =>
  withModel(async (folder, model) => {
    await Deno.writeTextFile(`${folder}/train.jsonl`, rows(8));
    const sampleOf = async (dev: object) => {
      await Deno.writeTextFile(`${folder}/dev.jsonl`, JSON.stringify(dev));
      const { code, stdout, stderr } = await runTask("finetune", [
        ...[
          "--model",
          model,
          "--train",
          `${folder}/train.jsonl`,
          "--dev",
          `${folder}/dev.jsonl`,
          "--loss",
          "all",
        ],
        ...["--epochs", "1", "--max-tokens", "32", "--out", `${folder}/${Object.keys(dev)[0]}`],
      ]);
      assert.equal(code, 0, stderr);
      return stdout.match(/^sample: (.*) →/m)?.[1];
    };
    assert.equal(await sampleOf({ prompt: "abcabc", completion: "x" }), "<s>abcabc");
    assert.equal(await sampleOf({ text: "a".repeat(20) }), `<s>${"a".repeat(7)}`);
  }));

Deno.test("finetune --target all-linear adapts every linear layer, and stands alone", () =>
  withModel(async (folder, model) => {
    await Deno.writeTextFile(`${folder}/train.jsonl`, rows(8));
    const finetune = async (...args: string[]) =>
      await runTask("finetune", [
        ...["--model", model, "--train", `${folder}/train.jsonl`, "--out", `${folder}/adapter`],
        ...["--method", "LoRA", "--epochs", "1", "--max-tokens", "32", "--target", "all-linear", ...args],
      ]);
    const refused = await finetune("--target", "q_proj");
    assert.match(refused.stderr, /--target all-linear is every linear layer: leave the other targets out/);
    assert.equal(refused.code, 2);
    const { code, stderr } = await finetune();
    assert.equal(code, 0, stderr);
    const { target_modules } = JSON.parse(await Deno.readTextFile(`${folder}/adapter/adapter_config.json`));
    assert.deepEqual(
      [...new Set(target_modules.map((path: string) => path.split(".").at(-1)))].toSorted(),
      ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
    );
  }));

Deno.test("finetune on texts that is killed goes on with --resume to the same bits, and not without being asked", () =>
  withModel(async (folder, model) => {
    await Deno.writeTextFile(`${folder}/train.jsonl`, rows(200));
    const finetune = (out: string) => [
      ...[
        "--model",
        model,
        "--train",
        `${folder}/train.jsonl`,
        "--out",
        `${folder}/${out}`,
        "--method",
        "BoRA",
      ],
      ...["--blocks", "4", "--r", "2", "--epochs", "2", "--batch-size", "2", "--max-tokens", "32"],
    ];
    const whole = await runTask("finetune", finetune("whole"));
    assert.equal(whole.code, 0, whole.stderr);
    const child = startTask("finetune", finetune("killed"));
    const ended = outputOf(child);
    await changes(`${folder}/killed.checkpoint`, 3);
    child.kill("SIGKILL");
    assert.equal((await ended).signal, "SIGKILL");
    const again = await runTask("finetune", finetune("killed"));
    assert.equal(again.code, 2);
    assert.match(
      again.stderr,
      /killed\.checkpoint is of a run that was stopped: --resume goes on with it; remove/,
    );
    const interrupted = startTask("finetune", [...finetune("killed"), "--resume"]);
    const said = outputOf(interrupted);
    await changes(`${folder}/killed.checkpoint`, 1);
    interrupted.kill("SIGINT");
    const { code, stderr } = await said;
    assert.equal(code, 130, stderr);
    assert.match(
      stderr,
      /^Stopped after step \d+ of \d+\. The same command goes on from the last checkpoint, .*killed\.checkpoint\.$/m,
    );
    const resumed = await runTask("finetune", [...finetune("killed"), "--resume"]);
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stdout, /^goes on from .*killed\.checkpoint$/m);
    const adapterOf = (out: string) => Deno.readFile(`${folder}/${out}/adapter_model.safetensors`);
    assert.deepEqual(await adapterOf("killed"), await adapterOf("whole"));
    const left = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
      /whole|killed/.test(name)
    );
    assert.deepEqual(left.toSorted(), ["killed", "whole"]);
  }));

Deno.test("finetune, merge and export end on Ctrl-C with a line that says what is kept, and leave nothing half done", () =>
  withModel(async (folder, model) => {
    const stopped = async (name: string, args: readonly string[], preload: string) => {
      const { code, stderr } = await outputOf(startTask(name, ["--model", model, ...args], { preload }));
      assert.equal(code, 130, stderr);
      return stderr.trim().split("\n").at(-1);
    };
    const train = `${folder}/train.jsonl`;
    await Deno.writeTextFile(train, rows(40));
    const finetune = ["--train", train, "--method", "LoRA", "--epochs", "1", "--batch-size", "2"];
    assert.match(
      await stopped("finetune", [...finetune, "--out", `${folder}/new/adapter`], "interrupt") ?? "",
      /^Stopped after step \d+ of 14\. No checkpoint is there yet: the same command starts anew\.$/,
    );
    const adapter = `${folder}/adapter`;
    const made = await runTask("finetune", ["--model", model, ...finetune, "--out", adapter]);
    assert.equal(made.code, 0, made.stderr);
    const out = `${folder}/new/out`;
    for (const name of ["merge", "export"]) {
      const words = await stopped(name, ["--adapter", adapter, "--out", out], "interrupt_rename");
      assert.equal(words, `Stopped. Nothing is written to ${out}.`);
    }
    assert.deepEqual(
      [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted(),
      ["adapter", "model", "train.jsonl"],
    );
  }));

Deno.test("finetune refuses a table's classes for a decoder, whose adapters have no head", () =>
  withModel(async (folder, model) => {
    const table = `${folder}/table.jsonl`;
    await Deno.writeTextFile(table, '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n');
    const options = [
      "--model",
      model,
      "--train",
      table,
      "--text",
      "text",
      "--label",
      "label",
      "--out",
      `${folder}/out`,
    ];
    const { code, stderr } = await runTask("finetune", options);
    assert.match(
      stderr,
      /is a decoder, and a decoder's adapter has no head: give rows of \{prompt, completion\}/,
    );
    assert.equal(code, 2);
  }));

Deno.test("generate --instruction asks with the prompt with which its rows are learnt", () =>
  withFolder(async (folder) => {
    await writeTinyDecoder(`${folder}/tiny`);
    const generate = async (...args: string[]) => {
      const { code, stdout, stderr } = await runTask("generate", [
        ...["--model", `${folder}/tiny`, "--max-tokens", "8", ...args],
      ]);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const own = { instruction: "Add.", input: "1 2" };
    const asked = await generate("--instruction", own.instruction, "--input", own.input);
    assert.equal(asked, await generate("--prompt", instructionPrompt(own)));
    assert.notEqual(asked, await generate("--prompt", own.instruction));
    const alone = await generate("--instruction", own.instruction, "--input", " ");
    assert.equal(alone, await generate("--prompt", instructionPrompt({ instruction: own.instruction })));
  }));

Deno.test("generate --prompts: lines that are alike draw texts of their own, also beyond the first that are written together", () =>
  withModel(async (folder, model) => {
    await Deno.writeTextFile(`${folder}/prompts`, "ab\n".repeat(10));
    const { code, stdout, stderr } = await runTask("generate", [
      ...["--model", model, "--prompts", `${folder}/prompts`, "--max-tokens", "12", "--temperature", "2"],
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(new Set(stdout.trimEnd().split("\n")).size, 10, stdout);
  }));

Deno.test("generate --prompts: a prompt that is too long is named by its line, before any is gone on from", () =>
  withModel(async (folder, model) => {
    const path = `${folder}/prompts`;
    await Deno.writeTextFile(path, `${"ab\n".repeat(9)}\n${"a".repeat(61)}\nab\n`);
    const { code, stdout, stderr } = await runTask("generate", [
      ...["--model", model, "--prompts", path, "--max-tokens", "4"],
    ]);
    const told = `${path} line 11 has 62 tokens, and 4 new ones are wanted: the model reads 64 in all`;
    assert.deepEqual([code, stdout, stderr.includes(told)], [1, "", true], stderr);
  }));

Deno.test("generate ends without a word of its own when whoever reads what it writes has ended", () =>
  withModel(async (folder, model) => {
    await Deno.writeTextFile(`${folder}/prompts`, "ab\nba\n");
    const child = startTask("generate", [
      "--model",
      model,
      "--prompts",
      `${folder}/prompts`,
      "--max-tokens",
      "4",
    ]);
    await child.stdout.cancel();
    const stderr = await new Response(child.stderr).text();
    assert.deepEqual([(await child.status).code, stderr.includes("Broken pipe")], [141, false], stderr);
  }));

Deno.test("generate: a message by the chat template, a conversation on the terminal, and what it refuses", () =>
  withModel(async (folder, model) => {
    const generate = async (args: string[], env?: Record<string, string>) =>
      await runTask("generate", ["--model", model, "--max-tokens", "4", ...args], env);
    const chat = await generate(["--chat", "--prompt", "hello"]);
    assert.equal(chat.code, 0, chat.stderr);
    assert.notEqual(chat.stdout, (await generate(["--prompt", "hello"])).stdout);
    const talk = await outputOf(
      startTask("generate", ["--model", model, "--max-tokens", "4"], { input: "hello\n\nwhy\n" }),
    );
    const [first, second, ...more] = talk.stdout.split("\n");
    assert.deepEqual([talk.code, `${first}\n`, more], [0, chat.stdout, [""]], talk.stderr);
    assert.notEqual(second, first);
    const full = /^> .*The conversation has filled the 64 tokens that the model reads: begin anew\.$/m;
    const long = await outputOf(
      startTask("generate", ["--model", model, "--max-tokens", "60"], { input: "hello\nwhy\nso\n" }),
    );
    assert.deepEqual([long.code, full.test(long.stderr)], [0, true], long.stderr);
    assert.ok(long.stdout.startsWith(first), "what has room is written");
    const question = { input: `${"a".repeat(99)}\nb\n` };
    const longer = await outputOf(startTask("generate", ["--model", model], question));
    assert.deepEqual([longer.code, full.test(longer.stderr), longer.stdout], [0, true, ""], longer.stderr);
    const refused = async (args: string[], code: number, message: RegExp) => {
      const { code: found, stderr } = await generate(args);
      assert.match(stderr, message);
      assert.equal(found, code);
    };
    await refused(
      ["--prompt", "a", "--prompts", "b"],
      2,
      /give --prompt, --instruction or --prompts, not two/,
    );
    await refused(
      ["--instruction", "a", "--chat"],
      2,
      /--instruction has a prompt of its own: leave --chat out/,
    );
    await refused(["--beams", "2"], 2, /--beams gives a text all at once, .*: give a --prompt$/m);
    await refused(["--prompt", "a", "--input", "b"], 2, /--input is an instruction's: give an --instruction/);
    await refused(["--prompt", "a", "--temperature", "hot"], 2, /--temperature wants a number, not "hot"/);
    await refused(
      ["--prompt", "a", "--top-k", "3"],
      2,
      /--top-k is for tokens that are drawn: give a --temperature/,
    );
    await refused(["--prompt", "a", "--beams", "2", "--temperature", "1"], 2, /leave --temperature out/);
    await refused(["--prompt", "a", "--beams", "2", "--stop", "b"], 2, /leave --stop out/);
    const wrong = async (args: string[], message: RegExp) =>
      await refused(["--model", `${folder}/none`, "--prompt", "a", ...args], 2, message);
    await wrong(["--temperature=-1"], /temperature is -1: use a number from 0/);
    await wrong(["--beams", "0"], /--beams wants a whole number from 1, not 0/);
    await wrong(["--max-tokens", "1.5"], /--max-tokens wants a whole number from 1, not 1\.5/);
    await wrong(["--stop", ""], /a stop string is empty/);
    await refused(
      ["--prompt", "a", "--max-tokens", "99"],
      1,
      /prompt 0 has 2 tokens, and 99 new ones are wanted: model reads 64/,
    );
    await refused(["--prompt", "a", "--adapter", folder], 1, /adapter_config\.json/);
    await Deno.remove(`${model}/chat_template.jinja`);
    await refused(["--chat", "--prompt", "a"], 2, /model has no chat template: leave --chat out/);
    await refused([], 2, /model has no chat template: give a --prompt/);
  }));
