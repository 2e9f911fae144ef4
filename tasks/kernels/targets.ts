/** The GPUs that kernels are compiled for. To add one, add it here. */

import { userCacheFolder } from "../../lib/user_cache.ts";
import type { KernelNumbers } from "../../lib/report/kernels_schema.ts";
import type { PackagedFolder } from "../../lib/models/packaged_models.ts";
import { fetchWheel } from "../fetch_wheel.ts";
import { amdNumbers } from "./amd.ts";
import { compileC } from "./c_program.ts";
import { cudaSource } from "./cuda_source.ts";
import { compilerOfC, drmHeaders, mesaDriver, MissingTarget, provide, vulkanHeaders } from "./debian.ts";
import { intelNumbers } from "./intel.ts";
import { driverFile, type Executable, executablesOf, versionOf } from "./mesa.ts";
import { type Multiprocessor, nvidiaNumbers } from "./nvidia.ts";
import { Nvrtc } from "./nvrtc.ts";

/** A compiler that is ready. */
export interface TargetCompiler extends Disposable {
  readonly version: string;
  /** The figures of the kernel in a file of SPIR-V. Throws an Error with the compiler's words. */
  compile(spirv: string): Promise<KernelNumbers>;
}

/** A GPU. */
export interface Target {
  readonly name: string;
  readonly gpu: string;
  /** What `waves` and `spilled` count. */
  readonly waveUnit: string;
  readonly spillUnit: string;
  /**
   * Gets the compiler ready, with files of its own in `folder`.
   * @throws MissingTarget that says what is missing and what to do.
   */
  prepare(folder: string): Promise<TargetCompiler>;
}

/** Compiles with one of Mesa's drivers. */
async function mesaCompiler(
  driver: string,
  folder: string,
  env: Readonly<Record<string, string>>,
  numbers: (executables: readonly Executable[]) => KernelNumbers,
): Promise<TargetCompiler> {
  await provide([compilerOfC, vulkanHeaders, mesaDriver(driver)]);
  const program = `${folder}/pipeline_statistics`;
  await compileC("pipeline_statistics", program, ["-lvulkan"]);
  const own = { program, env: { ...env, VK_DRIVER_FILES: (await driverFile(driver))! } };
  const version = await versionOf(own).catch((error) => {
    throw new MissingTarget(`this version of Mesa does not show it: ${error.message}`, { cause: error });
  });
  return {
    version,
    compile: async (spirv) => numbers(await executablesOf(own, spirv)),
    [Symbol.dispose]: () => {},
  };
}

/** A family of AMD's GPUs by Mesa's name; the driver counts waves of `lanes`. */
function amd(family: string, generation: string, lanes: number): Target {
  return {
    name: family,
    gpu: `AMD ${generation}`,
    waveUnit: `waves of ${lanes} a SIMD`,
    spillUnit: "registers",
    prepare: (folder) =>
      mesaCompiler("radeon", folder, { RADV_FORCE_FAMILY: family }, (own) => amdNumbers(own, lanes)),
  };
}

const xeLp: Target = {
  name: "xe-lp",
  gpu: "Intel Xe-LP (Tiger Lake GT2)",
  waveUnit: "threads an EU",
  spillUnit: "registers",
  async prepare(folder) {
    await provide([compilerOfC, drmHeaders]);
    const device = `${folder}/i915_null.so`;
    await compileC("i915_null", device, ["-shared", "-fPIC", "-I/usr/include/libdrm", "-ldl"]);
    return await mesaCompiler("intel", folder, { LD_PRELOAD: device }, intelNumbers);
  },
};

/** NVIDIA's compiler library. */
const nvrtc: PackagedFolder = {
  id: "NVIDIA's compiler NVRTC",
  package: "nvidia-cuda-nvrtc",
  version: "13.0.88",
  bytes: 90_215_200,
  sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
  folder: "nvidia/cu13/lib",
};

/** Where NVRTC is, fetched if it was not. Throws MissingTarget when it cannot be had. */
export async function nvrtcFolder(): Promise<string> {
  const cache = userCacheFolder();
  if (cache === undefined) {
    throw new MissingTarget(
      "there is no cache folder to keep NVRTC in: set HOME, or XDG_CACHE_HOME to a folder",
    );
  }
  const folder = `${cache}/nvrtc-${nvrtc.version}`;
  try {
    await fetchWheel(nvrtc, folder);
  } catch (error) {
    throw new MissingTarget((error as Error).message, { cause: error });
  }
  return folder;
}

/** An architecture of NVIDIA's by its compiler's name. */
function nvidia(architecture: string, generation: string, on: Multiprocessor): Target {
  return {
    name: architecture,
    gpu: `NVIDIA ${generation}`,
    waveUnit: "warps of 32 a multiprocessor",
    spillUnit: "bytes",
    async prepare() {
      const compiler = new Nvrtc(await nvrtcFolder());
      return {
        version: compiler.version(),
        async compile(spirv) {
          const { text, threads } = cudaSource(await Deno.readFile(spirv));
          return nvidiaNumbers(await compiler.compile(text, architecture), threads, on);
        },
        [Symbol.dispose]: () => compiler[Symbol.dispose](),
      };
    },
  };
}

const kib = 1024;

export const targets: readonly Target[] = [
  amd("navi21", "RDNA 2 (Radeon RX 6800 and 6900)", 32),
  amd("gfx1100", "RDNA 3 (Radeon RX 7900)", 32),
  amd("vega10", "GCN 5 (Radeon RX Vega)", 64),
  xeLp,
  nvidia("sm_86", "Ampere (RTX 30, A40)", {
    warps: 48,
    workgroups: 16,
    registers: 65536,
    workgroupBytes: 100 * kib,
  }),
  nvidia("sm_90", "Hopper (H100, H200)", {
    warps: 64,
    workgroups: 32,
    registers: 65536,
    workgroupBytes: 228 * kib,
  }),
];
