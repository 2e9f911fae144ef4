/** GLUE's tasks, from the user's files (`--data`). */

import { glueProtocol } from "../protocols/glue.ts";
import { userDataTable } from "./user_data.ts";

const small = ["SST-2", "STS-B", "MRPC", "CoLA", "RTE"];

export const glueTable = userDataTable({
  name: "glue",
  title: "GLUE",
  data: {
    folder:
      "the folder with GLUE's folders, TSV (RTE/train.tsv …) or the hub's parquet (rte/train-00000-of-00001.parquet …)",
    setting: "GLUE: each task's own train and dev files, or a random sample of them",
  },
  paper: "on RoBERTa-base BoRA r 8 averages 83.78, LoRA r 8 82.55, LoRA r 32 83.60.",
  target: glueProtocol.target,
  profiles: {
    smoke: { tasks: ["RTE"], train: 64, dev: 64, training: 1, seeds: 1 },
    default: {
      tasks: small,
      rows: ["Head only", "LoRA r 8", "LoRA r 32", "BoRA r 8 b 16"],
      train: 8000,
      dev: 2000,
      training: 2,
      seeds: 3,
    },
    full: { tasks: glueProtocol.averaged, train: 8000, dev: 2000, training: 3, seeds: 5 },
    paper: {
      tasks: glueProtocol.averaged,
      train: Infinity,
      dev: Infinity,
      training: glueProtocol,
      seeds: glueProtocol.seeds,
    },
  },
});
