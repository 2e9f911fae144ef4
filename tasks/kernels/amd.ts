/** AMD's GPUs by Mesa's compiler ACO (driver RADV), which compiles for a family without its hardware. */

import type { KernelNumbers } from "../../lib/report/kernels_schema.ts";
import {
  type AssemblyLine,
  hotLoopOf,
  type InstructionKind,
  type MachineInstruction,
  resolved,
} from "./hot_loop.ts";
import { type Executable, statisticOf } from "./mesa.ts";

/** The figures of a kernel; `lanes` is the size of the waves that the driver counts in. */
export function amdNumbers([executable]: readonly Executable[], lanes: number): KernelNumbers {
  return {
    registers: statisticOf(executable, "VGPRs"),
    spilled: statisticOf(executable, "Spilled VGPRs"),
    waves: statisticOf(executable, "Subgroups per SIMD"),
    lanes,
    workgroupBytes: statisticOf(executable, "LDS size"),
    hotLoop: hotLoopOf(amdCode(executable.assembly)),
  };
}

/** Machine code from the disassembly, in which `BB3:` is a label and a line in `:: ` holds two instructions (RDNA 3). */
export function amdCode(assembly: string): MachineInstruction[] {
  return resolved(
    assembly.split("\n").flatMap((line): AssemblyLine[] => {
      const label = line.match(/^(BB\d+):/)?.[1];
      if (label !== undefined) return [{ label }];
      const [code] = line.split(";");
      return code.split("::").flatMap((text): AssemblyLine[] => {
        const name = text.match(/^\s+([a-z]\w*)/)?.[1];
        if (name === undefined) return [];
        const jump = /^s_c?branch/.test(name) ? text.match(/\bBB\d+/)?.[0] : undefined;
        return [{ kind: kindOf(name), jump }];
      });
    }),
  );
}

function kindOf(name: string): InstructionKind {
  if (/^(ds|buffer|global|flat|scratch)_/.test(name)) return "memory";
  if (!name.startsWith("v_")) return "other";
  // Multiply-adds of integers compute addresses; dot products of bytes are arithmetic.
  const multiplies = /^v_(dual_)?(pk_)?(fma|mad|mac|dot\d)/.test(name);
  return multiplies && (/^v_dot/.test(name) || !/_[iu](16|24|32|64)/.test(name))
    ? "multiply-add"
    : "other vector";
}
