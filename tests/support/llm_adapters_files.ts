/** Small files in LLM-Adapters' layout. */

import { makeFolder } from "../../lib/files.ts";

interface MadeRecord {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
  readonly answer: string;
}

/** A question with two answers, of which the second is right where i is odd. */
function question(i: number): MadeRecord {
  const answer = `answer${1 + i % 2}`;
  return {
    instruction: `Please choose the correct answer to the question: ${"ab".repeat(1 + i % 3)}?\n\n` +
      `Answer1: ${"cd"[i % 2]} Answer2: ${"dc"[i % 2]}\n\nAnswer format: answer1/answer2`,
    input: "",
    output: `the correct answer is ${answer}`,
    answer,
  };
}

function problem(i: number): MadeRecord {
  return { instruction: `What is ${i} + 1?`, input: "", output: `It is ${i + 1}.`, answer: `${i + 1}.0` };
}

/** Writes training and test files for the profile smoke of the tables for decoders. */
export async function writeLlmAdaptersFiles(folder: string): Promise<void> {
  const records = <T>(count: number, of: (i: number) => T) => Array.from({ length: count }, (_, i) => of(i));
  const files = {
    "ARC-Challenge/train.json": records(20, question),
    "ARC-Challenge/test.json": records(9, question),
    "openbookqa/train.json": records(21, question),
    "openbookqa/test.json": records(6, (i) => question(i + 1)),
    "math_10k.json": records(20, problem),
    "AddSub/test.json": records(3, problem),
    "SVAMP/test.json": records(4, problem),
  };
  for (const [path, own] of Object.entries(files)) {
    if (path.includes("/")) await makeFolder(`${folder}/${path.split("/")[0]}`);
    await Deno.writeTextFile(`${folder}/${path}`, JSON.stringify(own));
  }
}
