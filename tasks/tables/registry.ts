/** The tables of `deno task reproduce`, in the order they are listed. */

import { ablationTable } from "./ablation.ts";
import { approximationStudy } from "./approximation.ts";
import { commonsenseTable } from "./commonsense.ts";
import { commonsenseDecodersTable } from "./commonsense_decoders.ts";
import { decodersTable } from "./decoders.ts";
import { firstTable } from "./first.ts";
import { glueTable } from "./glue.ts";
import { granularityTable } from "./granularity.ts";
import { headlineTable } from "./headline.ts";
import { mathTable } from "./math.ts";
import { methodsTable } from "./methods.ts";
import { rankTable } from "./rank.ts";
import { scalingTable } from "./scaling.ts";
import type { Study, Table } from "./table.ts";

export const tables: readonly (Table | Study)[] = [
  firstTable,
  headlineTable,
  methodsTable,
  ablationTable,
  scalingTable,
  granularityTable,
  rankTable,
  approximationStudy,
  decodersTable,
  glueTable,
  commonsenseTable,
  commonsenseDecodersTable,
  mathTable,
];

/** The table called `name`; of two, the one for decoders or for encoders. Throws an Error that lists the names. */
export function tableByName(name: string, forDecoder: boolean): Table | Study {
  const named = tables.filter((table) => table.name === name);
  const found = named.find((table) => "decoder" in table === forDecoder) ?? named.at(0);
  if (found) return found;
  throw new Error(`no table "${name}"; have ${[...new Set(tables.map(({ name }) => name))].join(", ")}`);
}
