/**
 * The first table: the paper's main systems on the embedded suite. `deno task reproduce` runs it by default.
 */

import { firstSystems } from "../../lib/adapters/systems.ts";
import { tasks } from "../../lib/data/registry.ts";
import { parameterChart } from "../../lib/report/chart.ts";
import type { Table } from "./table.ts";

export const firstTable: Table = {
  name: "first-table",
  title: "The first table: USE-lite on the embedded suite",
  rows: firstSystems,
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
    default: { tasks: ["supersense", "sentiment"], train: 800, dev: 300, training: 2, seeds: 1 },
    full: { tasks: tasks.map(({ name }) => name), train: 8000, dev: 2000, training: 3, seeds: 3 },
  },
  charts: (cells) => [
    {
      name: "",
      caption: "average score against trainable parameters",
      svg: () => parameterChart("USE-lite on the embedded suite", cells),
    },
  ],
};
