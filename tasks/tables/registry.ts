/** The tables of `deno task reproduce`, in the order they are listed. */

import { ablationTable } from "./ablation.ts";
import { approximationStudy } from "./approximation.ts";
import { commonsenseTable } from "./commonsense.ts";
import { decodersTable } from "./decoders.ts";
import { firstTable } from "./first.ts";
import { glueTable } from "./glue.ts";
import { granularityTable } from "./granularity.ts";
import { headlineTable } from "./headline.ts";
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
];

/** The table called `name`. Throws an Error that lists the names. */
export function tableByName(name: string): Table | Study {
  const found = tables.find((table) => table.name === name);
  if (!found) throw new Error(`no table "${name}"; have ${tables.map((table) => table.name).join(", ")}`);
  return found;
}
