/** What written texts answer, as LLM-Adapters reads them and as a reader would. */

import assert from "node:assert/strict";
import {
  type Answer,
  type AnswerReading,
  letterAnswers,
  numberAnswers,
} from "../lib/data/answer_extraction.ts";
import { testSetByName, testSets } from "../lib/data/llm_adapters_sets.ts";

/** Texts, and what the reference and the strict reading find in them. */
type Cases = readonly (readonly [text: string, reference: Answer, strict: Answer])[];

function check(reading: AnswerReading, cases: Cases): void {
  for (const [text, reference, strict] of cases) {
    assert.deepEqual(
      [reading.reference(text), reading.strict(text)],
      [reference, strict],
      JSON.stringify(text),
    );
  }
}

const none = undefined;

Deno.test("names: what LLM-Adapters' scripts look for in each commonsense set, and nothing else", () => {
  const looked: Readonly<Record<string, string>> = {
    "boolq": "true|false",
    "piqa": "solution1|solution2",
    "social_i_qa": "answer1|answer2|answer3|answer4|answer5",
    "hellaswag": "ending1|ending2|ending3|ending4",
    "winogrande": "option1|option2",
    "ARC-Easy": "answer1|answer2|answer3|answer4|answer5",
    "ARC-Challenge": "answer1|answer2|answer3|answer4|answer5",
    "openbookqa": "answer1|answer2|answer3|answer4|answer5",
  };
  assert.deepEqual(
    Object.keys(looked),
    testSets.filter(({ group }) => group === "commonsense").map(({ name }) => name),
  );
  for (const [set, pattern] of Object.entries(looked)) {
    const { reading } = testSetByName(set);
    const all = [
      "true",
      "false",
      "solution1",
      "solution3",
      "ending4",
      "ending5",
      "option2",
      "option3",
      "answer5",
      "answer6",
    ];
    for (const name of all) {
      const is = new RegExp(pattern).test(name) ? name : none;
      check(reading, [[name, is, is], [`the correct answer is ${name}`, is, is], [` ${name}\n`, is, is]]);
      assert.equal(reading.gold(name), is);
    }
  }
});

Deno.test("names: the reference takes the first anywhere; the strict reading whole words that agree, announced ones before others", () => {
  check(testSetByName("openbookqa").reading, [
    ["", none, none],
    ["I do not know.", none, none],
    ["answer 2", none, none],
    ["answer2, since answer1 melts", "answer2", none],
    ["Not answer1: the correct answer is answer3.", "answer1", "answer3"],
    ["The correct answer is answer3. It is not answer1.", "answer3", "answer3"],
    ["the correct answer is answer1 or the correct answer is answer2", "answer1", none],
    ["answer1/answer2/answer3/answer4", "answer1", none],
    ["answer12", "answer1", none],
    ["Answer4", none, "answer4"],
    ["Answer: (answer4)", "answer4", "answer4"],
    ["answer2 answer2", "answer2", "answer2"],
    ["answer2\n\n### Instruction:\nAnswer format: answer1/answer2", "answer2", "answer2"],
    ["\n\n                ### Response:\n                answer3", "answer3", none],
  ]);
  check(testSetByName("boolq").reading, [
    ["That is untrue, so false", "true", "false"],
    ["trueness", "true", none],
    ["True.", none, "true"],
    ["The correct answer is FALSE", none, "false"],
    ["true or false", "true", none],
    ["True, true, TRUE", "true", "true"],
    ["the answer is: **true**, never false", "true", "true"],
  ]);
});

