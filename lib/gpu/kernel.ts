/**
 * A kernel is a `.wgsl` template, the defines it is rendered with, and what its rendered text declares: the
 * bindings (by variable name) and the fields of its `Params` uniform. Both are parsed from the WGSL, so a
 * call site names its buffers and parameters and nothing is declared twice.
 */

import { type Defines, type Parts, render } from "./render.ts";

/** A `.wgsl` file of `wgsl/`, with the name used for it in errors, profiles and dumps. */
export interface KernelSource {
  readonly name: string;
  readonly text: string;
  /** Texts that the template includes by name, and the name under which they make a kernel of their own. */
  readonly parts?: Parts;
  readonly variant?: string;
}

/** One `@binding` of group 0. */
export interface Binding {
  readonly index: number;
  readonly variable: string;
  readonly type: "uniform" | "read-only-storage" | "storage";
}

/** One field of the kernel's `Params` struct; fields are scalars, packed in order, 4 bytes each. */
export interface ParamField {
  readonly name: string;
  readonly type: "u32" | "f32";
}

/** A rendered kernel, ready to be compiled. */
export interface Kernel {
  /** Template name and defines, such as `matmul TILE_M=16 TILE_N=8`: stable, for logs and golden files. */
  readonly label: string;
  readonly code: string;
  readonly bindings: readonly Binding[];
  readonly params: readonly ParamField[];
}

/** Workgroups in x, y and z. */
export type Grid = readonly [number, number, number];

/** The properties of a device that kernels are chosen by. */
export interface DeviceTraits {
  /** Lanes per subgroup, if the device has subgroups and all are of the same size; else 0. */
  readonly subgroupSize: number;
  /** Whether the device reports that it runs on the CPU. */
  readonly software?: boolean;
  /** Whether kernels may use `enable f16`. */
  readonly f16?: boolean;
  /** Whether the tiles of dense products on GPUs hold their operands as f16; see `OpenGpuOptions.operands`. */
  readonly halfOperands?: boolean;
  /** Names of the chosen kernels by bucket; a bucket without an entry uses the default. */
  readonly choices?: ReadonlyMap<string, string>;
}

/**
 * Lanes per subgroup if they should share their loads by broadcasts, else 0. A software driver has few lanes
 * and spends its time in loads, so sharing pays. The wide subgroups of a GPU have more lanes than a tile or
 * an adapter has columns.
 */
export function sharingLanes({ subgroupSize }: DeviceTraits): number {
  return subgroupSize >= 4 && subgroupSize <= 16 ? subgroupSize : 0;
}

/** A device with only what every device has. */
export const plainDevice: DeviceTraits = { subgroupSize: 0 };

/** WebGPU's floor for `maxComputeWorkgroupsPerDimension`, which every adapter has. */
export const maxGroups = 65535;

/** Kernels rendered so far, by template and label. Every step asks again for the same few hundred. */
const rendered = new Map<string, Map<string, Kernel>>();

/** Renders `source` with `defines` and parses the bindings and parameters from the text. */
export function renderKernel(source: KernelSource, defines: Defines = {}): Kernel {
  const suffix = Object.entries(defines).map(([name, value]) => ` ${name}=${value}`).join("");
  const label = (source.variant ? `${source.name} of ${source.variant}` : source.name) + suffix;
  const known = rendered.get(source.text) ?? new Map<string, Kernel>();
  rendered.set(source.text, known);
  const kernel = known.get(label) ?? renderAs(label, source, defines);
  known.set(label, kernel);
  return kernel;
}

function renderAs(label: string, source: KernelSource, defines: Defines): Kernel {
  try {
    const code = render(source.text, defines, source.parts);
    return { label, code, bindings: parseBindings(code), params: parseParams(code) };
  } catch (error) {
    throw new Error(`wgsl/${source.name}.wgsl: ${(error as Error).message}`, { cause: error });
  }
}

/** The grid of a 1-D problem of `items` invocations, folded into x and y when it is long. */
export function linearGrid(items: number, workgroup: number): Grid {
  const groups = Math.ceil(items / workgroup);
  if (groups <= maxGroups) return [groups, 1, 1];
  const rows = Math.ceil(groups / maxGroups);
  return [Math.ceil(groups / rows), rows, 1];
}

function parseBindings(code: string): Binding[] {
  const pattern =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read_write|read))?>\s*(\w+)/g;
  return [...code.matchAll(pattern)].map(([, index, space, access, variable]) => ({
    index: Number(index),
    variable,
    type: space === "uniform" ? "uniform" : access === "read_write" ? "storage" : "read-only-storage",
  }));
}

function parseParams(code: string): ParamField[] {
  const body = code.match(/struct Params \{([^}]*)\}/)?.[1] ?? "";
  return [...body.matchAll(/(\w+)\s*:\s*(u32|f32)\s*,/g)].map(([, name, type]) => ({
    name,
    type: type as "u32" | "f32",
  }));
}

/** What a kernel needs of a device, under the names of WebGPU's limits. */
export interface KernelNeeds {
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
}

/** The needs of `kernel`, parsed from its text; NaN if its workgroup memory has a type unknown here. */
export function needsOf({ code, bindings }: Kernel): KernelNeeds {
  const extents = code.match(/@workgroup_size\(([^)]*)\)/)?.[1].split(",").map(Number) ?? [NaN];
  const aliases = new Map(
    [...code.matchAll(/alias (\w+) = ([^;]+);/g)].map(([, name, type]) => [name, type]),
  );
  const shared = [...code.matchAll(/var<workgroup> \w+: ([^;]+);/g)];
  return {
    maxStorageBuffersPerShaderStage: bindings.filter(({ type }) => type !== "uniform").length,
    maxComputeInvocationsPerWorkgroup: extents.reduce((product, extent) => product * extent),
    maxComputeWorkgroupStorageSize: shared.reduce((sum, [, type]) => sum + bytesOfType(type, aliases), 0),
  };
}

const bytesOfElement: Readonly<Record<string, number>> = {
  f16: 2,
  f32: 4,
  u32: 4,
  vec2f: 8,
  vec4f: 16,
  vec4h: 8,
};

/** Bytes of a WGSL type: an element, an alias, or arrays of them; NaN for others. */
function bytesOfType(type: string, aliases: ReadonlyMap<string, string>): number {
  const named = aliases.get(type) ?? type;
  const array = named.match(/^array<(.+), (\d+)>$/);
  return array ? bytesOfType(array[1], aliases) * Number(array[2]) : bytesOfElement[named] ?? NaN;
}

/** `values` as the bytes of the kernel's `Params`, padded to 16. Throws if a field is missing or unknown. */
export function packParams(kernel: Kernel, values: Readonly<Record<string, number>>): Uint8Array {
  const known = new Set(kernel.params.map((field) => field.name));
  const unknown = Object.keys(values).filter((name) => !known.has(name));
  const missing = kernel.params.filter((field) => !(field.name in values)).map((field) => field.name);
  if (unknown.length + missing.length > 0) {
    throw new Error(`${kernel.label}: params missing [${missing}], unknown [${unknown}]`);
  }
  const bytes = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(kernel.params.length / 4) * 16)));
  kernel.params.forEach((field, i) => {
    if (field.type === "u32") bytes.setUint32(i * 4, values[field.name], true);
    else bytes.setFloat32(i * 4, values[field.name], true);
  });
  return new Uint8Array(bytes.buffer);
}
