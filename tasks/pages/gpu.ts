/** What `deno task gpu` found out about a GPU: its record, and its page. */

import * as v from "npm:valibot@1.5.0";
import { escapedRecord, originText, table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";
import { environmentSchema } from "../../lib/report/schema.ts";
import { recordOf } from "../../lib/record_schema.ts";
import { bytesText } from "../../lib/show.ts";

const seconds = v.pipe(v.number(), v.finite(), v.minValue(0));

const partSchema = v.object({
  name: v.string(),
  title: v.string(),
  /** What was run. */
  command: v.string(),
  /** Machine and commit, where they are not the record's: a later run kept the part. */
  origin: v.optional(v.string()),
  outcome: v.picklist(["done", "failed", "timed out", "not run"]),
  seconds,
  /** The seconds that it had. */
  limit: seconds,
  /** The main figures of what it wrote, also of what it wrote before it ended too early. */
  figures: v.optional(v.object({
    header: v.pipe(v.array(v.string()), v.minLength(1)),
    rows: v.array(v.array(v.string())),
  })),
  /** What else is to be said of the figures. */
  note: v.optional(v.string()),
  /** Its own page in the same folder. */
  page: v.optional(v.string()),
  /** The end of what it printed, if it failed or ran out of time. */
  output: v.optional(v.string()),
});

export const gpuSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  /** The device's, by WebGPU's names. */
  limits: recordOf(v.pipe(v.number(), v.minValue(0))),
  /** Lanes per subgroup; 0 if kernels cannot use subgroups. */
  subgroupSize: v.pipe(v.number(), v.integer(), v.minValue(0)),
  parts: v.array(partSchema),
});

/** A part of the run, and how it ended. */
export type PartRecord = v.InferOutput<typeof partSchema>;
/** One run on one GPU. */
export type GpuRecord = v.InferOutput<typeof gpuSchema>;

function summary(parts: readonly PartRecord[]): string {
  const rows = parts.map(({ title, outcome, seconds, limit, page }) => [
    title,
    outcome === "done" ? "done" : `**${outcome}**`,
    seconds.toFixed(0),
    limit.toFixed(0),
    page === undefined ? "" : `[${page}](${page})`,
  ]);
  return table(["part", "outcome", "seconds", "of at most", "its page"], rows);
}

const indented = (text: string) => text.split("\n").map((line) => `    ${line}`.trimEnd()).join("\n");

function section({ title, outcome, origin, figures, note, output }: PartRecord, own: PartRecord): string {
  const shown = [
    ...origin === undefined ? [] : [`Of an earlier run. ${origin}`],
    ...figures && figures.rows.length > 0 ? [table(figures.header, figures.rows)] : [],
    ...note === undefined ? [] : [note],
  ];
  // As they were: code blocks need no escapes.
  const command = indented(own.command);
  const printed = own.output === undefined || own.output === "" ? "    (nothing)" : indented(own.output);
  const troubles = output === undefined
    ? []
    : [`It ${outcome === "failed" ? "failed" : "ran out of time"}. The end of what it printed:`, printed];
  const unrun = outcome === "not run" ? ["Not run: too little time was left."] : [];
  return [`## ${title}`, command, ...shown, ...troubles, ...unrun].join("\n\n");
}

const isBytes = (limit: string) => /Size$/.test(limit) && !/Workgroup/.test(limit);

/** Renders the page of one run. */
export function renderGpu(own: GpuRecord): string {
  const { environment, limits, subgroupSize, parts } = escapedRecord(own);
  const limitRows = Object.entries(limits).map(([name, value]) => [
    `\`${name}\``,
    isBytes(name) ? bytesText(value) : value.toLocaleString("en-US"),
  ]);
  const soft = environment.software ? " It is a software driver: no figure here is a GPU's." : "";
  return `# ${environment.adapter}

\`deno task gpu\`: what this library does on this adapter, each part in a process of its own with a time limit. What a part that
ended early had written is shown all the same.${soft}

${originText(environment)}

${summary(parts)}

${parts.map((part, i) => section(part, own.parts[i])).join("\n\n")}

## Limits

${table(["limit", "value"], [...limitRows, ["lanes of a subgroup", `${subgroupSize}`]])}
`;
}

export const gpuPage = definePage("gpu", gpuSchema, (record) => ({ ".md": renderGpu(record) }));
