/** LLM-Adapters' data for decoders: prompts byte for byte, questions as cloze, files that are read and those that are refused. */

import assert from "node:assert/strict";
import type { CompletionRow } from "../lib/data/language_rows.ts";
import { choicesOf, listedAnswers } from "../lib/data/llm_adapters_choices.ts";
import {
  type LlmAdaptersLanguageOptions,
  llmAdaptersLanguageTask,
  readTestRecords,
} from "../lib/data/llm_adapters_language.ts";
import { llmAdaptersTestedTask } from "../lib/data/llm_adapters_tested.ts";
import {
  answerPart,
  llmAdaptersPrompts,
  promptOf,
  promptVariantByName,
  promptVariants,
  trainingRow,
} from "../lib/data/llm_adapters_prompts.ts";
import { readInstructionRecords } from "../lib/data/llm_adapters_records.ts";
import { commonsenseSets, mathSets, testSetByName } from "../lib/data/llm_adapters_sets.ts";
import type { Example } from "../lib/data/task.ts";
import { withFolder } from "./support/files.ts";
import { warned } from "./support/warned.ts";

const alone = "Below is an instruction that describes a task. " +
  "Write a response that appropriately completes the request.";
const withInput =
  "Below is an instruction that describes a task, paired with an input that provides further " +
  "context. Write a response that appropriately completes the request.";
const one = "\u0020";
const two = "\u0020\u0020";
const twelve = "\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020";
const sixteen =
  "\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020\u0020";

/** LLM-Adapters' prompts of the instruction "Ask\n\nthis " without and with the input "It". */
const ours = {
  training: alone + two + "\n\n" + sixteen + "### Instruction:\n" + sixteen + "Ask\n\nthis \n" +
    sixteen + "\n" + sixteen + "### Response:\n" + sixteen,
  trainingWithInput: withInput + one + "\n\n" + sixteen + "### Instruction:\n" + sixteen + "Ask\n\nthis \n" +
    sixteen + "\n" + sixteen + "### Input:\n" + sixteen + "It\n" +
    sixteen + "\n" + sixteen + "### Response:\n" + sixteen,
  evaluation: alone + one + "\n\n" + sixteen + "### Instruction:\n" + sixteen + "Ask\n\nthis \n" +
    "\n" + sixteen + "### Response:\n" + sixteen,
  evaluationWithInput: withInput + "\n\n" + sixteen + "### Instruction:\n" + sixteen + "Ask\n\nthis \n" +
    "\n" + sixteen + "### Input:\n" + sixteen + "It\n" +
    "\n" + sixteen + "### Response:\n" + sixteen,
};

/** Each variant's. */
const prompts: Readonly<Record<string, Partial<typeof ours>>> = {
  "llm-adapters": ours,
  "dora": ours,
  "hira": {
    training: alone + two + "\n\n### Instruction:\nAsk\n\nthis \n\n### Response:\n",
    evaluation: alone + two + "\n\n### Instruction:\nAsk\n\nthis \n\n### Response:\n",
  },
  "toplora": {
    training: ours.training,
    trainingWithInput: ours.trainingWithInput,
    evaluation: alone + one + "\n\n" + twelve + "### Instruction:\n" + twelve + "Ask\n\nthis \n" +
      "\n" + twelve + "### Response:\n" + twelve,
  },
};

const asked = { where: "a.json record 0", index: 0, instruction: "Ask\n\nthis " };

Deno.test("the lengths of the bytes that prompts are compared with", () => {
  assert.deepEqual([one, two, twelve, sixteen].map((text) => text.length), [1, 2, 12, 16]);
  assert.deepEqual(Object.keys(prompts).toSorted(), promptVariants.map(({ name }) => name).toSorted());
});

for (const variant of promptVariants) {
  Deno.test(`prompts of ${variant.name}, byte for byte`, () => {
    const expected = prompts[variant.name];
    for (const side of ["training", "evaluation"] as const) {
      assert.equal(promptOf(variant[side], asked), expected[side]);
      const input = () => promptOf(variant[side], { ...asked, input: "It" });
      const text = expected[`${side}WithInput`];
      if (text !== undefined) assert.equal(input(), text);
      else assert.throws(input, /^Error: a\.json record 0 has an input, and these prompts have no place/);
    }
  });
}

