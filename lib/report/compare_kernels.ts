/**
 * Compares what compilers made of kernels before and after a change, launch by launch: a launch is the same in
 * both where its program, op and module are, whichever kernel it runs. A compiler gives the same numbers for
 * the same kernel every time, so there is no chance in a difference.
 */

import { type ComparedRow, type Comparison, lackedBy } from "./compare.ts";
import type { Verdict } from "./judge.ts";
import {
  type KernelNumbers,
  type KernelResult,
  type KernelsRecord,
  type LaunchedKernel,
  multiplyAddShare,
  shortName,
} from "./kernels_schema.ts";

/** A fall of the multiply-adds' share that counts, and the multiply-adds that a loop has at least to be judged by it. */
const [clearFall, judgedMultiplyAdds] = [0.05, 32];

/** A launch on one GPU: its kernel and what the compiler made of it. */
interface Compiled {
  readonly kernel: LaunchedKernel;
  readonly result: KernelResult;
}

/** What changed from one kernel to another, and whether that is bad. */
interface Change {
  readonly verdict: Verdict;
  readonly difference: string;
}

/**
 * Compares all launches that both sides have.
 * @throws Error when they have no target in common.
 */
export function compareKernels(base: KernelsRecord, head: KernelsRecord): Comparison {
  const [before, after] = [base, head].map(compiledTargets);
  const shared = [...before.keys()].filter((name) => after.has(name));
  if (shared.length === 0) throw new Error("the two records of kernels have no GPU in common");
  const rows = shared.flatMap((name) => rowsOf(name, before.get(name)!, after.get(name)!));
  return {
    title: "Kernels on GPUs that are not there",
    exact: true,
    method:
      `Spilled, waves × lanes in flight, and the share of multiply-adds in the hot loop, of launches whose numbers changed. ` +
      `*worse*: spills more, holds fewer invocations in flight, or its share falls by more than ${
        100 * clearFall
      } points where the loop has ${judgedMultiplyAdds} multiply-adds or more.`,
    environments: { base: [base.environment], head: [head.environment] },
    rows: rows.filter(({ verdict }) => verdict !== "same"),
    missing: [
      ...lackedBy(after.keys(), before.keys()),
      ...lackedBy(head.programs, base.programs),
    ],
    notes: notesOf(base, head),
  };
}

/** Launches by program and role, for every target that was compiled for. */
function compiledTargets(record: KernelsRecord): Map<string, Map<string, Compiled>> {
  const launches = launchesOf(record);
  return new Map(record.targets.flatMap((target) => {
    if ("missing" in target) return [];
    const results = new Map(target.kernels.map((result) => [result.digest, result]));
    const compiled = [...launches].map(([name, kernel]): [string, Compiled] => [
      name,
      { kernel, result: results.get(kernel.digest)! },
    ]);
    return [[target.name, new Map(compiled)] as const];
  }));
}

function launchesOf({ kernels }: KernelsRecord): Map<string, LaunchedKernel> {
  return new Map(
    kernels.flatMap((kernel) =>
      Object.entries(kernel.launches).flatMap(([program, roles]) =>
        Object.keys(roles).map((role): [string, LaunchedKernel] => [`${program}: ${role}`, kernel])
      )
    ),
  );
}

/** A row for every pair of kernels that launches changed between. */
function rowsOf(
  target: string,
  before: ReadonlyMap<string, Compiled>,
  after: ReadonlyMap<string, Compiled>,
): ComparedRow[] {
  const known = new Set([...before.values()].map(({ kernel }) => kernel.digest));
  const pairs = [...after].map(([launch, head]) => ({ base: before.get(launch), head }))
    // A new launch is no change of another one, unless by a kernel that the base has nowhere.
    .filter(({ base, head }) => base !== undefined || !known.has(head.kernel.digest));
  const groups = Map.groupBy(pairs, ({ base, head }) => `${base?.kernel.digest} ${head.kernel.digest}`);
  return [...groups.values()].map((own) => {
    const [{ base, head }] = own;
    return {
      name: `${target}: ${shortName(head.kernel)}${own.length > 1 ? `, ${own.length} launches` : ""}`,
      base: base === undefined ? "–" : textOf(base.result),
      head: textOf(head.result),
      ...changeOf(base?.result, head.result),
      p: undefined,
    };
  });
}

/** Judges a kernel against the one before; without one, against a kernel that spills nothing. */
function changeOf(base: KernelResult | undefined, head: KernelResult): Change {
  if ("refused" in head) {
    const same = base !== undefined && "refused" in base;
    return { verdict: same ? "same" : "worse", difference: `refused: ${head.refused.slice(0, 200)}` };
  }
  if (base === undefined) {
    return { verdict: head.spilled > 0 ? "worse" : "same", difference: `new, spills ${head.spilled}` };
  }
  if ("refused" in base) return { verdict: "better", difference: "no longer refused" };
  const [bad, good] = [differences(base, head), differences(head, base)];
  const verdict = bad.length > 0 ? "worse" : good.length > 0 ? "better" : "same";
  return { verdict, difference: signed(base, head, [...bad, ...good]) };
}

type Figure = "spilled" | "in flight" | "share";

/** The figures that are worse in `b` than in `a`. */
function differences(a: KernelNumbers, b: KernelNumbers): Figure[] {
  const [shareOfA, shareOfB] = [a, b].map(({ hotLoop }) => multiplyAddShare(hotLoop) ?? 0);
  const judged = a.hotLoop.multiplyAdds >= judgedMultiplyAdds;
  return [
    ...b.spilled > a.spilled ? ["spilled" as const] : [],
    ...inFlight(b) < inFlight(a) ? ["in flight" as const] : [],
    ...judged && shareOfA - shareOfB > clearFall ? ["share" as const] : [],
  ];
}

function signed(base: KernelNumbers, head: KernelNumbers, figures: readonly Figure[]): string {
  const change = (difference: number) => `${difference > 0 ? "+" : "−"}${Math.abs(difference)}`;
  const percent = ({ hotLoop }: KernelNumbers) => Math.round(100 * (multiplyAddShare(hotLoop) ?? 0));
  const texts: Readonly<Record<Figure, string>> = {
    "spilled": change(head.spilled - base.spilled),
    "in flight": change(inFlight(head) - inFlight(base)),
    "share": `${change(percent(head) - percent(base))} points`,
  };
  return figures.map((figure) => `${figure} ${texts[figure]}`).join(", ");
}

const inFlight = ({ waves, lanes }: KernelNumbers) => waves * lanes;

function textOf(result: KernelResult): string {
  if ("refused" in result) return "refused";
  const { spilled, waves, lanes, hotLoop } = result;
  const share = multiplyAddShare(hotLoop);
  return `${spilled}, ${waves} × ${lanes}, ${share === undefined ? "–" : `${Math.round(100 * share)} %`}`;
}

function notesOf(base: KernelsRecord, head: KernelsRecord): string[] {
  const [before, after] = [base, head].map((record) => launchesOf(record));
  const note = (side: string, launches: readonly string[]) =>
    launches.length === 0 ? [] : [`${launches.length} launches only in ${side}, such as ${launches[0]}.`];
  const same = [...after].filter(([launch, { digest }]) => before.get(launch)?.digest === digest).length;
  return [
    `${same} of ${after.size} launches run the same kernel.`,
    ...note("base", lackedBy(after.keys(), before.keys())),
    ...note("head", lackedBy(before.keys(), after.keys())),
  ];
}
