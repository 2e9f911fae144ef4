/**
 * `deno task compare BASE HEAD`: did this commit, driver or GPU change accuracy or speed, or what kernels need on
 * GPUs that are not there? Exits 1 when something is worse.
 */

import { parseArgs } from "node:util";
import { writeWhole } from "../lib/files.ts";
import type { Comparison } from "../lib/report/compare.ts";
import { compareBenches, defaultPercent, leastRuns } from "../lib/report/compare_bench.ts";
import { compareCells, defaultPoints } from "../lib/report/compare_cells.ts";
import { compareKernels } from "../lib/report/compare_kernels.ts";
import { comparePage, countsOf } from "../lib/report/compare_page.ts";
import type { KernelsRecord } from "../lib/report/kernels_schema.ts";
import { readResults, type Results } from "../lib/report/results.ts";
import { outputFile } from "./output.ts";
import { asUsageAsync, numberIn, runCommand } from "./usage.ts";

const help = `deno task compare BASE HEAD [options]

Compares two sets of results, for example from before and after a change. BASE and HEAD are result files or folders of them:
cells of deno task reproduce, bench.json of deno task bench, or kernels.json of deno task kernels. Exits with 1 if a row is worse
or missing in HEAD, with 2 if there is nothing to compare, otherwise with 0.

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
  const threshold = values.threshold === undefined ? undefined : numberIn("threshold", values.threshold);
  if (threshold !== undefined && threshold < 0) {
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

/** A kind of result. */
interface Kind {
  readonly name: string;
  isIn(results: Results): boolean;
  /** True if --threshold means something for it. */
  readonly hasThreshold: boolean;
  compare(base: Results, head: Results, threshold: number | undefined): Comparison;
}

const kinds: readonly Kind[] = [
  {
    name: "accuracy",
    isIn: ({ cells }) => cells.length > 0,
    hasThreshold: true,
    compare: (base, head, threshold) => compareCells(base.cells, head.cells, threshold),
  },
  {
    name: "speed",
    isIn: ({ benches }) => benches.length > 0,
    hasThreshold: true,
    compare: (base, head, threshold) => compareBenches(base.benches, head.benches, threshold),
  },
  {
    name: "kernels",
    isIn: ({ kernels }) => kernels.length > 0,
    hasThreshold: false,
    compare: (base, head) => compareKernels(onlyKernels(base), onlyKernels(head)),
  },
];

function onlyKernels({ kernels }: Results): KernelsRecord {
  if (kernels.length === 1) return kernels[0];
  throw new Error(`${kernels.length} records of kernels on one side: name one kernels.json a side`);
}

/**
 * Compares every kind of result that both sides have. Throws an Error if there is none, if HEAD lacks a kind
 * that BASE has, or if the threshold does not mean exactly one of them.
 */
function compareResults(
  base: Results,
  head: Results,
  { threshold, allowMissing }: { readonly threshold: number | undefined; readonly allowMissing: boolean },
): Comparison[] {
  const held = (results: Results) => kinds.filter((kind) => kind.isIn(results));
  const both = held(base).filter((kind) => kind.isIn(head));
  const names = (some: readonly Kind[]) => some.map(({ name }) => name).join(" and ");
  if (both.length === 0) {
    throw new Error(`one of the two holds ${names(held(base))}, the other ${names(held(head))}`);
  }
  const lacking = held(base).filter((kind) => !kind.isIn(head));
  if (lacking.length > 0 && !allowMissing) {
    throw new Error(
      `BASE holds ${names(lacking)} and HEAD none: add it, or compare the rest with --allow-missing`,
    );
  }
  const judged = both.filter(({ hasThreshold }) => hasThreshold);
  if (threshold !== undefined && judged.length !== 1) {
    throw new Error(
      judged.length === 0
        ? "--threshold is for accuracy and speed: kernels have no noise to judge by"
        : "both hold accuracy and speed, and --threshold cannot mean both: compare one kind at a time",
    );
  }
  return both.map((kind) => kind.compare(base, head, threshold));
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
      `${title}: ${countsOf(rows) || "nothing changed"}${
        missing.length > 0 ? `, ${missing.length} missing in HEAD` : ""
      }`,
    );
    const failed = rows.some(({ verdict }) => verdict === "worse") ||
      missing.length > 0 && !options.allowMissing;
    if (failed) Deno.exitCode = 1;
  }
}

// Exit code 1 means that something is worse; any error that prevents the comparison gives 2.
await runCommand(() => asUsageAsync(main));
