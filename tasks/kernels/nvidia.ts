/**
 * NVIDIA's GPUs by its compiler of CUDA C++, from translated kernels. Its Vulkan driver has another front end:
 * near, not exact.
 */

import type { KernelNumbers } from "../../lib/report/kernels_schema.ts";
import { hotLoopOf, type InstructionKind, type MachineInstruction } from "./hot_loop.ts";
import { entryName } from "./cuda_source.ts";
import type { Compiled } from "./nvrtc.ts";

/** What a streaming multiprocessor holds, as NVIDIA's programming guide lists it by compute capability. */
export interface Multiprocessor {
  readonly warps: number;
  readonly workgroups: number;
  readonly registers: number;
  readonly workgroupBytes: number;
}

const warpLanes = 32;

/** Registers are given to a warp in units of 8 a lane, and to 4 warps at a time; a workgroup's memory has 1 KiB reserved. */
const [registerUnit, warpUnit, reservedBytes] = [8, 4, 1024];

/** The figures of a kernel with `threads` per workgroup. */
export function nvidiaNumbers({ log, cubin }: Compiled, threads: number, on: Multiprocessor): KernelNumbers {
  const { registers, spilled, workgroupBytes } = resourcesIn(log);
  return {
    registers,
    spilled,
    waves: warpsOf(registers, workgroupBytes, threads, on),
    lanes: warpLanes,
    workgroupBytes,
    hotLoop: hotLoopOf(nvidiaCode(cubin)),
  };
}

/** What ptxas says of the one kernel. Throws an Error when it says nothing of it. */
export function resourcesIn(
  log: string,
): Required<Pick<KernelNumbers, "registers" | "spilled" | "workgroupBytes">> {
  const number = (pattern: RegExp) => {
    const found = log.match(pattern);
    return found ? Number(found[1]) : undefined;
  };
  const [registers, spilled] = [number(/Used (\d+) registers/), number(/(\d+) bytes spill stores/)];
  if (registers === undefined || spilled === undefined) throw new Error(`ptxas tells no registers: ${log}`);
  return { registers, spilled, workgroupBytes: number(/(\d+) bytes smem/) ?? 0 };
}

/** Warps that a multiprocessor holds of workgroups with `threads`. */
export function warpsOf(
  registers: number,
  workgroupBytes: number,
  threads: number,
  on: Multiprocessor,
): number {
  const warps = Math.ceil(threads / warpLanes);
  const ofWarp = Math.ceil(registers / registerUnit) * registerUnit * warpLanes;
  const byRegisters = Math.floor(on.registers / ofWarp / warpUnit) * warpUnit;
  const workgroups = Math.min(
    on.workgroups,
    Math.floor(on.warps / warps),
    Math.floor(byRegisters / warps),
    Math.floor(on.workgroupBytes / (workgroupBytes + reservedBytes)),
  );
  return workgroups * warps;
}

const instructionBytes = 16;

/** Opcodes since Volta: the low 9 bits of an instruction. */
const opcodes: Readonly<Record<number, InstructionKind>> = {
  // FFMA and IDP. HFMA2 is left out: kernels here have no f16, and the compiler uses it to set constants.
  ...{ 0x023: "multiply-add", 0x026: "multiply-add" },
  ...{ 0x180: "memory", 0x181: "memory", 0x183: "memory", 0x184: "memory" }, // LD, LDG, LDL, LDS
  ...{ 0x185: "memory", 0x186: "memory", 0x187: "memory", 0x188: "memory" }, // ST, STG, STL, STS
};

/** BRA with an offset in its bits, in the low 12 bits of an instruction. */
const branch = 0x947;

/** The first architecture that has 8 bits of a branch's offset in the instruction's first word. */
const splitOffsets = 90;

/**
 * The kernel's machine code in an ELF file of NVRTC 13. There is no unit of scalars to take addresses: all else is
 * "other vector".
 */
export function nvidiaCode(cubin: Uint8Array): MachineInstruction[] {
  const view = new DataView(cubin.buffer, cubin.byteOffset, cubin.byteLength);
  const architecture = view.getUint32(48, true) >> 8 & 0xff;
  const code = sectionOf(view, `.text.${entryName}`);
  return Array.from({ length: code.byteLength / instructionBytes }, (_, i) => {
    const [low, high] = [0, 4].map((at) => code.getInt32(i * instructionBytes + at, true));
    const kind = opcodes[low & 0x1ff] ?? "other vector";
    if ((low & 0xfff) !== branch) return { kind };
    // In words of 4 bytes from the next instruction on.
    const offset = architecture < splitOffsets ? high >> 2 : (high >> 2) * 0x100 + (low >> 16 & 0xff);
    return { kind, target: i + 1 + 4 * offset / instructionBytes };
  });
}

/** A section of a 64-bit ELF file. Throws an Error when there is none of this name. */
function sectionOf(elf: DataView, wanted: string): DataView {
  const headers = Number(elf.getBigUint64(40, true));
  const [size, count, names] = [58, 60, 62].map((at) => elf.getUint16(at, true));
  const header = (i: number) => ({
    name: elf.getUint32(headers + i * size, true),
    offset: Number(elf.getBigUint64(headers + i * size + 24, true)),
    bytes: Number(elf.getBigUint64(headers + i * size + 32, true)),
  });
  const text = header(names);
  const wantedBytes = new TextEncoder().encode(`${wanted}\0`);
  for (let i = 0; i < count; i++) {
    const { name, offset, bytes } = header(i);
    const from = text.offset + name;
    if (!wantedBytes.every((byte, at) => elf.getUint8(from + at) === byte)) continue;
    return new DataView(elf.buffer, elf.byteOffset + offset, bytes);
  }
  throw new Error(`the compiled kernel has no section ${wanted}`);
}
