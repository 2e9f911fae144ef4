/** Intel's GPUs by Mesa's compiler (driver anv), on the device of `i915_null.c`. */

import type { KernelNumbers } from "../../lib/report/kernels_schema.ts";
import {
  type AssemblyLine,
  hotLoopOf,
  type InstructionKind,
  type MachineInstruction,
  resolved,
} from "./hot_loop.ts";
import { type Executable, statisticOf } from "./mesa.ts";

/** Threads that an EU of Xe-LP holds, whatever the kernel: each has all of its 128 registers. */
const threadsOfEu = 7;

/** The figures of a kernel. The driver does not tell how many registers it uses. */
export function intelNumbers(executables: readonly Executable[]): KernelNumbers {
  // Of several SIMD widths the widest runs where a workgroup's size allows, and it comes last.
  const executable = executables.at(-1)!;
  return {
    spilled: statisticOf(executable, "Spill Count"),
    waves: threadsOfEu,
    lanes: executable.subgroupSize,
    workgroupBytes: statisticOf(executable, "Workgroup Memory Size"),
    hotLoop: hotLoopOf(intelCode(executable.assembly)),
  };
}

/** Machine code from the disassembly, in which `LABEL3:` is a label and a message's description has a line of its own. */
export function intelCode(assembly: string): MachineInstruction[] {
  return resolved(
    assembly.split("\n").flatMap((line): AssemblyLine[] => {
      const label = line.match(/^(LABEL\d+):/)?.[1];
      if (label !== undefined) return [{ label }];
      // A predicate, the name with its modifiers, for some a function, and the width: `(+f0.0) math intdiv(8)`.
      const [, name, operands] =
        line.match(/^(?:\([^)]*\)\s*)?([a-z]\w*)[\w.]*(?:\s+[a-z]\w*)?\(\d+\)(.*)/) ?? [];
      if (name === undefined) return [];
      const jump = name === "while" ? operands.match(/JIP:\s*(LABEL\d+)/)?.[1] : undefined;
      return [{ kind: kindOf(name, operands), jump }];
    }),
  );
}

const control = new Set(
  [
    "sync",
    "nop",
    "do",
    "while",
    "if",
    "else",
    "endif",
    "break",
    "cont",
    "halt",
    "jmpi",
    "brd",
    "brc",
    "goto",
    "join",
  ],
);

function kindOf(name: string, operands: string): InstructionKind {
  if (name.startsWith("send")) return "memory";
  if (control.has(name)) return "other";
  if (name === "dp4a" || name === "mac") return "multiply-add";
  return name === "mad" && /^\s*\S+>F\b/.test(operands) ? "multiply-add" : "other vector";
}
