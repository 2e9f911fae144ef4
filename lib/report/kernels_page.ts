/** Renders what compilers made of the kernels: a summary, the kernels, and a table per GPU, worst first. */

import {
  type CompiledTarget,
  type KernelNumbers,
  type KernelsRecord,
  kernelsSchema,
  type LaunchedKernel,
  multiplyAddShare,
  shortName,
} from "./kernels_schema.ts";
import { commitText, escapedRecord, table } from "./markdown.ts";
import { definePage } from "./page.ts";

/** A launch in fewer invocations leaves most of even a laptop's GPU idle. */
const fewInvocations = 10_000;

const integer = (value: number) => value.toLocaleString("en-US");

/** The kernels that a target's compiler took, with their figures. */
function takenBy(record: KernelsRecord, { kernels }: CompiledTarget) {
  return kernels.flatMap((result) => {
    if ("refused" in result) return [];
    const number = record.kernels.findIndex(({ digest }) => digest === result.digest);
    return [{ number, kernel: record.kernels[number], numbers: result }];
  });
}

function workgroupsOf({ launches }: LaunchedKernel, program?: string): number[] {
  return Object.entries(launches).filter(([name]) => program === undefined || name === program)
    .flatMap(([, roles]) => Object.values(roles));
}

const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);

/** Launches of every program, and how many of them run kernels that spill. */
function summary(record: KernelsRecord, compiled: readonly CompiledTarget[]): string {
  const rows = record.programs.map((program) => {
    const launched = record.kernels.filter((kernel) => program in kernel.launches);
    const few = launched.flatMap((kernel) =>
      workgroupsOf(kernel, program).filter((count) => count * kernel.threads < fewInvocations)
    );
    const launches = sum(launched.map((kernel) => workgroupsOf(kernel, program).length));
    const spilling = compiled.map((target) =>
      sum(
        takenBy(record, target).filter(({ numbers }) => numbers.spilled > 0)
          .map(({ kernel }) => workgroupsOf(kernel, program).length),
      )
    );
    return [program, launches, few.length, ...spilling].map(String);
  });
  const header = ["program", "launches", `under ${integer(fewInvocations)} invocations`];
  return table([...header, ...compiled.map(({ name }) => `spill on ${name}`)], rows);
}

function targetTable(record: KernelsRecord): string {
  const rows = record.targets.map((target) => {
    if ("missing" in target) return [target.name, target.gpu, "missing", "–", "–", "–"];
    const taken = takenBy(record, target);
    const spilling = taken.filter(({ numbers }) => numbers.spilled > 0);
    const [worst] = spilling.toSorted((a, b) => b.numbers.spilled - a.numbers.spilled);
    return [
      target.name,
      target.gpu,
      target.compiler,
      String(target.kernels.length - taken.length),
      `${spilling.length} of ${taken.length}`,
      worst ? `${integer(worst.numbers.spilled)} ${target.spillUnit}` : "0",
    ];
  });
  return table(["target", "GPU", "compiler", "kernels refused", "spill", "the most"], rows);
}

function missingList({ targets }: KernelsRecord): string {
  const lines = targets.flatMap((target) => "missing" in target ? [`- Missing: ${target.missing}\n`] : []);
  return lines.length === 0 ? "" : `\n${lines.join("")}`;
}

/** `96 × 32`, or from the fewest to the most workgroups of the kernel's launches. */
function gridText(kernel: LaunchedKernel): string {
  const counts = workgroupsOf(kernel);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return `${integer(least)}${least === most ? "" : ` … ${integer(most)}`} × ${kernel.threads}`;
}

function kernelTable({ kernels, programs }: KernelsRecord): string {
  const rows = kernels.map((kernel, number) => [
    `${number + 1}`,
    `\`${kernel.label}\``,
    kernel.digest,
    `${programs.filter((program) => program in kernel.launches).length}`,
    String(workgroupsOf(kernel).length),
    gridText(kernel),
  ]);
  return table(["no.", "kernel", "digest", "programs", "launches", "workgroups × threads"], rows);
}

