/** The loop of a kernel's machine code in which most multiply-adds are, and what else is in it. */

import type { HotLoop } from "../../lib/report/kernels_schema.ts";

/** What an instruction does: the kinds that a hot loop is told by. */
export type InstructionKind = "multiply-add" | "other vector" | "memory" | "other";

/** An instruction of any maker's machine code. */
export interface MachineInstruction {
  readonly kind: InstructionKind;
  /** For a jump inside the kernel: the index of the instruction that it leads to. */
  readonly target?: number;
}

/** The first and the last instruction of a loop. */
type Span = readonly [first: number, last: number];

/**
 * The mix of the loop with the most multiply-adds of its own; those of loops in it are theirs. A kernel without
 * loops is taken whole.
 */
export function hotLoopOf(code: readonly MachineInstruction[]): HotLoop {
  const loops = loopsOf(code);
  if (loops.length === 0) return mixOf(code);
  const mixes = loops.map(([first, last]) => {
    const inner = loops.filter(([from, to]) => first <= from && to <= last && to - from < last - first);
    const own = code.slice(first, last + 1).filter((_, i) =>
      !inner.some(([from, to]) => from <= first + i && first + i <= to)
    );
    return mixOf(own);
  });
  return mixes.reduce((best, mix) => rank(mix) > rank(best) ? mix : best);
}

/** Orders loops by multiply-adds, and those with as many by length. */
function rank({ multiplyAdds, instructions }: HotLoop): number {
  return multiplyAdds * 1e6 + instructions;
}

/** A jump back closes a loop; of several to one place (`continue`) the last does. */
function loopsOf(code: readonly MachineInstruction[]): Span[] {
  const ends = new Map<number, number>();
  code.forEach(({ target }, i) => {
    if (target !== undefined && target < i) ends.set(target, i);
  });
  return [...ends];
}

function mixOf(code: readonly MachineInstruction[]): HotLoop {
  const count = (kind: InstructionKind) => code.filter((own) => own.kind === kind).length;
  return {
    instructions: code.length,
    multiplyAdds: count("multiply-add"),
    otherVector: count("other vector"),
    memory: count("memory"),
  };
}

/** Lines of assembly, before jumps' labels are resolved. */
export interface AssemblyLine {
  /** The label that stands here, or an instruction with the label that it jumps to. */
  readonly label?: string;
  readonly kind?: InstructionKind;
  readonly jump?: string;
}

/** Instructions with the places that their jumps lead to. */
export function resolved(lines: readonly AssemblyLine[]): MachineInstruction[] {
  const places = new Map<string, number>();
  let count = 0;
  for (const { label, kind } of lines) {
    if (label !== undefined) places.set(label, count);
    if (kind !== undefined) count++;
  }
  return lines.flatMap(({ kind, jump }) =>
    kind === undefined ? [] : [{ kind, target: jump === undefined ? undefined : places.get(jump) }]
  );
}
