/** What the tables on the user's data sets share: the paper's main systems, and their description. */

import { firstSystems } from "../../lib/adapters/systems.ts";
import { parameterChart } from "../../lib/report/chart.ts";
import { agreement, verdict } from "../../lib/report/comparison.ts";
import type { Profile, Table } from "./table.ts";

const labels = ["Head only", "LoRA r 8", "MELoRA r 8 b 16", "BoRA r 8 b 16"];

/** A table of the main systems on one family of tasks. `profiles` set how much of each task is used. */
export function userDataTable(
  { name, title, data, paper, target, profiles }: {
    readonly name: string;
    readonly title: string;
    readonly data: Required<Table>["data"];
    readonly paper: string;
    readonly target: readonly string[];
    readonly profiles: Readonly<Record<string, Profile>>;
  },
): Table {
  return {
    name,
    title,
    data,
    rows: firstSystems.filter(({ label }) => labels.includes(label)).map((system) => ({ ...system, target })),
    reference: "LoRA r 8",
    profiles,
    finding: {
      paper,
      here: (cells) =>
        `${agreement([["BoRA r 8 b 16", "LoRA r 8"]], cells)}. ${
          verdict("BoRA r 8 b 16", "LoRA r 8", cells)
        }.`,
    },
    charts: (cells) => [
      {
        name: "",
        caption: "average score against trainable parameters",
        svg: () => parameterChart(title, cells),
      },
    ],
  };
}
