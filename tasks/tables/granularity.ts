/** Granularity: BoRA compared with LoRA on one projection, on several, or on every linear layer. */

import { barChart } from "../../lib/report/chart.ts";
import { claimsText } from "../../lib/report/comparison.ts";
import { analysisProfiles } from "./profiles.ts";
import type { Row, Table } from "./table.ts";

const targets: Readonly<Record<string, readonly string[]>> = {
  Q: ["query"],
  K: ["key"],
  V: ["value"],
  O: ["output"],
  QV: ["query", "value"],
  QKV: ["query", "key", "value"],
  QKVO: ["query", "key", "value", "output"],
  "all linear": ["query", "key", "value", "output", "ffn_in", "ffn_out"],
};

const rows: readonly Row[] = Object.entries(targets).flatMap(([name, target]): Row[] => [
  { label: `LoRA ${name}`, tunedAs: "LoRA r 8", method: "LoRA", options: { r: 8, alpha: 16 }, target },
  {
    label: `BoRA ${name}`,
    tunedAs: "BoRA r 8 b 16",
    method: "BoRA",
    options: { r: 8, alpha: 16, blocks: 16 },
    target,
  },
]);

export const granularityTable: Table = {
  name: "granularity",
  title: "BoRA and LoRA (r 8, b 16) by what they are attached to",
  rows,
  reference: "LoRA QV",
  profiles: analysisProfiles,
  // The other analyses' LoRA r 8 and BoRA r 8 b 16 by other names: the same cells.
  spectra: ["LoRA QV", "BoRA QV"],
  finding: {
    paper: "BoRA is ahead of LoRA at every granularity (math, LLaMA-3-8B, QKV: 73.40 against 68.19).",
    here: (cells) => claimsText(Object.keys(targets).map((name) => [`BoRA ${name}`, `LoRA ${name}`]), cells),
  },
  charts: (cells) => [
    { name: "", caption: "score by target modules", svg: () => barChart("BoRA and LoRA by target", cells) },
  ],
};
