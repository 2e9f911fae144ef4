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
import { decodersText } from "./decoder_programs.ts";
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
 * @throws MissingTarget when a target cannot be had, and Error when the kernels cannot be compiled to SPIR-V, or a
 * compiler refuses all of them.
 */
export async function compileKernels(
  targets: readonly Target[],
  { skipMissing, log }: RunOptions,
): Promise<KernelsRecord> {
  const machine = await describeMachine();
  const folder = await Deno.makeTempDir({ prefix: "kernels-" });
  using stack = new DisposableStack();
  stack.defer(() => Deno.removeSync(folder, { recursive: true }));
  const launches = await launchesOfPrograms(hardware);
  const sources = await sourcesOf(launches, folder);
  log(`${launches.length} launches of ${sources.length} kernels`);
  // All compilers before the first kernel, so that what is missing is said at once.
  const prepared: [Target, TargetCompiler | MissingTarget][] = [];
  for (const target of targets) {
    const compiler = await prepare(target, folder);
    if (!(compiler instanceof MissingTarget)) stack.use(compiler);
    else if (!skipMissing) {
      throw new MissingTarget(`${compiler.message}; or go on without it: --skip-missing`);
    }
    prepared.push([target, compiler]);
  }
  const records: TargetRecord[] = [];
  for (const [target, compiler] of prepared) records.push(await recordOf(target, compiler, sources, log));
  return {
    schemaVersion: 1,
    environment: { ...environmentOf(records), ...machine },
    batch: batchText,
    decoders: decodersText,
    programs: [...new Set(launches.map(({ program }) => program))],
    kernels: sources.map(({ launched }) => launched),
    targets: records,
  };
}

/** The target's compiler, or why it cannot be had. */
async function prepare(target: Target, folder: string): Promise<TargetCompiler | MissingTarget> {
  try {
    return await target.prepare(folder);
  } catch (error) {
    if (!(error instanceof MissingTarget)) throw error;
    return new MissingTarget(`${target.name}, ${target.gpu}: ${error.message}`);
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

/** Throws an Error when the compiler refuses every kernel. */
async function recordOf(
  { name, gpu, waveUnit, spillUnit }: Target,
  compiler: TargetCompiler | MissingTarget,
  sources: readonly Source[],
  log: (line: string) => void,
): Promise<TargetRecord> {
  if (compiler instanceof MissingTarget) {
    log(`missing: ${compiler.message}`);
    return { name, gpu, missing: compiler.message };
  }
  const start = performance.now();
  const kernels = await inParallel(sources, (source) => resultOf(compiler, source));
  const refusals = kernels.flatMap((kernel) => "refused" in kernel ? [kernel.refused] : []);
  if (refusals.length === kernels.length) {
    throw new Error(`${name}, ${gpu}: the compiler refuses every kernel: ${refusals[0]}`);
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  log(`${name}, ${gpu}, by ${compiler.version}: ${seconds} s, ${refusals.length} kernels refused`);
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
