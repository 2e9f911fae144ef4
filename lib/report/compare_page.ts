/**
 * Renders comparisons as markdown. All text from a file is escaped, because a result file may come from a
 * stranger's pull request.
 */

import type { ComparedRow, Comparison } from "./compare.ts";
import { alpha, type Verdict } from "./judge.ts";
import { escapeMarkdown } from "../escape_markdown.ts";
import { table } from "./markdown.ts";
import type { Environment } from "./schema.ts";

/** The order of rows, worst first. */
const order: readonly Verdict[] = ["worse", "better", "cannot tell", "same"];

/** The number of rows with each verdict, such as `1 worse, 3 same`. */
export function countsOf(rows: readonly ComparedRow[]): string {
  return order.map((verdict) => [rows.filter((row) => row.verdict === verdict).length, verdict] as const)
    .filter(([count]) => count > 0).map(([count, verdict]) => `${count} ${verdict}`).join(", ");
}

/** The page: the environments and rows of every kind of result, and what the verdicts mean. */
export function comparePage(comparisons: readonly Comparison[], base: string, head: string): string {
  const sections = comparisons.map(section).join("\n\n");
  return `# ${escapeMarkdown(base)} → ${escapeMarkdown(head)}\n\n${sections}\n`;
}

function section({ title, method, exact, environments, rows, missing, notes }: Comparison): string {
  const gone = missing.length === 0 ? "" : `**Missing in head:** ${escapeMarkdown(missing.join("; "))}.\n\n`;
  return `## ${title}: ${countsOf(rows) || "nothing changed"}

${gone}${environmentTable(environments)}

${rows.length === 0 ? "" : `${rowTable(rows, exact)}\n\n`}${method}${exact ? "" : ` ${chance}`}${
    notes.map((note) => `\n\n${escapeMarkdown(note)}`).join("")
  }`;
}

/** What the verdicts mean where chance has a part. */
const chance =
  `*better* and *worse*: larger than the threshold, and more than the spread explains; p is adjusted so that noise
alone raises one alarm or more among all rows in ${
    100 * alpha
  } of 100 comparisons (Holm). *same*: the interval lies within the
threshold.`;

function rowTable(rows: readonly ComparedRow[], exact: true | undefined): string {
  const sorted = rows.toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  const pText = (p: number | undefined) => p === undefined ? "–" : p < 0.001 ? "&lt; 0.001" : p.toFixed(3);
  return table(
    ["row", "base", "head", ...exact ? ["difference"] : ["difference (95 %)", "p"], "verdict"],
    sorted.map(({ name, base, head, difference, p, verdict }) => [
      escapeMarkdown(name),
      base,
      head,
      ...exact ? [escapeMarkdown(difference)] : [difference, pText(p)],
      verdict === "worse" || verdict === "better" ? `**${verdict}**` : verdict,
    ]),
  );
}

const fields = ["adapter", "driver", "software", "runtime", "system", "cpus", "commit", "dirty"] as const;

/** Shown when a record lacks a value. */
const unrecorded = "not recorded";

/** A table of the two environments: what differs, and what they share. */
function environmentTable({ base, head }: Comparison["environments"]): string {
  const valuesOf = (environments: readonly Environment[], field: typeof fields[number]) =>
    [...new Set(environments.map((environment) => String(environment[field] ?? unrecorded)))].map(
      escapeMarkdown,
    ).join(
      ", ",
    );
  const all = fields.map((field) => [field, valuesOf(base, field), valuesOf(head, field)] as const)
    .filter(([, a, b]) => a !== unrecorded || b !== unrecorded);
  const differing = all.filter(([, a, b]) => a !== b);
  const shared = all.filter(([, a, b]) => a === b).map(([field, value]) => `${field} ${value}`).join(", ");
  const sharedText = shared === "" ? "" : `Environment of both: ${shared}.`;
  if (differing.length === 0) return sharedText;
  const machine = differing.some((row) =>
    row[0] !== "commit" && row[0] !== "dirty" && !row.includes(unrecorded)
  );
  const warning = machine ? "**The environments differ: so may the results, with the same code.**\n\n" : "";
  return `${warning}${table(["environment", "base", "head"], differing)}${sharedText && `\n\n${sharedText}`}`;
}
