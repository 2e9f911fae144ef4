/** Renders the conformance of drivers as a page: one row per op, one column per driver. */

import {
  type CaseResult,
  type ConformanceRecord,
  conformanceSchema,
  type DriverRecord,
  type DriverRun,
  type TrainingResult,
} from "./conformance_schema.ts";
import { commitText, table } from "./markdown.ts";
import { definePage } from "./page.ts";

/** A driver that was run. */
type Ran = Extract<DriverRecord, { run: DriverRun }>;

/**
 * Error divided by tolerance: at most 1 if the case passed, and 0 for an exact result, whatever the
 * tolerance.
 */
function shareOf(result: CaseResult | TrainingResult): number {
  if ("failure" in result) return Infinity;
  return result.error === 0 ? 0 : result.error / result.tolerance;
}

/** Every failure with its reason, one line each. */
export function failuresOf({ cases, training }: DriverRun): string[] {
  return [...cases, ...training].filter((result) => shareOf(result) > 1).map((result) => {
    if ("failure" in result) return `${result.name}: ${result.failure}`;
    const where = "tensor" in result ? result.tensor : "losses";
    return `${result.name}: ${where} off by ${result.error.toExponential(1)}, allowed ${result.tolerance}`;
  });
}

/**
 * The worst of several results as a share of the tolerance, or how many failed; "–" if an older record lacks
 * them.
 */
function cellOf(results: readonly (CaseResult | TrainingResult)[]): string {
  if (results.length === 0) return "–";
  const shares = results.map(shareOf);
  const failed = shares.filter((share) => share > 1).length;
  return failed > 0 ? `**${failed} failed**` : Math.max(...shares).toFixed(3);
}

/** A table with one column per driver. Drivers that were not run have no values. */
function matrix(
  { drivers }: ConformanceRecord,
  header: readonly string[],
  rows: readonly (readonly [readonly string[], (driver: Ran) => string])[],
): string {
  const body = rows.map(([head, cell]) => [
    ...head,
    ...drivers.map((driver) => "run" in driver ? cell(driver) : "–"),
  ]);
  return table([...header, ...drivers.map(({ name }) => name)], body);
}

function opTable(record: ConformanceRecord, ran: readonly Ran[]): string {
  const families = new Set(ran.flatMap(({ run }) => run.cases.map(({ family }) => family)));
  return matrix(
    record,
    ["op", "cases", "allowed"],
    [...families].map((family) => {
      const of = ({ run }: Ran) => run.cases.filter((own) => own.family === family);
      const all = ran.flatMap(of);
      const count = new Set(all.map(({ name }) => name)).size;
      return [[family, String(count), allowedIn(all)], (driver) => cellOf(of(driver))];
    }),
  );
}

/** The distinct tolerances of several results. */
function allowedIn(results: readonly (CaseResult | TrainingResult)[]): string {
  return [...new Set(results.map(({ tolerance }) => tolerance === 0 ? "0" : tolerance.toExponential()))].join(
    ", ",
  );
}

/** The driver's training run of that name; empty if its record is older than the run. */
const trainingOf = ({ run }: Ran, name: string) => run.training.filter((own) => own.name === name);

function trainingTable(record: ConformanceRecord, ran: readonly Ran[]): string {
  return matrix(
    record,
    ["run", "steps", "allowed"],
    Object.entries(record.reference).map(([name, losses]) => [
      [name, String(losses.length), allowedIn(ran.flatMap((driver) => trainingOf(driver, name)))],
      (driver) => cellOf(trainingOf(driver, name)),
    ]),
  );
}

function lossTable(record: ConformanceRecord, name: string): string {
  return matrix(
    record,
    ["step", "float64"],
    record.reference[name].map((loss, step) => [
      [String(step), loss.toFixed(7)],
      (driver) => {
        const [result] = trainingOf(driver, name);
        return result && "losses" in result ? result.losses[step].toFixed(7) : "–";
      },
    ]),
  );
}

function environmentTable(record: ConformanceRecord, ran: readonly Ran[]): string {
  const limits = Object.keys(ran[0].run.limits);
  return matrix(record, ["environment"], [
    [["adapter"], ({ environment }) => environment.adapter],
    [["runtime"], ({ environment }) => environment.runtime],
    [["machine"], ({ environment: { system, cpus } }) => `${system}, ${cpus} CPUs`],
    [["commit"], ({ environment }) => commitText(environment)],
    [["compiler of WGSL"], ({ compiler }) => compiler],
    [["lanes of a subgroup that kernels use"], ({ run }) => String(run.subgroupSize)],
    ...limits.map((limit) =>
      [[`\`${limit}\``], ({ run }: Ran) => run.limits[limit].toLocaleString("en-US")] as const
    ),
    [["seconds"], ({ run }) => run.seconds.toFixed(0)],
  ]);
}

/** Lists the drivers that were not run and the cases that failed; empty if everything passed. */
function shortcomings({ drivers }: ConformanceRecord): string {
  return drivers.map((driver) => {
    if ("missing" in driver) return `${driver.name} was not here. ${driver.missing}\n`;
    if ("broken" in driver) return `${driver.name} broke off:\n\n${indented(driver.broken)}\n`;
    const failures = failuresOf(driver.run);
    return failures.length === 0 ? "" : `Failed on ${driver.name}:\n\n${indented(failures.join("\n"))}\n`;
  }).filter((text) => text !== "").join("\n");
}

/** `text` as a code block, so that nothing in it is markdown. */
const indented = (text: string) => text.split("\n").map((line) => `    ${line}`).join("\n");

/** Renders the page of one run. */
export function renderConformance(record: ConformanceRecord): string {
  const ran = record.drivers.filter((driver) => "run" in driver);
  const troubles = shortcomings(record);
  const head = `# Conformance across drivers

\`deno task conformance\`: every op, forward and with the gradients of all its inputs, and short training runs, on each driver at
WebGPU's default limits, against float64 on the CPU. A number is the worst error of a row over what is allowed: 1 is the most.
`;
  if (ran.length === 0) return `${head}\n${troubles}`;
  const names = Object.keys(record.reference);
  return `${head}${troubles === "" ? "" : `\n${troubles}`}
## Ops

An error is the largest of an output or a gradient, relative to its largest entry.

${opTable(record, ran)}

## Training

A one-layer encoder, rank 4 on every linear layer, b = 4, dropout 0.1, batches of 4: a step's loss against that of the same step
computed in float64, forward, backward and AdamW, relative to the largest loss.

${trainingTable(record, ran)}

The losses of ${names.slice(0, 2).join(" and ")}; the others' are in the JSON.

${names.slice(0, 2).map((name) => `### ${name}\n\n${lossTable(record, name)}\n`).join("\n")}
## Drivers

The devices were opened without asking for any limit, so that these are the ones every WebGPU device has.

${environmentTable(record, ran)}
`;
}

export const conformancePage = definePage("conformance", conformanceSchema, (record) => ({
  ".md": renderConformance(record),
}));