Deno.test("how variants train and are read", () => {
  const row = (name: string) =>
    trainingRow(promptVariantByName(name), { ...asked, output: "the correct answer is true" });
  const expected = { kind: "completion", where: asked.where, completion: "the correct answer is true" };
  assert.deepEqual(row("llm-adapters"), {
    ...expected,
    encodes: "together",
    prompt: prompts["dora"].training,
  });
  assert.deepEqual(row("hira"), { ...expected, prompt: prompts["hira"].training });
  assert.deepEqual(
    promptVariants.map((
      { name, loss, beams, newTokens },
    ) => [name, loss, beams, newTokens.commonsense, newTokens.math]),
    [
      ["llm-adapters", "all", 4, 32, 256],
      ["dora", "all", 4, 32, 256],
      ["hira", "completion", 4, 16, 200],
      ["toplora", "completion", 1, 256, 256],
    ],
  );
  const written = " true \n\n### Response:\nfalse\n### Response:\nneither\n";
  assert.equal(answerPart(promptVariantByName("llm-adapters"), written), "true");
  for (const name of ["dora", "hira", "toplora"]) {
    assert.equal(answerPart(promptVariantByName(name), written), "neither");
    assert.equal(answerPart(promptVariantByName(name), " true"), "true");
  }
  assert.throws(
    () => promptVariantByName("alpaca"),
    /no prompts "alpaca"; have llm-adapters, dora, hira, toplora/,
  );
});

/** Questions of each data set as its file words them, and as lm-evaluation-harness asks them. */
const questions: Readonly<
  Record<string, {
    readonly body: string;
    readonly answers: string;
    readonly metrics: readonly string[];
    /** Option, context, continuation, characters. */
    readonly candidates: readonly (readonly [number, string, string, number])[];
  }>
> = {
  "boolq": {
    body: "is the moon larger than the earth?\n\n",
    answers: "true/false",
    metrics: ["acc"],
    candidates: [
      [1, "Question: is the moon larger than the earth?\nAnswer:", " no", 2],
      [0, "Question: is the moon larger than the earth?\nAnswer:", " yes", 3],
    ],
  },
  "piqa": {
    body: "Keep soup hot.\n\nSolution1: Use a bag.\n\nSolution2: Use a flask: naïve 🙂\n\n",
    answers: "solution1/solution2",
    metrics: ["acc", "acc_norm"],
    candidates: [
      [0, "Question: Keep soup hot.\nAnswer:", " Use a bag.", 10],
      [1, "Question: Keep soup hot.\nAnswer:", " Use a flask: naïve 🙂", 20],
    ],
  },
  "social_i_qa": {
    body:
      "Ada lent Ben her umbrella. How does Ben feel?\n\nAnswer1: grateful Answer2: cheated Answer3: hungry\n\n",
    answers: "answer1/answer2/answer3",
    metrics: ["acc"],
    candidates: [
      [0, "Q: Ada lent Ben her umbrella. How does Ben feel?\nA:", " grateful", 8],
      [1, "Q: Ada lent Ben her umbrella. How does Ben feel?\nA:", " cheated", 7],
      [2, "Q: Ada lent Ben her umbrella. How does Ben feel?\nA:", " hungry", 6],
    ],
  },
  "hellaswag": {
    body: "Baking: [header] How to bake [title] Knead  dough.    He\n\nEnding1: puts [substeps] it in. " +
      "Ending2: [step] sings Ending3: swims Ending4: reads\n\n",
    answers: "ending1/ending2/ending3/ending4",
    metrics: ["acc", "acc_norm"],
    candidates: [
      // Of four spaces one round of "two to one" leaves two.
      [0, "Baking: How to bake. Knead dough.  He", " puts it in.", 11],
      [1, "Baking: How to bake. Knead dough.  He", "  sings", 6],
      [2, "Baking: How to bake. Knead dough.  He", " swims", 5],
      [3, "Baking: How to bake. Knead dough.  He", " reads", 5],
    ],
  },
  "winogrande": {
    body: "The cup did not fit on the shelf because the _ was too low.\n\nOption1: cup Option2: shelf ",
    answers: "option1/option2",
    metrics: ["acc"],
    candidates: [
      [0, "The cup did not fit on the shelf because the cup", " was too low.", 12],
      [1, "The cup did not fit on the shelf because the shelf", " was too low.", 12],
    ],
  },
  "ARC-Easy": science("Question: Which of these floats?\nAnswer:"),
  "ARC-Challenge": science("Question: Which of these floats?\nAnswer:"),
  "openbookqa": science("Which of these floats?"),
};

