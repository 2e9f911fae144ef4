/** Models that write, evaluated on LLM-Adapters' data sets: by what they write, and by what they hold likely. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { CompletionRow } from "../lib/data/language_rows.ts";
import { choicesOf } from "../lib/data/llm_adapters_choices.ts";
import { llmAdaptersLanguageTask } from "../lib/data/llm_adapters_language.ts";
import {
  llmAdaptersPrompts,
  promptOf,
  promptVariantByName,
  trainingRow,
} from "../lib/data/llm_adapters_prompts.ts";
import type { InstructionRecord } from "../lib/data/llm_adapters_records.ts";
import { type ChoiceSet, testSetByName } from "../lib/data/llm_adapters_sets.ts";
import { type Answering, evaluate, type EvaluateOptions } from "../lib/generate/evaluate.ts";
import type { Prompt } from "../lib/generate/prompts.ts";
import { rehearsal } from "../lib/generate/rehearsal.ts";
import { type WriteOptions, Writer, type WriterOptions } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { fineTune } from "../lib/train/fine_tune.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";

const frames: Readonly<Record<string, readonly [body: string, answers: string]>> = {
  "boolq": ["is ice cold?\n\n", "true/false"],
  "winogrande": [
    "The cup was beside the pot as the _ fell.\n\nOption1: cup Option2: pot ",
    "option1/option2",
  ],
  "ARC-Easy": [
    "Which floats?\n\nAnswer1: a nail Answer2: ice Answer3: an old log\n\n",
    "answer1/answer2/answer3",
  ],
};

function recordOf(name: string, index: number, answer: string): InstructionRecord {
  const set = testSetByName(name);
  const where = `${name} record ${index}`;
  if (set.group === "math") return { where, index, answer, instruction: `Add 1 and ${index}.` };
  const [body, answers] = frames[name];
  return { where, index, answer, instruction: `${set.lead}${body}Answer format: ${answers}` };
}

const greedy: EvaluateOptions = {
  scoring: "generation",
  prompts: llmAdaptersPrompts,
  batchSize: 2,
  beams: 1,
};

/** What a stand-in writes or scores for a prompt, given as its text. */
interface StandIn {
  readonly write?: (prompt: string) => string;
  readonly score?: (prompt: string, end: string) => number;
}

/** A writer of one token a character, but for "s ", and what was asked of it. */
function standIn({ write = () => "", score = () => 0 }: StandIn) {
  const calls: { prompts: string[]; options: Partial<WriteOptions & { beams: number }> }[] = [];
  const encode = (text: string) =>
    [...text.replaceAll("s ", "\u{1f4a7}")].map((letter) => letter.codePointAt(0)!);
  const decode = (prompt: Prompt) =>
    typeof prompt === "string" ? prompt : String.fromCodePoint(...prompt).replaceAll("\u{1f4a7}", "s ");
  const written = (prompt: Prompt) => ({ text: write(decode(prompt)), ids: [], ended: "stop" as const });
  const called = (prompts: readonly Prompt[], options: object) => {
    calls.push({ prompts: prompts.map(decode), options });
  };
  const writer: Answering = {
    maxTokens: 2048,
    idsOf: (prompt) => typeof prompt === "string" ? [0x2402, ...encode(prompt)] : prompt,
    continuationIds: (end) => typeof end === "string" ? encode(end) : end,
    write: (prompts, options) => (called(prompts, options), Promise.resolve(prompts.map(written))),
    search: (prompts, options) => {
      called(prompts, options);
      return Promise.resolve(prompts.map((prompt) => [{ ...written(prompt), score: 0 }]));
    },
    scoreEach: (prompts, ends) => {
      called(prompts, {});
      return Promise.resolve(
        prompts.map((prompt, i) => ends[i].map((end) => score(decode(prompt), decode(end)))),
      );
    },
  };
  return { writer, calls };
}

