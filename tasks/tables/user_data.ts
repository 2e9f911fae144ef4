/** What the tables on the user's data sets share: the paper's main systems, and their description. */

import { parameterChart } from "../../lib/report/chart.ts";
import { claimsText } from "../../lib/report/comparison.ts";
import { paperRows } from "./headline.ts";
import type { Profile, Table } from "./table.ts";

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
    rows: paperRows.map((row) => ({ ...row, target })),
    reference: "LoRA r 8",
    profiles,
    finding: {
      paper,
      here: (cells) =>
        claimsText([["BoRA r 8 b 16", "LoRA r 8"], ["BoRA r 8 b 16", "LoRA r 32"]], cells, [
          ["LoRA r 8", "Head only"],
        ]),
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