const percent = (share: number | undefined) => share === undefined ? "–" : `${(100 * share).toFixed(0)} %`;

/** Spills first, the most first; then by invocations in flight, the fewest first. */
function worstFirst(a: KernelNumbers, b: KernelNumbers): number {
  return b.spilled - a.spilled || a.waves * a.lanes - b.waves * b.lanes ||
    (b.registers ?? 0) - (a.registers ?? 0);
}

function targetSection(record: KernelsRecord, target: CompiledTarget): string {
  const rows = takenBy(record, target).toSorted((a, b) => worstFirst(a.numbers, b.numbers))
    .map(({ number, kernel, numbers }) => {
      const { instructions, multiplyAdds, otherVector, memory } = numbers.hotLoop;
      return [
        `${number + 1} ${shortName(kernel)}`,
        String(numbers.registers ?? "–"),
        numbers.spilled === 0 ? "0" : `**${integer(numbers.spilled)}**`,
        `${numbers.waves} × ${numbers.lanes}`,
        integer(numbers.workgroupBytes),
        gridText(kernel),
        `${instructions}: ${multiplyAdds} + ${otherVector}, ${memory}`,
        percent(multiplyAddShare(numbers.hotLoop)),
      ];
    });
  const header = [
    "kernel",
    "registers",
    `spilled, ${target.spillUnit}`,
    "waves × lanes",
    "workgroup memory, B",
    "workgroups × threads",
    "hot loop",
    "share",
  ];
  const refused = target.kernels.flatMap((result) =>
    "refused" in result ? [`- ${result.digest}: ${result.refused}`] : []
  );
  return `## ${target.name}: ${target.gpu}

${target.compiler}. Waves: ${target.waveUnit}.${
    mostRegisters(takenBy(record, target).map(({ numbers }) => numbers))
  }

${table(header, rows)}
${refused.length === 0 ? "" : `\nRefused:\n\n${refused.join("\n")}\n`}`;
}

/** The compiler's own limit shows here, where kernels spill. */
function mostRegisters(all: readonly KernelNumbers[]): string {
  const registers = all.flatMap((numbers) => numbers.registers ?? []);
  return registers.length === 0 ? "" : ` No kernel has more than ${Math.max(...registers)} registers.`;
}

/** Renders the page of one run. */
export function renderKernels(own: KernelsRecord): string {
  const record = escapedRecord(own);
  const compiled = record.targets.filter((target) => "compiler" in target);
  return `# Kernels on GPUs that are not there

\`deno task kernels\`: the kernels of a training step, as the default policies choose them for a GPU, compiled by the makers' own
compilers. Nothing was run, so there are no times. ${
    record.decoders === undefined ? "Every program but a token's" : "A program named LoRA or BoRA"
  } is one layer (USE-lite's two) with adapters of
rank 8 on all its linear layers (BoRA: b = 16), forward, backward and AdamW, on ${record.batch}; ${
    record.decoders ?? "a token's has the\nlinear layers of one alone, on packed weights"
  }. A kernel that spills keeps values in memory that did not fit in registers;
few waves in flight, or few invocations in all, leave memory's latency in the open.

Compiled with ${record.environment.runtime} (naga) on ${record.environment.system}. Commit ${
    commitText(record.environment)
  }.

${targetTable(record)}
${missingList(record)}
${summary(record, compiled)}

A hot loop is the one with the most multiply-adds of its own: instructions: multiply-adds + other vector instructions, memory
accesses. Share: multiply-adds among the vector instructions; on NVIDIA, which has no scalar unit to take addresses, all that is
no memory access counts as vector. Intel's compiler does not tell registers; an EU holds 7 threads of any kernel, and the
lanes say how wide the compiler could make them. NVIDIA's figures are of CUDA C++ translated from the SPIR-V: its Vulkan driver has
another front end, so take them as near. Workgroups × threads is from the smallest to the largest launch.

${compiled.map((target) => targetSection(record, target)).join("\n")}
## The kernels

${kernelTable(record)}
`;
}

export const kernelsPage = definePage("kernels", kernelsSchema, (record) => ({
  ".md": renderKernels(record),
}));