Deno.test("written answers are read by both rules, in the records' order, whatever the batches", async () => {
  const answers: Readonly<Record<string, string>> = {
    1: "1 + 1 = 2. The answer is 2.",
    22: "The answer is 23. There were 22.",
    3: "I cannot say.",
    444: "445.0",
  };
  const records = [["1", "2.0"], ["22", "23"], ["3", "4"], ["444", "445"]].map(([index, answer]) =>
    recordOf("SVAMP", Number(index), answer)
  );
  const write = (prompt: string) => answers[prompt.match(/Add 1 and (\d+)\./)![1]];
  for (const batchSize of [1, 2, 3, 9]) {
    const { writer, calls } = standIn({ write });
    const progress: number[] = [];
    const { items, scores } = await evaluate(writer, testSetByName("SVAMP"), records, {
      ...{ ...greedy, batchSize, onBatch: ({ done, all }) => progress.push(done, all) },
    });
    assert.deepEqual(items.map(({ where }) => where), records.map(({ where }) => where));
    assert.deepEqual(items.map(({ gold }) => gold), [2, 23, 4, 445]);
    assert.deepEqual(items.map(({ text }) => text), [1, 22, 3, 444].map((index) => answers[index]));
    assert.deepEqual(items.map(({ read }) => read["accuracy"]), [2, 22, undefined, 445]);
    assert.deepEqual(items.map(({ read }) => read["strict accuracy"]), [2, 23, undefined, 445]);
    assert.deepEqual(items.map(({ right }) => right["strict accuracy"]), [true, true, false, true]);
    assert.deepEqual(scores, { "accuracy": 0.5, "strict accuracy": 0.75 });
    assert.equal(calls.length, Math.ceil(4 / batchSize));
    assert.deepEqual(progress.slice(-2), [4, 4]);
    const asked = calls.flatMap(({ prompts }) => prompts);
    assert.ok(
      calls.every(({ prompts }) => prompts.length === Math.min(batchSize, 4)),
      "all batches are full",
    );
    assert.deepEqual(
      [...new Set(asked)].toSorted(),
      records.map((own) => `\u2402${promptOf(llmAdaptersPrompts.evaluation, own)}`).toSorted(),
    );
    assert.deepEqual(
      asked.map(({ length }) => length),
      asked.map(({ length }) => length).toSorted((a, b) => a - b),
    );
  }
});

Deno.test("beams, new tokens and what ends a text are the prompts' own unless told otherwise", async () => {
  const used = async (name: string, set: string, more: Partial<EvaluateOptions> = {}) => {
    const { writer, calls } = standIn({ write: () => "true" });
    const options = {
      scoring: "generation",
      prompts: promptVariantByName(name),
      batchSize: 2,
      ...more,
    } as const;
    await evaluate(writer, testSetByName(set), [recordOf(set, 0, set === "boolq" ? "true" : "1")], options);
    const { signal: _, ...own } = calls[0].options;
    return own;
  };
  assert.deepEqual(await used("llm-adapters", "boolq"), { maxTokens: 32, beams: 4 });
  assert.deepEqual(await used("llm-adapters", "SVAMP"), { maxTokens: 256, beams: 4 });
  assert.deepEqual(await used("llm-adapters", "boolq", { beams: 1 }), {
    maxTokens: 32,
    stop: ["### Response:"],
  });
  assert.deepEqual(await used("toplora", "boolq"), { maxTokens: 256, stop: [] });
  assert.deepEqual(await used("toplora", "boolq", { newTokens: 8, beams: 3 }), { maxTokens: 8, beams: 3 });
});

Deno.test("which part of a text is read is the prompts' own", async () => {
  const { writer } = standIn({ write: () => "true\n### Response: false" });
  const read = async (name: string) => {
    const options = { ...greedy, prompts: promptVariantByName(name) };
    const { items } = await evaluate(writer, testSetByName("boolq"), [recordOf("boolq", 0, "true")], options);
    return items[0].read["accuracy"];
  };
  assert.deepEqual([await read("llm-adapters"), await read("dora")], ["true", "false"]);
});

