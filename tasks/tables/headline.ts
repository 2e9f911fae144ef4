/** The paper's headline: BoRA against LoRA of the same and of four times its rank, and against MELoRA. */

import { firstSystems } from "../../lib/adapters/systems.ts";
import { parameterChart } from "../../lib/report/chart.ts";
import { claimsText } from "../../lib/report/comparison.ts";
import { analysisProfiles, spectraRows } from "./profiles.ts";
import type { Row, Table } from "./table.ts";

/** The rows of the paper's main tables. */
export const paperRows: readonly Row[] = firstSystems.filter(({ label }) => label !== "Full fine-tuning");

const [bora, others] = ["BoRA r 8 b 16", ["LoRA r 8", "LoRA r 32", "MELoRA r 8 b 16"]];

export const headlineTable: Table = {
  name: "headline",
  title: "The paper's headline: BoRA, LoRA and MELoRA",
  rows: paperRows,
  reference: "LoRA r 8",
  profiles: {
    ...analysisProfiles,
    default: {
      ...analysisProfiles.default,
      seeds: 5,
      moreSeeds: Object.fromEntries([bora, ...others].map((label) => [label, 10])),
    },
  },
  spectra: spectraRows,
  finding: {
    paper:
      "BoRA (r 8, b 16) beats LoRA of the same rank everywhere, LoRA r 32 nearly everywhere, and MELoRA.",
    here: (cells) => claimsText(others.map((other) => [bora, other]), cells),
  },
  charts: (cells) => [
    {
      name: "",
      caption: "score against trainable parameters",
      svg: () => parameterChart("The paper's five rows", cells),
    },
  ],
};
