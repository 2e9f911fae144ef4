/**
 * The first table: the paper's five rows on one task, with one seed and as much data as ten minutes on two
 * cores allow. `deno task reproduce` runs it by default.
 */

import { fileURLToPath } from "node:url";
import { parameterChart } from "../../lib/report/chart.ts";
import { compareTo, comparisonSections } from "../../lib/report/comparison.ts";
import { escapedRecord } from "../../lib/report/markdown.ts";
import { readCells } from "../../lib/report/cell_table.ts";
import { isFile } from "../../lib/files.ts";
import { headlineTable, paperRows } from "./headline.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Table } from "./table.ts";

const reference = "LoRA r 8";

/** The committed cells of the same rows with more data and seeds. */
const committed = fileURLToPath(new URL("../../results/headline.json", import.meta.url));

/** The section on the committed table of the same rows; none while that is not there. */
async function withMoreData(): Promise<string[]> {
  if (!await isFile(committed)) return [];
  const cells = escapedRecord(await readCells(committed));
  const [{ trainExamples, devExamples }] = cells;
  return [
    `## The same rows with more data\n\nTrained on ${
      trainExamples.toLocaleString("en-US")
    } examples and judged on ${
      devExamples.toLocaleString("en-US")
    }, with more seeds: the committed ${headlineTable.name} table.\n\n${compareTo(reference, cells)}`,
  ];
}

export const firstTable: Table = {
  name: "first-table",
  title: "The first table: the paper's five rows on USE-lite",
  rows: paperRows,
  reference,
  profiles: {
    smoke: { ...analysisProfiles.smoke, rows: [reference, "BoRA r 8 b 16"] },
    default: { tasks: ["supersense"], train: 4000, dev: 2000, training: 1, seeds: 1 },
  },
  async sections(cells) {
    return [...comparisonSections(reference, cells), ...await withMoreData()];
  },
  spectra: spectraRows,
  charts: (cells) => [
    {
      name: "",
      caption: "score against trainable parameters",
      svg: () => parameterChart("The paper's five rows", cells),
    },
  ],
};