Deno.test("of listed answers the likeliest counts, and of equal ones the first", async () => {
  const records = ["answer1", "answer3"].map((answer, i) => recordOf("ARC-Easy", i, answer));
  const run = (score: StandIn["score"]) => {
    const { writer, calls } = standIn({ score });
    const options = { ...greedy, scoring: "likelihood" } as const;
    return evaluate(writer, testSetByName("ARC-Easy"), records, options).then((found) => ({
      ...found,
      calls,
    }));
  };
  const { items, scores, calls } = await run((_, end) => end.endsWith("3") ? -1 : -2);
  assert.deepEqual(items.map(({ read }) => read), Array(2).fill({ "likelihood accuracy": "answer3" }));
  assert.deepEqual([items.map(({ gold }) => gold), scores], [["answer1", "answer3"], {
    "likelihood accuracy": 0.5,
  }]);
  const prompt = `\u2402${promptOf(llmAdaptersPrompts.evaluation, records[0])}the correct answer is answer`;
  assert.deepEqual(calls[0].prompts, [prompt, prompt]);
  const tens = {
    ...records[0],
    instruction: records[0].instruction.replace("/answer2/answer3", "/answer10"),
  };
  const ends = (prompt: string, end: string) => prompt.endsWith("is answer") && end === "10" ? -1 : -2;
  const { writer } = standIn({ score: ends });
  const ten = await evaluate(writer, testSetByName("ARC-Easy"), [tens], { ...greedy, scoring: "likelihood" });
  assert.equal(ten.items[0].read["likelihood accuracy"], "answer10");
  const tied = await run(() => -7);
  assert.deepEqual(tied.items.map(({ read }) => read["likelihood accuracy"]), ["answer1", "answer1"]);
  await assert.rejects(
    run(() => NaN),
    /^Error: ARC-Easy record 0: its scores are not finite \(NaN\): the model/,
  );
});

Deno.test("cloze: sums decide acc, sums by characters acc_norm, and a token across the join is the context's", async () => {
  const run = async (name: string, answer: string, score: StandIn["score"]) => {
    const asked: [string, string][] = [];
    const { writer } = standIn({
      score: (context, end) => (asked.push([context, end]), score!(context, end)),
    });
    const options = { ...greedy, scoring: "cloze" } as const;
    const { items: [item] } = await evaluate(
      writer,
      testSetByName(name),
      [recordOf(name, 0, answer)],
      options,
    );
    return { ...item, asked };
  };
  // −4 / 6, −2 / 3, −6 / 10 for " a nail", " ice", " an old log".
  const science = await run("ARC-Easy", "answer3", (_, end) => ({ 7: -4, 4: -2, 11: -6 })[end.length]!);
  assert.deepEqual(science.read, { acc: "answer2", acc_norm: "answer3" });
  assert.deepEqual(science.right, { acc: false, acc_norm: true });
  assert.deepEqual(science.asked[1], ["\u2402Question: Which floats?\nAnswer:", " ice"]);
  // Equal ones: the first in the harness' order, which is no.
  const ice = await run("boolq", "true", () => -1);
  assert.deepEqual([ice.read, ice.right], [{ acc: "false" }, { acc: false }]);
  assert.deepEqual(ice.asked.map(([, end]) => end), [" no", " yes"]);
  const cup = await run("winogrande", "option2", (context) => context.endsWith("pot") ? -1 : -2);
  assert.deepEqual([cup.read, cup.right], [{ acc: "option2" }, { acc: true }]);
  assert.deepEqual(cup.asked, [
    ["\u2402The cup was beside the pot as the cup", " fell."],
    ["\u2402The cup was beside the pot as the pot", " fell."],
  ]);
});

Deno.test("cloze: where context and continuation share a token, as many ids are scored as the text has more than the context", async () => {
  const { writer, calls } = standIn({});
  const record = recordOf("ARC-Easy", 0, "answer1");
  const set: ChoiceSet = {
    ...testSetByName("ARC-Easy") as ChoiceSet,
    cloze: {
      metrics: ["acc"],
      candidates: () => [{ option: 0, context: "It floats", continuation: " well", characters: 4 }],
    },
  };
  const ends: (readonly number[])[] = [];
  const spied: Answering = {
    ...writer,
    scoreEach(prompts, own) {
      ends.push(...own.flat() as number[][]);
      return writer.scoreEach(prompts, own);
    },
  };
  await evaluate(spied, set, [record], { ...greedy, scoring: "cloze" });
  // "s " is one token: "It floats" has 10 ids with its mark, "It floats well" 14.
  assert.deepEqual(ends, [[..."well"].map((letter) => letter.codePointAt(0)!)]);
  assert.deepEqual(calls[0].prompts, ["\u2402It floats"]);
});

