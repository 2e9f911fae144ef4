/** The measurements of `deno task costs`, and their page. */

import * as v from "npm:valibot@1.5.0";
import { originText, table } from "../lib/report/markdown.ts";
import { readJson } from "../lib/files.ts";
import { definePage } from "../lib/report/page.ts";
import { environmentSchema } from "../lib/report/schema.ts";
import { median } from "../lib/report/statistics.ts";

const finite = v.pipe(v.number(), v.finite());

const measuredSchema = v.object({
  name: v.string(),
  goal: v.string(),
  works: v.array(v.string()),
  /** Milliseconds per run: one list per work, one entry per lap. */
  milliseconds: v.array(v.array(finite)),
  /** The measure in each lap. */
  values: v.pipe(v.array(finite), v.minLength(1)),
});

/** A measure and its value in every lap. */
export type Measured = v.InferOutput<typeof measuredSchema>;

const costsSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  measured: v.pipe(v.array(measuredSchema), v.minLength(1)),
});

/** Reads a costs.json. Throws an Error that names the file and the field that is wrong. */
export async function readCosts(path: string): Promise<readonly Measured[]> {
  return (await readJson(path, costsSchema)).measured;
}

function markdownOf({ measured, environment }: v.InferOutput<typeof costsSchema>): string {
  const rows = measured.map(({ name, goal, values }) => [
    name,
    median(values).toFixed(2),
    `${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)}`,
    goal,
  ]);
  return `# What an adapter costs

\`deno task costs\`: this library against itself, forward and backward, the works of a line in turn: the median of ${
    measured[0].values.length
  } laps, and
the least and greatest. Slopes are those of log time over log counted work: 1 where time grows as the count does.

${originText(environment)}

${table(["measure", "median", "least–greatest", "goal"], rows)}
`;
}

export const costsPage = definePage("costs", costsSchema, (record) => ({ ".md": markdownOf(record) }));