function science(context: string) {
  return {
    body: "Which of these floats?\n\nAnswer1: a nail Answer2: ice, when fresh. Answer3: a log\n\n",
    answers: "answer1/answer2/answer3",
    metrics: ["acc", "acc_norm"],
    candidates: [
      [0, context, " a nail", 6],
      [1, context, " ice, when fresh.", 16],
      [2, context, " a log", 5],
    ] as const,
  };
}

function recordOf(name: string, answer?: string) {
  const { body, answers } = questions[name];
  const { lead } = commonsenseSets.find((set) => set.name === name)!;
  const right = answer ?? answers.split("/")[0];
  return {
    instruction: `${lead}${body}Answer format: ${answers}`,
    input: "",
    output: `the correct answer is ${right}`,
    answer: right,
  };
}

Deno.test("each commonsense set has a question", () => {
  assert.deepEqual(Object.keys(questions), commonsenseSets.map(({ name }) => name));
});

for (const set of commonsenseSets) {
  Deno.test(`${set.name}: listed answers, and the question as cloze`, () => {
    const { answers, metrics, candidates } = questions[set.name];
    const record = { ...asked, ...recordOf(set.name), input: undefined };
    assert.deepEqual(listedAnswers(set, record), { names: answers.split("/"), label: 0 });
    assert.deepEqual(set.cloze.metrics, metrics);
    assert.deepEqual(
      set.cloze.candidates(choicesOf(set, record)).map((
        own,
      ) => [own.option, own.context, own.continuation, own.characters]),
      candidates,
    );
  });
}

Deno.test("spaces that a context ends with go before its continuation", () => {
  const set = commonsenseSets.find(({ name }) => name === "hellaswag")!;
  const { instruction, ...rest } = recordOf("hellaswag");
  const record = {
    ...asked,
    ...rest,
    input: undefined,
    instruction: instruction.replace("He\n", "He [step]\n"),
  };
  const [, , { context, continuation, characters }] = set.cloze.candidates(choicesOf(set, record));
  assert.deepEqual([context, continuation, characters], [
    "Baking: How to bake. Knead dough.  He",
    "  swims",
    5,
  ]);
});

Deno.test("a sentence without a blank is refused with its record", () => {
  const set = commonsenseSets.find(({ name }) => name === "winogrande")!;
  for (const [from, to] of [["_", "shelf"], ["_ was too low.", "_"]]) {
    const { instruction, ...rest } = recordOf("winogrande");
    const record = { ...asked, ...rest, input: undefined, instruction: instruction.replace(from, to) };
    assert.throws(
      () => set.cloze.candidates(choicesOf(set, record)),
      /^Error: a\.json record 0: .* no blank "_"/,
    );
  }
});

/** What `use` makes of a folder with these JSON files. */
function withJson<T>(
  files: Readonly<Record<string, unknown>>,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  return withFolder(async (folder) => {
    for (const [path, json] of Object.entries(files)) {
      await Deno.mkdir(`${folder}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${folder}/${path}`, JSON.stringify(json));
    }
    return await use(folder);
  });
}

const sum = { instruction: "Add 2 and 3. ", input: null, output: "The answer is 5.", answer: "5.0" };

const plain = {
  ...{
    train: "commonsense_170k",
    prompts: llmAdaptersPrompts,
    maxTokens: 256,
    heldOut: 1,
  } as const,
};

async function load(folder: string, options: Partial<LlmAdaptersLanguageOptions> = {}) {
  const task = llmAdaptersLanguageTask({ ...plain, folder, ...options });
  const { train, dev } = await task.load();
  const all = [...train, ...dev].toSorted((a, b) => a.id < b.id ? -1 : 1);
  return { task, train, dev, ids: all.map(({ id }) => id), rows: all.map(rowOf) };
}

const rowOf = ({ row }: Example) => row as CompletionRow;