Deno.test("what cannot be evaluated is refused before anything is written", async () => {
  const { writer, calls } = standIn({});
  const science = [recordOf("ARC-Easy", 0, "answer1"), {
    ...recordOf("ARC-Easy", 1, "answer1"),
    instruction: "What?",
  }];
  const refused = (
    set: string,
    records: readonly InstructionRecord[],
    options: Partial<EvaluateOptions>,
    message: RegExp,
  ) =>
    assert.rejects(() => evaluate(writer, testSetByName(set), records, { ...greedy, ...options }), message);
  const [good] = science;
  await refused("ARC-Easy", [], {}, /there are no records of ARC-Easy/);
  await refused("ARC-Easy", [good], { batchSize: 0 }, /batchSize is 0: use a whole number from 1/);
  await refused(
    "ARC-Easy",
    [good],
    { scoring: "close" as "cloze" },
    /scoring is "close": use "generation", /,
  );
  await refused(
    "ARC-Easy",
    science,
    { scoring: "cloze" },
    /^Error: ARC-Easy record 1: the instruction is not ARC-Easy's/,
  );
  await refused(
    "ARC-Easy",
    science,
    { scoring: "likelihood" },
    /^Error: ARC-Easy record 1: the instruction is not/,
  );
  await refused("SVAMP", [recordOf("SVAMP", 0, "1")], { scoring: "cloze" }, /SVAMP lists no answers/);
  await refused("SVAMP", [recordOf("SVAMP", 0, "1")], { scoring: "likelihood" }, /SVAMP lists no answers/);
  await refused("SVAMP", [recordOf("SVAMP", 0, "one")], {}, /SVAMP record 0 has answer "one"/);
  const long = { ...recordOf("SVAMP", 7, "1"), instruction: "word ".repeat(400) };
  await refused(
    "SVAMP",
    [recordOf("SVAMP", 0, "1"), long],
    {},
    /^Error: SVAMP record 7 and its answer may have \d+ tokens, and the model reads 2048/,
  );
  assert.deepEqual(calls, []);
  const signal = AbortSignal.abort(new Error("enough"));
  await refused("ARC-Easy", [good], { signal }, /^Error: enough$/);
});

/** What `body` does with a tiny decoder that reads long prompts with line ends, and its folder. */
function withModel(body: (model: Decoder, folder: string) => Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    const llama = cases["LLaMA 2"];
    await writeDecoder(folder, { ...llama, config: { ...llama.config, max_position_embeddings: 1024 } });
    const path = `${folder}/tokenizer.json`;
    await Deno.writeTextFile(path, (await Deno.readTextFile(path)).replace('"|":', '"Ċ":'));
    await body(await loadDecoder(folder), folder);
  });
}

Deno.test("a rehearsal refuses what a Writer on the GPU would, before anything is trained", () =>
  withFolder(async (folder) => {
    await writeDecoder(folder, {
      ...cases["LLaMA 2"],
      config: { ...cases["LLaMA 2"].config, max_position_embeddings: 2048 },
    });
    const writer = rehearsal(await testGpu(), await loadDecoder(folder));
    const record = recordOf("ARC-Easy", 0, "answer1");
    const asked = (set: string, options: Partial<EvaluateOptions>, own = record) =>
      evaluate(writer, testSetByName(set), [own], { ...greedy, newTokens: 4, batchSize: 1, ...options });
    for (const scoring of ["generation", "likelihood", "cloze"] as const) {
      await asked("ARC-Easy", { scoring });
    }
    await assert.rejects(
      asked("ARC-Easy", { beams: 1e9 }),
      /^Error: 1000000000 beams are too many here: at most \d+ texts of up to 512 tokens/,
    );
    await assert.rejects(() => writer.scoreEach([[1]], [[[5], []]]), /continuation 1 of prompt 0 is empty/);
    await assert.rejects(
      () => writer.write([[1]], { maxTokens: 2048 }),
      /prompt 0 has 1 tokens, and 2048 new/,
    );
  }));

