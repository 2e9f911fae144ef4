/**
 * The first table: the paper's five rows on one task, with one seed and as much data as ten minutes on two
 * cores allow. `deno task reproduce` runs it by default.
 */

import { parameterChart } from "../../lib/report/chart.ts";
import { paperRows } from "./headline.ts";
import type { Table } from "./table.ts";

export const firstTable: Table = {
  name: "first-table",
  title: "The first table: the paper's five rows on USE-lite",
  rows: paperRows,
  reference: "LoRA r 8",
  profiles: {
    smoke: {
      tasks: ["sentiment"],
      rows: ["LoRA r 8", "BoRA r 8 b 16"],
      train: 160,
      dev: 96,
      training: 1,
      seeds: 1,
    },
    default: { tasks: ["supersense"], train: 4000, dev: 2000, training: 1, seeds: 1 },
  },
  charts: (cells) => [
    {
      name: "",
      caption: "score against trainable parameters",
      svg: () => parameterChart("The paper's five rows", cells),
    },
  ],
};
