/**
 * The eight commonsense data sets of LLM-Adapters (Hu et al. 2023) as multiple choice, for models that score each option. Those that
 * write their answers have `llm_adapters_language.ts`.
 */

import { choicesOf } from "./llm_adapters_choices.ts";
import { readInstructionRecords } from "./llm_adapters_records.ts";
import { commonsenseSets } from "./llm_adapters_sets.ts";
import { inHashOrder } from "./split.ts";
import type { Example, Task, TaskFamily } from "./task.ts";

/**
 * The LLM-Adapters task `name` ("boolq", "piqa", "social_i_qa", "hellaswag", "winogrande", "ARC-Easy",
 * "ARC-Challenge" or "openbookqa"), read from `folder`, which must contain `<name>/train.json` and
 * `<name>/test.json`. The test file is used as dev. Both are in hash order, so a prefix of either is a random
 * sample.
 *
 * A few ARC questions have 3 or 5 options instead of 4. Since all examples must have the same number of
 * texts, shorter ones repeat their first wrong option. This does not change whether the correct option has
 * the highest score.
 *
 * @throws Error when there is no task `name`. `load` throws an Error that names the file and the record (from
 * 0) of malformed data.
 */
export function llmAdaptersTask(name: string, folder: string): Task {
  const found = commonsenseSets.find((own) => own.name === name);
  if (!found) {
    const names = commonsenseSets.map((own) => own.name).join(", ");
    throw new Error(`LLM-Adapters has no commonsense task "${name}"; it has ${names}`);
  }
  return {
    name,
    description: found.description,
    source: `LLM-Adapters (Hu et al. 2023), ${name}`,
    objective: "choice",
    labels: [],
    metrics: ["accuracy"],
    // The longest for which 32 questions with five options fit the embedded encoder within bindings of 128
    // MiB.
    maxTokens: 96,
    async load() {
      const read = async (side: string) => {
        const records = await readInstructionRecords(`${folder}/${name}/${side}.json`);
        return records.map((record, i): Example => {
          const { question, options, label } = choicesOf(found, record);
          return { id: `${side} ${i}`, texts: [question, ...options.map(({ text }) => text)], label };
        });
      };
      const [train, dev] = [await read("train"), await read("test")];
      const most = [...train, ...dev].reduce((longest, { texts }) => Math.max(longest, texts.length), 0);
      const [a, b] = [train, dev].map((examples) =>
        inHashOrder(examples, ({ id }) => id).map((example) => padded(example, most))
      );
      return { train: a, dev: b };
    },
  };
}

/** The task family for `registry.ts`. */
export const llmAdapters: TaskFamily = {
  name: "llm-adapters",
  description: "LLM-Adapters' commonsense data sets, from their JSON files",
  tasks: commonsenseSets.map(({ name }) => name),
  task: llmAdaptersTask,
};

function padded({ id, texts, label }: Example, count: number): Example {
  const wrong = texts[label === 0 ? 2 : 1];
  return { id, texts: [...texts, ...Array<string>(count - texts.length).fill(wrong)], label };
}
