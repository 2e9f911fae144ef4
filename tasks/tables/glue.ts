/** GLUE's tasks from the user's files (`--data`), with the embedded encoder. */

import { userDataTable } from "./user_data.ts";

const small = ["CoLA", "SST-2", "MRPC", "STS-B", "RTE"];
const all = [...small, "QQP", "MNLI", "QNLI"];

export const glueTable = userDataTable({
  name: "glue",
  title: "GLUE with USE-lite",
  data: {
    folder:
      "the folder with GLUE's folders, TSV (RTE/train.tsv …) or the hub's parquet (rte/train-00000-of-00001.parquet …)",
    setting: "GLUE: a random sample of each task's own train and dev files, not the paper's model",
  },
  paper: "on RoBERTa-base BoRA r 8 averages 83.78, LoRA r 8 82.55, LoRA r 32 83.60.",
  profiles: {
    smoke: { tasks: ["RTE"], train: 64, dev: 64, epochs: 1, seeds: 1 },
    default: { tasks: small, train: 480, dev: 320, epochs: 2, seeds: 3 },
    full: { tasks: all, train: 8000, dev: 2000, epochs: 3, seeds: 5 },
  },
});