Deno.test("commonsense_170k and math_10k are read, and the parts of the former where only those are there", async () => {
  const parts = {
    "boolq/train.json": [recordOf("boolq"), recordOf("boolq", "false")],
    "openbookqa/train.json": [recordOf("openbookqa", "answer2")],
  };
  await withJson(parts, async (folder) => {
    const { task, ids, dev, rows } = await load(folder);
    assert.deepEqual([task.name, task.objective, task.loss, task.maxTokens], [
      plain.train,
      "language",
      "all",
      256,
    ]);
    assert.deepEqual(ids, ["boolq/train 0", "boolq/train 1", "openbookqa/train 0"]);
    assert.equal(dev.length, 1);
    assert.deepEqual(
      rows[1],
      trainingRow(plain.prompts, {
        ...{ where: `${folder}/boolq/train.json record 1`, index: 1 },
        ...{ ...recordOf("boolq", "false"), input: undefined },
      }),
    );
    assert.equal((await load(folder, { loss: "completion" })).task.loss, "completion");
    assert.equal((await load(folder, { prompts: promptVariantByName("toplora") })).task.loss, "completion");
    // As in LLM-Adapters' math_data.json; training on outputs does not read them.
    const listed = { ...sum, answer: [5.0] };
    await withJson({ "math_10k.json": [listed, listed] }, async (folder) => {
      assert.equal((await load(folder, { train: "math_10k" })).rows[0].completion, sum.output);
    });
    await assert.rejects(
      load(folder, { heldOut: 3 }),
      /has 3 records of commonsense_170k, and 3 are to be held out/,
    );
    await assert.rejects(load(folder, { heldOut: 0 }), /heldOut is 0: use a whole number from 1/);
  });
  await assert.rejects(
    withFolder((folder) => load(folder)),
    /has neither commonsense_170k\.json nor any of boolq\/train\.json, .*, openbookqa\/train\.json: name the/,
  );
  await withJson({
    ...parts,
    "commonsense_170k.json": [recordOf("piqa"), recordOf("boolq")],
    "math_10k.json": [sum, sum],
  }, async (folder) => {
    assert.deepEqual((await load(folder)).ids, ["commonsense_170k 0", "commonsense_170k 1"]);
    const { rows: [first] } = await load(folder, { train: "math_10k" });
    assert.deepEqual([first.prompt.includes("Add 2 and 3. \n"), first.completion], [
      true,
      "The answer is 5.",
    ]);
  });
});

Deno.test("where parts of commonsense_170k are missing, those that are there are trained on, with a warning", async () => {
  const all = Object.fromEntries(commonsenseSets.map(({ name }) => [`${name}/train.json`, [recordOf(name)]]));
  const loaded = (files: Readonly<Record<string, unknown>>) =>
    withJson(files, (folder) => warned(() => load(folder)));
  const whole = await loaded(all);
  assert.deepEqual([whole.result.ids.length, whole.lines], [8, []]);
  const { "piqa/train.json": _, "ARC-Easy/train.json": __, ...some } = all;
  const { result, lines: [line, ...more] } = await loaded(some);
  assert.deepEqual([result.ids.length, more], [6, []]);
  assert.match(
    line,
    /has no commonsense_170k\.json, and of its parts no piqa\/train\.json, ARC-Easy\/train\.json: it is trained on the others alone$/,
  );
});

Deno.test("math_10k is its own file: what lies beside the tests are other problems, once most of the tests' own", async () => {
  const files = { "AddSub/train.json": [sum, sum], "mawps/train.json": [sum] };
  await withJson(files, async (folder) => {
    await assert.rejects(
      load(folder, { train: "math_10k" }),
      /has no math_10k\.json: name the folder that has, or download it$/,
    );
    await assert.rejects(
      load(folder, { train: "math_10k", prompts: "cloze" }),
      /math_10k lists no answers, which cloze needs: train on it with prompts$/,
    );
  });
});

Deno.test("options of tasks on LLM-Adapters' data that there are not are refused before a file is read", () => {
  const options = { folder: "nowhere", ...plain };
  const refused = (more: object, message: RegExp) =>
    assert.throws(() => llmAdaptersLanguageTask({ ...options, ...more }), message);
  refused(
    { maxLength: 9 },
    /^Error: llmAdaptersLanguageTask has no option "maxLength"; it has folder, train,/,
  );
  refused({ train: "math" }, /^Error: no training data "math"; have commonsense_170k, math_10k$/);
  refused({ loss: "answers" }, /^Error: loss is "answers": use "completion" or "all"$/);
  const tested = {
    ...{ folder: "nowhere", train: "math_10k", sets: ["SVAMP"], prompts: "dora", maxTokens: 9 } as const,
    scorings: ["generation"] as const,
  };
  const alsoRefused = (more: object, message: RegExp) =>
    assert.throws(() => llmAdaptersTestedTask({ ...tested, ...more }), message);
  alsoRefused({ loss: "all" }, /^Error: llmAdaptersTestedTask has no option "loss"; it has folder, train, /);
  alsoRefused({ train: "math" }, /^Error: no training data "math"/);
  alsoRefused(
    { scorings: ["cloze", "acc"] },
    /^Error: no scoring "acc"; have generation, likelihood, cloze$/,
  );
  alsoRefused({ sets: [] }, /^Error: sets is empty: name what it is tested on$/);
  alsoRefused({ sets: ["SVAMP", "gsm8k", "SVAMP"] }, /^Error: sets has SVAMP twice: take one out$/);
});

