/**
 * `deno task compare BASE HEAD`: did this commit, driver or GPU change accuracy or speed? Exits 1 when
 * something is worse.
 */

import { parseArgs } from "node:util";
import { writeWhole } from "../lib/files.ts";
import type { Comparison } from "../lib/report/compare.ts";
import { compareBenches, defaultPercent, leastRuns } from "../lib/report/compare_bench.ts";
import { compareCells, defaultPoints } from "../lib/report/compare_cells.ts";
import { comparePage, countsOf } from "../lib/report/compare_page.ts";
import { readResults, type Results } from "../lib/report/results.ts";
import { outputFile } from "./output.ts";
import { asUsageAsync, runCommand } from "./usage.ts";

const help = `deno task compare BASE HEAD [options]

Compares two sets of results, for example from before and after a change. BASE and HEAD are result files or folders of them:
cells of deno task reproduce, or bench.json of deno task bench. Exits with 1 if a row is worse or missing in HEAD, with 2 if
there is nothing to compare, otherwise with 0.

  --threshold N    the least difference that counts: points of accuracy (default ${defaultPoints}), or per cent of time (default
                   ${defaultPercent}; with fewer than ${leastRuns} runs of the bench per side there is no verdict without this option)
  --allow-missing  rows that HEAD lacks are not a failure
  --format FORMAT  markdown, or github: also writes to the step summary in $GITHUB_STEP_SUMMARY (default: markdown)
  --json           print JSON instead of the page
  --out FILE       also write the page to this file
  --help           this text

To compare speed, run both sides in alternation, at least three times, each run into its own folder, as below. sh
tasks/compare_with.sh does this with a commit:

  deno task bench products --alone --laps 15 --out base/1
  deno task bench products --alone --laps 15 --like base/1/bench.json --out head/1
`;

function readArguments() {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      threshold: { type: "string" },
      "allow-missing": { type: "boolean", default: false },
      format: { type: "string", default: "markdown" },
      json: { type: "boolean", default: false },
      out: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return { help: true as const };
  if (positionals.length !== 2) throw new Error(`BASE and HEAD are wanted, not ${positionals.length} paths`);
  if (values.format !== "markdown" && values.format !== "github") {
    throw new Error(`no format "${values.format}"; have markdown, github`);
  }
  const threshold = values.threshold === undefined ? undefined : Number(values.threshold);
  if (threshold !== undefined && !(threshold >= 0 && values.threshold !== "")) {
    throw new Error(`--threshold wants a number from 0, not "${values.threshold}"`);
  }
  const summary = values.format === "github" ? Deno.env.get("GITHUB_STEP_SUMMARY") : undefined;
  if (values.format === "github" && !summary) {
    throw new Error("--format github wants $GITHUB_STEP_SUMMARY, which GitHub's runners set");
  }
  return {
    help: false as const,
    base: positionals[0],
    head: positionals[1],
    threshold,
    summary,
    allowMissing: values["allow-missing"],
    json: values.json,
    out: values.out,
  };
}

/**
 * Compares every kind of result that both sides have. Throws an Error if there is none, or if HEAD lacks a
 * kind that BASE has.
 */
function compareResults(
  base: Results,
  head: Results,
  { threshold, allowMissing }: { readonly threshold: number | undefined; readonly allowMissing: boolean },
): Comparison[] {
  const cells = base.cells.length > 0 && head.cells.length > 0;
  const benches = base.benches.length > 0 && head.benches.length > 0;
  if (!cells && !benches) throw new Error("one of the two holds accuracy, the other speed");
  const lacking = base.cells.length > 0 && !cells
    ? "accuracy"
    : base.benches.length > 0 && !benches
    ? "speed"
    : "";
  if (lacking !== "" && !allowMissing) {
    throw new Error(`BASE holds ${lacking} and HEAD none: add it, or compare the rest with --allow-missing`);
  }
  if (cells && benches && threshold !== undefined) {
    throw new Error(
      "both hold accuracy and speed, and --threshold cannot mean both: compare one kind at a time",
    );
  }
  return [
    ...cells ? [compareCells(base.cells, head.cells, threshold)] : [],
    ...benches ? [compareBenches(base.benches, head.benches, threshold)] : [],
  ];
}

async function main(): Promise<void> {
  const options = readArguments();
  if (options.help) return console.log(help);
  const out = options.out === undefined ? undefined : await outputFile(options.out);
  const [base, head] = [await readResults(options.base), await readResults(options.head)];
  for (const path of [...base.leftOut, ...head.leftOut]) console.error(`left out, of another kind: ${path}`);
  const comparisons = compareResults(base, head, options);
  const page = comparePage(comparisons, options.base, options.head);
  console.log(options.json ? JSON.stringify(comparisons, null, 1) : page);
  if (out !== undefined) await writeWhole(out, page);
  if (options.summary) await Deno.writeTextFile(options.summary, page, { append: true });
  for (const { title, rows, missing } of comparisons) {
    console.error(
      `${title}: ${countsOf(rows)}${missing.length > 0 ? `, ${missing.length} missing in HEAD` : ""}`,
    );
    const failed = rows.some(({ verdict }) => verdict === "worse") ||
      missing.length > 0 && !options.allowMissing;
    if (failed) Deno.exitCode = 1;
  }
}

// Exit code 1 means that something is worse; any error that prevents the comparison gives 2.
await runCommand(() => asUsageAsync(main));
