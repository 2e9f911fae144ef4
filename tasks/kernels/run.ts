/** Compiles the programs' kernels for GPUs that are not there, and makes the record of it. */

import { digestOf } from "../../lib/digest.ts";
import { type Kernel, needsOf } from "../../lib/gpu/kernel.ts";
import { describeMachine } from "../../lib/report/environment.ts";
import type {
  KernelResult,
  KernelsRecord,
  LaunchedKernel,
  TargetRecord,
} from "../../lib/report/kernels_schema.ts";
import { compileC } from "./c_program.ts";
import { compilerOfC, mesaDriver, MissingTarget, provide, vulkanHeaders } from "./debian.ts";
import { batchText, hardware, launchesOfPrograms, type ProgramLaunch } from "./programs.ts";
import { compileToSpirv } from "./spirv.ts";
import type { Target, TargetCompiler } from "./targets.ts";

/** A kernel, where it is launched, and its SPIR-V or why there is none. */
interface Source {
  readonly launched: LaunchedKernel;
  readonly spirv: string;
  readonly refused?: string;
}

/** Options of `compileKernels`. */
interface RunOptions {
  /** Records targets that cannot be had as missing, instead of failing. */
  readonly skipMissing: boolean;
  /** Told what was done, a line each. */
  readonly log: (line: string) => void;
}

/**
 * Compiles every kernel of every program for `targets`.
 * @throws MissingTarget when a target cannot be had, and Error when the kernels cannot be compiled to SPIR-V.
 */
export async function compileKernels(
  targets: readonly Target[],
  { skipMissing, log }: RunOptions,
): Promise<KernelsRecord> {
  const folder = await Deno.makeTempDir({ prefix: "kernels-" });
  try {
    const launches = await launchesOfPrograms(hardware);
    const sources = await sourcesOf(launches, folder);
    log(`${launches.length} launches of ${sources.length} kernels`);
    const records: TargetRecord[] = [];
    for (const target of targets) {
      records.push(
        await recordOf(target, sources, folder, log).catch((error) => {
          if (!(error instanceof MissingTarget)) throw error;
          const missing = `${target.name}, ${target.gpu}: ${error.message}`;
          if (!skipMissing) throw new MissingTarget(`${missing}; or go on without it: --skip-missing`);
          log(missing);
          return { name: target.name, gpu: target.gpu, missing: error.message };
        }),
      );
    }
    return {
      schemaVersion: 1,
      environment: { ...environmentOf(records), ...await describeMachine() },
      batch: batchText,
      programs: [...new Set(launches.map(({ program }) => program))],
      kernels: sources.map(({ launched }) => launched),
      targets: records,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function environmentOf(records: readonly TargetRecord[]) {
  const compilers = records.flatMap((record) => "compiler" in record ? [record.compiler] : []);
  return {
    adapter: "none: compiled for GPUs that are not there",
    driver: [...new Set(compilers)].join(", "),
    software: false,
  };
}

/** The programs' distinct kernels, in the order of their first launch. */
async function sourcesOf(launches: readonly ProgramLaunch[], folder: string): Promise<Source[]> {
  await provide([compilerOfC, vulkanHeaders, mesaDriver("lvp")]);
  const layer = `${folder}/spirv_layer.so`;
  await compileC("spirv_layer", layer, ["-shared", "-fPIC"]);
  const byCode = [...Map.groupBy(launches, ({ kernel }) => kernel.code).values()];
  const kernels = new Map<string, Kernel>(byCode.map(([{ kernel }], i) => [`${folder}/${i}.spv`, kernel]));
  const refused = await compileToSpirv(kernels, layer, folder);
  const paths = [...kernels.keys()];
  return await Promise.all(byCode.map(async (own, i) => ({
    launched: await launchedKernel(own),
    spirv: paths[i],
    refused: refused.get(paths[i]),
  })));
}

async function launchedKernel(launches: readonly ProgramLaunch[]): Promise<LaunchedKernel> {
  const [{ kernel }] = launches;
  const byProgram = Map.groupBy(launches, ({ program }) => program);
  return {
    digest: (await digestOf(kernel.code)).slice(0, 12),
    label: kernel.label,
    threads: needsOf(kernel).maxComputeInvocationsPerWorkgroup,
    launches: Object.fromEntries(
      [...byProgram].map(([program, own]) => [
        program,
        Object.fromEntries(own.map(({ role, workgroups }) => [role, workgroups])),
      ]),
    ),
  };
}

/** Throws MissingTarget when the compiler cannot be had, or refuses every kernel. */
async function recordOf(
  { name, gpu, waveUnit, spillUnit, prepare }: Target,
  sources: readonly Source[],
  folder: string,
  log: (line: string) => void,
): Promise<TargetRecord> {
  using compiler = await prepare(folder);
  const start = performance.now();
  const kernels = await inParallel(sources, (source) => resultOf(compiler, source));
  const refusals = kernels.flatMap((kernel) => "refused" in kernel ? [kernel.refused] : []);
  if (refusals.length === kernels.length) throw new MissingTarget(`it refuses every kernel: ${refusals[0]}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  log(
    `${name}, ${gpu}, by ${compiler.version}: ${seconds} s${
      refusals.length > 0 ? `, ${refusals.length} kernels refused` : ""
    }`,
  );
  return { name, gpu, compiler: compiler.version, waveUnit, spillUnit, kernels };
}

async function resultOf(
  compiler: TargetCompiler,
  { launched, spirv, refused }: Source,
): Promise<KernelResult> {
  const { digest } = launched;
  if (refused !== undefined) return { digest, refused };
  try {
    return { digest, ...await compiler.compile(spirv) };
  } catch (error) {
    return { digest, refused: (error as Error).message };
  }
}

/** `body` of every item, as many at a time as there are CPUs. */
async function inParallel<T, R>(items: readonly T[], body: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async () => {
    for (const [i, item] of queue) results[i] = await body(item);
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, worker));
  return results;
}
