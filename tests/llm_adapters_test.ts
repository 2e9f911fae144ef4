/** LLM-Adapters' commonsense files as multiple choice: every data set's own wording, and what is refused. */

import assert from "node:assert/strict";
import { llmAdaptersTask } from "../lib/data/llm_adapters.ts";
import { families, taskFrom } from "../lib/data/registry.ts";

interface Sample {
  readonly instruction: string;
  readonly answer: string;
  readonly texts: readonly string[];
  readonly label: number;
}

/** A record of each data set as its file words it: the sentences are ours, the frames and white space are the files'. */
const samples: Readonly<Record<string, Sample>> = {
  "boolq": {
    instruction: "Please answer the following question with true or false, question: " +
      "is the moon larger than the earth?\n\nAnswer format: true/false",
    answer: "false",
    texts: ["is the moon larger than the earth?", "true", "false"],
    label: 1,
  },
  "piqa": {
    instruction: "Please choose the correct solution to the question: Keep soup hot on a walk.\n\n" +
      "Solution1: Pour it into a paper bag.\n\nSolution2: Pour it into a flask: screw on the lid.\n\n" +
      "Answer format: solution1/solution2",
    answer: "solution2",
    texts: [
      "Keep soup hot on a walk.",
      "Pour it into a paper bag.",
      "Pour it into a flask: screw on the lid.",
    ],
    label: 1,
  },
  "social_i_qa": {
    instruction:
      "Please choose the correct answer to the question: Ada lent Ben her umbrella. How does Ben feel?" +
      "\n\nAnswer1: grateful Answer2: cheated Answer3: hungry\n\nAnswer format: answer1/answer2/answer3",
    answer: "answer1",
    texts: ["Ada lent Ben her umbrella. How does Ben feel?", "grateful", "cheated", "hungry"],
    label: 0,
  },
  "hellaswag": {
    instruction:
      "Please choose the correct ending to complete the given sentence: Baking: A man kneads dough. He\n\n" +
      "Ending1: puts it into the oven. Ending2: paints it blue. Ending3: swims away. Ending4: reads it aloud.\n\n" +
      "Answer format: ending1/ending2/ending3/ending4",
    answer: "ending1",
    texts: [
      ...["Baking: A man kneads dough. He", "puts it into the oven.", "paints it blue."],
      ...["swims away.", "reads it aloud."],
    ],
    label: 0,
  },
  "winogrande": {
    instruction: "Please choose the correct answer to fill in the blank to complete the given sentence: " +
      "The cup did not fit on the shelf because the _ was too low.\n\nOption1: cup Option2: shelf " +
      "Answer format: option1/option2",
    answer: "option2",
    texts: ["The cup did not fit on the shelf because the _ was too low.", "cup", "shelf"],
    label: 1,
  },
  "ARC-Easy": science("answer4"),
  "ARC-Challenge": science("answer2"),
  "openbookqa": science("answer3"),
};

function science(answer: string): Sample {
  return {
    instruction: "Please choose the correct answer to the question: Which of these floats on water?\n\n" +
      "Answer1: a nail Answer2: a cork Answer3: ice, when fresh. Answer4: a log\n\n" +
      "Answer format: answer1/answer2/answer3/answer4",
    answer,
    texts: ["Which of these floats on water?", "a nail", "a cork", "ice, when fresh.", "a log"],
    label: Number(answer.at(-1)) - 1,
  };
}

const recordOf = ({ instruction, answer }: Pick<Sample, "instruction" | "answer">) => ({
  instruction,
  input: "",
  output: `the correct answer is ${answer}`,
  answer,
});

/** Runs `body` on a folder where the data set's train.json is `train` (text, or records) and test.json a sample. */
async function inFolder(
  name: string,
  train: string | Uint8Array | readonly unknown[],
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  await Deno.mkdir(`${folder}/${name}`);
  const bytes = train instanceof Uint8Array
    ? train
    : new TextEncoder().encode(typeof train === "string" ? train : JSON.stringify(train));
  await Deno.writeFile(`${folder}/${name}/train.json`, bytes);
  await Deno.writeTextFile(`${folder}/${name}/test.json`, JSON.stringify([recordOf(samples[name])]));
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the samples are one of each data set", () => {
  const family = families.find(({ name }) => name === "llm-adapters")!;
  assert.deepEqual(Object.keys(samples), family.tasks);
});

for (const [name, { texts, label }] of Object.entries(samples)) {
  Deno.test(`${name}: question, options and answer`, () =>
    inFolder(name, [recordOf(samples[name])], async (folder) => {
      const task = taskFrom(name, folder);
      assert.deepEqual([task.name, task.objective], [name, "choice"]);
      const { train, dev } = await task.load();
      assert.deepEqual(train, [{ id: "train 0", texts, label }]);
      assert.deepEqual(dev, [{ id: "test 0", texts, label }]);
    }));
}