Deno.test("cloze trains the correct option after its context, from the parts alone", () =>
  withJson({
    "commonsense_170k.json": [recordOf("piqa"), recordOf("boolq")],
    "boolq/train.json": [recordOf("boolq", "false")],
    "winogrande/train.json": [recordOf("winogrande", "option2")],
    "openbookqa/train.json": [recordOf("openbookqa", "answer2")],
  }, async (folder) => {
    const { task, rows } = await load(folder, { prompts: "cloze" });
    assert.equal(task.loss, "completion");
    const expected = (["boolq", "openbookqa", "winogrande"] as const).map((name, i) => {
      const [, prompt, completion] = questions[name].candidates[[0, 1, 1][i]];
      return { kind: "completion", where: `${folder}/${name}/train.json record 0`, prompt, completion };
    });
    assert.deepEqual(rows, expected);
  }));

Deno.test("test records are a sample that does not depend on the folder, and answers of another kind are refused", async () => {
  const records = Array.from({ length: 20 }, (_, i) => ({ ...sum, answer: `${i}` }));
  const of = (answer: unknown) => ({ ...sum, answer });
  const read = (name: string, list: readonly unknown[], most?: number) =>
    withJson({ [`${name}/test.json`]: list }, (folder) => readTestRecords(folder, testSetByName(name), most));
  const some = (await read("SVAMP", records, 5)).map(({ index }) => index);
  assert.deepEqual(some, (await read("SVAMP", records)).map(({ index }) => index).slice(0, 5));
  assert.notDeepEqual(some, some.toSorted((a, b) => a - b));
  assert.deepEqual((await read("SVAMP", [of(7.5)])).map(({ answer, input }) => [answer, input]), [[
    "7.5",
    undefined,
  ]]);
  assert.equal((await read("AQuA", [of("E")]))[0].answer, "E");
  const refused: readonly (readonly [string, unknown, RegExp])[] = [
    ["SVAMP", "seven", /test\.json record 1 has answer "seven", which is none of SVAMP's kind/],
    ["AQuA", "F", /record 1 has answer "F", which is none of AQuA's kind/],
    ["boolq", "yes", /record 1 has answer "yes", which is none of boolq's kind/],
    ["SVAMP", null, /record 1 lacks a text "answer"/],
    ["SVAMP", ["5"], /record 1: "answer" is \["5"\], which is no text/],
  ];
  const good: Readonly<Record<string, string>> = { SVAMP: "1", AQuA: "A", boolq: "true" };
  for (const [name, answer, message] of refused) {
    await assert.rejects(read(name, [of(good[name]), of(answer)]), message);
  }
  assert.throws(() => testSetByName("mathqa"), /no data set "mathqa"; it has boolq, .*, AQuA, mawps$/);
  assert.equal(commonsenseSets.length + mathSets.length, 15);
});

Deno.test("records whose texts are missing or no texts are refused with their place", async () => {
  const read = (record: unknown) =>
    withJson({ "a.json": [sum, record] }, (folder) => readInstructionRecords(`${folder}/a.json`));
  for (const input of [undefined, null, ""]) {
    assert.equal((await read({ ...sum, input }))[1].input, undefined);
  }
  assert.equal((await read({ ...sum, input: " " }))[1].input, " ");
  await assert.rejects(read({ ...sum, instruction: null }), /a\.json record 1 lacks a text "instruction"/);
  await assert.rejects(read({ ...sum, input: 7 }), /a\.json record 1: "input" is 7, which is no text/);
  await assert.rejects(
    readInstructionRecords("/nowhere/a.json"),
    /there is no file \/nowhere\/a\.json: check its path/,
  );
  await assert.rejects(read({ ...sum, output: {} }), /a\.json record 1: "output" is \{\}, which is no text/);
  await assert.rejects(
    read({ ...sum, output: "\ud800" }),
    /record 1: "output" is "\\ud800", which is no text/,
  );
  await withJson(
    { "math_10k.json": [sum, { ...sum, output: null }] },
    (folder) =>
      assert.rejects(load(folder, { train: "math_10k" }), /math_10k\.json record 1 lacks a text "output"/),
  );
});