Deno.test("a decoder trained on the task's rows holds their answers likelier, learnt with their prompts or without", () =>
  withModel(async (model, folder) => {
    const gpu = await testGpu();
    const records = Array.from({ length: 9 }, (_, i) => {
      const { instruction, answer } = recordOf("boolq", i, "true");
      return { instruction, input: "", output: `the correct answer is ${answer}`, answer };
    });
    await Deno.writeTextFile(`${folder}/commonsense_170k.json`, JSON.stringify(records));
    const record = recordOf("boolq", 0, "true");
    const row = trainingRow(llmAdaptersPrompts, { ...record, output: records[0].output }) as CompletionRow;
    const scoreBy = async (adapted: Omit<WriterOptions, "gpu" | "model">) => {
      using writer = new Writer({ gpu, model, ...adapted });
      return (await writer.score([row.prompt], [row.completion]))[0][0];
    };
    const before = await scoreBy({});
    for (const loss of ["completion", "all"] as const) {
      const task = llmAdaptersLanguageTask({
        ...{
          folder,
          train: "commonsense_170k",
          prompts: llmAdaptersPrompts,
          loss,
          maxTokens: 512,
          heldOut: 1,
        },
      });
      const adapter = attach(model, lora, { r: 4, target: "all-linear" });
      const { trained } = await fineTune({
        ...{ gpu, model, adapter, task, learningRate: 1e-2, epochs: 2, batchSize: 4, seed: 0 },
      });
      const after = await scoreBy({ adapter, weights: trained });
      assert.ok(after > before + 5, `${loss}: ${before} → ${after}`);
    }
  }));

Deno.test("a decoder's answers and choices are those of each record alone", () =>
  withModel(async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    const set = testSetByName("ARC-Easy") as ChoiceSet;
    const records = [0, 1, 2].map((i) => {
      const { instruction, ...record } = recordOf("ARC-Easy", i, "answer2");
      return { ...record, instruction: instruction.replace("floats", "floats ".repeat(1 + 3 * i).trim()) };
    });
    const options = { ...greedy, newTokens: 4 };
    const ids = records.map((record) => writer.idsOf(promptOf(llmAdaptersPrompts.evaluation, record)));
    const written = await evaluate(writer, set, records, options);
    const searched = await evaluate(writer, set, records, { ...options, beams: 2 });
    const likeliest = await evaluate(writer, set, records, { ...options, scoring: "likelihood" });
    const cloze = await evaluate(writer, set, records, { ...options, scoring: "cloze" });
    for (const [i, record] of records.entries()) {
      assert.equal(written.items[i].text, (await writer.write([ids[i]], { maxTokens: 4 }))[0].text);
      assert.equal(searched.items[i].text, (await writer.beams(ids[i], { maxTokens: 4, beams: 2 }))[0].text);
      const [listed] = await writer.score([ids[i]], [1, 2, 3].map((j) => `the correct answer is answer${j}`));
      assert.equal(
        likeliest.items[i].read["likelihood accuracy"],
        `answer${1 + listed.indexOf(Math.max(...listed))}`,
      );
      const { question, options: texts } = choicesOf(set, record);
      const [sums] = await writer.score(
        [`Question: ${question}\nAnswer:`],
        texts.map(({ text }) => ` ${text}`),
      );
      const means = sums.map((sum, j) => sum / texts[j].text.length);
      assert.deepEqual(cloze.items[i].read, {
        acc: `answer${1 + sums.indexOf(Math.max(...sums))}`,
        acc_norm: `answer${1 + means.indexOf(Math.max(...means))}`,
      });
    }
  }));