Deno.test("letters: the reference takes the first capital from A to E of any word", () => {
  check(letterAnswers, [
    ["", none, none],
    ["The answer is B", "B", "B"],
    ["The answer is B.", "B", "B"],
    ["Answer: B", "A", "B"],
    ["ANSWER: C", "A", "C"],
    ["Answer: (D) 21", "A", "D"],
    ["The answer is option E", "E", "E"],
    ["A train covers the Distance in 3 hours. The answer is C.", "A", "C"],
    ["A train is fast, so D", "A", "D"],
    ["A is right", "A", "A"],
    ["A.", "A", "A"],
    ["B or C", "B", none],
    ["A or B", "A", none],
    ["Not C: the answer is option B", "C", "B"],
    ["Because of E's price", "B", none],
    ["the answer is b", none, none],
    ["F", none, none],
  ]);
  assert.deepEqual(["A", "E", "F", "a", "AB", ""].map(letterAnswers.gold), [
    "A",
    "E",
    none,
    none,
    none,
    none,
  ]);
  assert.ok(letterAnswers.isRight("B", "B") && !letterAnswers.isRight(none, none));
});

Deno.test("numbers: the reference takes the last, without commas; the strict reading whole ones, announced ones before others", () => {
  check(numberAnswers, [
    ["", none, none],
    ["no number", none, none],
    // What a model of LLM-Adapters writes.
    ["There were 7 crayons. Mary took 3 out, so now there are 7 - 3 = 4 crayons. The answer is 4.", 4, 4],
    ["The answer is 18.", 18, 18],
    ["18.0", 18, 18],
    // Separators and signs.
    ["1,234", 1234, 1234],
    ["He has $1,234,567.50.", 1234567.5, 1234567.5],
    ["1,2345", 12345, 2345],
    ["3, 4", 4, 4],
    ["3,4", 34, 4],
    ["-5", -5, -5],
    ["- 5", 5, 5],
    ["it is -$5", 5, -5],
    ["−5 degrees", 5, -5],
    ["10-3", -3, 3],
    ["(10)-3", -3, 3],
    ["--7", -7, -7],
    // Parts of numbers, words that end in digits, and powers.
    ["1/2", 2, 0.5],
    ["The answer is 3 / 4.", 4, 0.75],
    ["1/0", 0, none],
    [".5", 5, 0.5],
    ["1.5e3", 3, 1500],
    ["1.5e-3", -3, 0.0015],
    ["2e", 2, 2],
    ["12cm", 12, 12],
    ["H2O", 2, none],
    ["50%", 50, 50],
    ["#### 72", 72, 72],
    ["1.2.3", 3, 1.2],
    // Several answers, and what comes after.
    ["The answer is 4. There were 7 before.", 7, 4],
    ["Answer: 4 (of 10)", 10, 4],
    ["First the answer is 3, then the answer is 5, of 8", 8, 5],
    ["The answer is 4.\n\n### Instruction:\nAdd 2 and 9.", 9, 4],
    ["The answer is not 4", 4, 4],
    ["The answer is 40 - 29 = 11 holes. They dug 2 a day.", 2, 11],
    ["The answer is 58 + 94 = 152 inches", 152, 152],
    ["The answer is 18 dollars for 3 shirts.", 3, 18],
    ["The answer is 2.5 kilograms of the 10.", 10, 2.5],
    ["The answer is 37 sweets and 14 cakes.", 14, none],
    ["The answer is 2 or 3.", 3, none],
    ["The answer is 6 pieces, or 6 * 2.5 = 15 ounces.", 15, 15],
    ["The answer is 7.\nThe answer is clear.\n8 more", 8, 7],
    ["The answer is Ada's 7", 7, 7],
    ["The answer is 5\n= 6", 6, 5],
  ]);
  const { gold, isRight } = numberAnswers;
  assert.deepEqual(["576.0", "4", "-9.5", ".5", "1e-05", "3."].map(gold), [576, 4, -9.5, 0.5, 1e-5, 3]);
  assert.deepEqual(["", "A", "4 apples", "1,000", "inf", "nan", "0x10"].map(gold), Array(7).fill(none));
  assert.deepEqual([8, 8.001, 7.9995, 8.0011, -8, none].map((read) => isRight(read, 8)), [
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
  assert.ok(isRight(0.001, 0) && isRight(0, 0) && !isRight(none, 0));
});
