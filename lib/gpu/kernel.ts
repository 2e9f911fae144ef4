/**
 * A kernel is a `.wgsl` template, the defines it is rendered with, and what its rendered text declares: the
 * bindings (by variable name) and the fields of its `Params` uniform. Both are read off the WGSL itself, so a
 * call site names its buffers and parameters and nothing is declared twice.
 */

import { type Defines, render } from "./render.ts";

/** A `.wgsl` file of `wgsl/` with the name it goes by in errors, profiles and dumps. */
export interface KernelSource {
  readonly name: string;
  readonly text: string;
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

/** What a choice between kernels may depend on. */
export interface DeviceTraits {
  /** Lanes of every subgroup, where the device has subgroups and they are all of one size; else 0. */
  readonly subgroupSize: number;
  /** Whether it runs on the CPU, and says so. */
  readonly software?: boolean;
  /** Whether kernels may say `enable f16`. */
  readonly f16?: boolean;
  /** Names of the kernels to use, by the bucket they were chosen for; the default where there is none. */
  readonly choices?: ReadonlyMap<string, string>;
}

/**
 * Lanes of a subgroup that had better share what they load, by broadcasts, or 0. A software driver has few lanes and spends its time
 * in loads; a GPU's wide subgroups have more lanes than a tile or an adapter has columns.
 */
export function sharingLanes({ subgroupSize }: DeviceTraits): number {
  return subgroupSize >= 4 && subgroupSize <= 16 ? subgroupSize : 0;
}

/** A device of which nothing is known but what all of them have. */
export const plainDevice: DeviceTraits = { subgroupSize: 0 };

/** WebGPU's floor for `maxComputeWorkgroupsPerDimension`, which every adapter has. */
export const maxGroups = 65535;

/** Kernels rendered so far, by template and label: a step asks for the same few a hundred times. */
const rendered = new Map<string, Map<string, Kernel>>();

/** `source` rendered with `defines`, with the bindings and parameters read off the text. */
export function renderKernel(source: KernelSource, defines: Defines = {}): Kernel {
  const suffix = Object.entries(defines).map(([name, value]) => ` ${name}=${value}`).join("");
  const label = source.name + suffix;
  const known = rendered.get(source.text) ?? new Map<string, Kernel>();
  rendered.set(source.text, known);
  const kernel = known.get(label) ?? renderAs(label, source, defines);
  known.set(label, kernel);
  return kernel;
}

function renderAs(label: string, source: KernelSource, defines: Defines): Kernel {
  try {
    const code = render(source.text, defines);
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

/** What a kernel asks of a device, by the names of the limits it must keep to. */
export interface KernelNeeds {
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
}

/** The needs of `kernel`, read off its text; NaN where its workgroup memory is of a type that is not known here. */
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

const bytesOfElement: Readonly<Record<string, number>> = { f32: 4, u32: 4, vec2f: 8, vec4f: 16 };

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
