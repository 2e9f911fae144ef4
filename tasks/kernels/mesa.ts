/** Mesa's Vulkan drivers, which compile kernels for GPUs that are not there. */

import * as v from "npm:valibot@1.5.0";
import { isFolder } from "../../lib/files.ts";
import { recordOf } from "../../lib/record_schema.ts";

const folder = "/usr/share/vulkan/icd.d";

/**
 * The Vulkan loader's description of one of Mesa's drivers, such as `radeon`, whose name differs between releases;
 * undefined if the driver is not installed.
 */
export async function driverFile(driver: string): Promise<string | undefined> {
  if (!await isFolder(folder)) return undefined;
  for await (const { name } of Deno.readDir(folder)) {
    if (new RegExp(`^${driver}_icd(\\.x86_64)?\\.json$`).test(name)) return `${folder}/${name}`;
  }
}

const executableSchema = v.object({
  subgroupSize: v.number(),
  /** By the driver's own names. */
  statistics: recordOf(v.number()),
  assembly: v.string(),
});

/** What `pipeline_statistics.c` prints of one version of a kernel. */
export type Executable = v.InferOutput<typeof executableSchema>;

/** The compiled `pipeline_statistics.c`, and the environment that makes the loader choose a driver. */
export interface MesaDriver {
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The driver's version, such as `Mesa 22.3.6`. Throws an Error with the driver's words when it shows no device. */
export async function versionOf(driver: MesaDriver): Promise<string> {
  return await outputOf(driver, []);
}

/** Compiles the kernel in a file of SPIR-V. Throws an Error with the program's or the driver's words. */
export async function executablesOf(driver: MesaDriver, spirv: string): Promise<Executable[]> {
  return v.parse(
    v.pipe(v.array(executableSchema), v.minLength(1)),
    JSON.parse(await outputOf(driver, [spirv])),
  );
}

async function outputOf({ program, env }: MesaDriver, args: string[]): Promise<string> {
  const { success, stdout, stderr, signal } = await new Deno.Command(program, {
    args,
    env: { MESA_SHADER_CACHE_DISABLE: "true", ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (success) return text(stdout);
  throw new Error(text(stderr) || `the compiler ended by ${signal ?? "an error without words"}`);
}

/** A statistic by the driver's name. Throws an Error when it has none of this name. */
export function statisticOf({ statistics }: Executable, name: string): number {
  if (name in statistics) return statistics[name];
  throw new Error(`the driver tells no "${name}": this version of Mesa is not known here`);
}
