/** LLM-Adapters' commonsense data sets, from the user's files (`--data`), as multiple choice. */

import { llmAdapters } from "../../lib/data/llm_adapters.ts";
import { commonsenseProtocol } from "../protocols/commonsense.ts";
import { userDataTable } from "./user_data.ts";

export const commonsenseTable = userDataTable({
  name: "commonsense",
  title: "Commonsense as multiple choice",
  data: {
    folder: "the folder with LLM-Adapters' folders (boolq/train.json, ARC-Easy/train.json …)",
    setting:
      "LLM-Adapters: each data set's train and test files, or a random sample of them; not the paper's models",
  },
  paper: "on Gemma-7B, which writes its answers, BoRA r 8 averages 87.04, LoRA r 8 85.95, LoRA r 32 86.61.",
  target: commonsenseProtocol.target,
  profiles: {
    smoke: { tasks: ["openbookqa"], train: 32, dev: 32, training: 1, seeds: 1 },
    default: {
      tasks: ["boolq", "ARC-Easy", "ARC-Challenge", "openbookqa"],
      rows: ["Head only", "LoRA r 8", "LoRA r 32", "BoRA r 8 b 16"],
      train: 1000,
      dev: 1000,
      training: 2,
      seeds: 3,
    },
    full: { tasks: llmAdapters.tasks, train: 8000, dev: 2000, training: 3, seeds: 5 },
    paper: {
      tasks: llmAdapters.tasks,
      train: Infinity,
      dev: Infinity,
      training: commonsenseProtocol,
      seeds: commonsenseProtocol.seeds,
    },
  },
});