Deno.test("ARC: fewer options than others have are filled up with a wrong one", () => {
  const lead = "Please choose the correct answer to the question: Which is a metal?\n\n";
  const three = `${lead}Answer1: iron Answer2: oak Answer3: wool\n\nAnswer format: answer1/answer2/answer3`;
  const five = `${lead}Answer1: oak Answer2: wool Answer3: silk Answer4: ice Answer5: zinc\n\n` +
    "Answer format: answer1/answer2/answer3/answer4/answer5";
  const records = [
    recordOf({ instruction: three, answer: "answer1" }),
    recordOf({ instruction: five, answer: "answer5" }),
    recordOf({ instruction: three, answer: "answer2" }),
  ];
  return inFolder("ARC-Easy", records, async (folder) => {
    const { train, dev } = await llmAdaptersTask("ARC-Easy", folder).load();
    const byId = Object.fromEntries([...train, ...dev].map(({ id, texts, label }) => [id, { texts, label }]));
    const question = "Which is a metal?";
    assert.deepEqual(byId["train 0"], { texts: [question, "iron", "oak", "wool", "oak", "oak"], label: 0 });
    assert.deepEqual(byId["train 1"], { texts: [question, "oak", "wool", "silk", "ice", "zinc"], label: 4 });
    assert.deepEqual(byId["train 2"], { texts: [question, "iron", "oak", "wool", "iron", "iron"], label: 1 });
    assert.deepEqual(byId["test 0"].texts.slice(4), ["a log", "a nail"]);
  });
});

const good = recordOf(samples["openbookqa"]);
const changed = (from: string, to: string) => ({ ...good, instruction: good.instruction.replace(from, to) });
const truncated = JSON.stringify([good]).slice(0, -20);

const refused: readonly (readonly [string, string | Uint8Array | readonly unknown[], RegExp])[] = [
  [
    "an answer that is no option",
    [good, { ...good, answer: "answer5" }],
    /record 1 has answer "answer5", its options/,
  ],
  ["an answer in words", [{ ...good, answer: "a cork" }], /record 0 has answer "a cork"/],
  ["an empty answer", [{ ...good, answer: "" }], /record 0 has answer ""/],
  ["no answer", [{ instruction: good.instruction }], /record 0 lacks a text "answer"/],
  ["no instruction", [{ ...good, instruction: 7 }], /record 0: "instruction" is 7, which is no text/],
  ["a record that is null", [good, null], /record 1 lacks a text/],
  ["a missing option", [changed("Answer3: ice, when fresh. ", "")], /record 0: "Answer3:" is not there once/],
  ["an option twice", [changed("Answer3: ice", "Answer2: ice")], /record 0: "Answer2:" is not there once/],
  [
    "options out of order",
    [changed("Answer1: a nail Answer2:", "Answer2: a nail Answer1:")],
    /"Answer\d:" is not/,
  ],
  ["a marker in the question", [changed("Which", "Answer4: Which")], /"Answer4:" is not there once/],
  ["an empty option", [changed("a cork ", "")], /record 0: the question or one of its options is empty/],
  ["an empty question", [changed("Which of these floats on water?", "")], /record 0: the question or one/],
  [
    "a cut instruction",
    [changed("\n\nAnswer format: answer1/answer2/answer3/answer4", "")],
    /the instruction is not/,
  ],
  [
    "one answer",
    [changed("answer1/answer2/answer3/answer4", "answer3")],
    /the instruction is not openbookqa's/,
  ],
  [
    "another data set's file",
    [recordOf(samples["piqa"])],
    /record 0: the instruction is not openbookqa's "Please/,
  ],
  ["truncated JSON", truncated, /is not JSON in UTF-8: .*: download it again/],
  ["no list", JSON.stringify({ data: [good] }), /is not a list of records/],
  ["an empty list", [], /is not a list of records/],
  ["an empty file", "", /is not JSON in UTF-8/],
  ["bytes that are not UTF-8", Uint8Array.of(0x5b, 0x22, 0xe9, 0x22, 0x5d), /is not JSON in UTF-8/],
];

for (const [what, train, message] of refused) {
  Deno.test(`refused, with file and record: ${what}`, () =>
    inFolder("openbookqa", train, async (folder) => {
      await assert.rejects(llmAdaptersTask("openbookqa", folder).load(), (error: Error) => {
        assert.ok(error.message.startsWith(`${folder}/openbookqa/train.json`), error.message);
        assert.match(error.message, message);
        return true;
      });
    }));
}

Deno.test("an unknown data set is refused with the names", () => {
  assert.throws(() => llmAdaptersTask("gsm8k", "."), /no commonsense task "gsm8k"; it has boolq, piqa/);
});
