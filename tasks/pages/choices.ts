/**
 * Why kernels are the way they are: for each family of kernels a record, written by hand when a choice was
 * measured, and its page. The code contains the rule; the record says which measurements, when and where, it
 * is based on.
 */

import { markdownTable } from "npm:markdown-table@3.0.4";
import * as v from "npm:valibot@1.5.0";
import { definePage } from "../../lib/report/page.ts";

const families = ["products", "attention", "bora", "layer-norm", "autotuner"];

const choicesSchema = v.object({
  schemaVersion: v.literal(1),
  choices: v.pipe(
    v.array(v.object({
      date: v.pipe(v.string(), v.isoDate()),
      /** Where in the code the choice is made. */
      where: v.string(),
      choice: v.string(),
      /** Ratios are between times of the same run, with both sides in alternation. */
      measured: v.string(),
      driver: v.string(),
    })),
    v.minLength(1),
  ),
});

function markdownOf(family: string, { choices }: v.InferOutput<typeof choicesSchema>): string {
  const rows = choices.map(({ date, where, choice, measured, driver }) => [
    choice,
    measured,
    driver,
    date,
    `\`${where}\``,
  ]);
  return `# What kernels rest on: ${family}

Measured when the choice was made, on 2 CPUs; a share of a time compares both sides in turn within one run. Products are m×n×k:
NN is C = A B, NT is C = A Bᵀ, TN is C = Aᵀ B.

${markdownTable([["choice", "measured", "on", "date", "in"], ...rows])}
`;
}

export const choicesPages = families.map((family) =>
  definePage(family, choicesSchema, (record) => ({ ".md": markdownOf(family, record) }))
);
