/** The record of `deno task kernels`, as written to `kernels.json`. */

import * as v from "npm:valibot@1.5.0";
import { recordOf } from "../record_schema.ts";
import { environmentSchema } from "./schema.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const positive = v.pipe(v.number(), v.integer(), v.minValue(1));

/** Instructions of the loop that has the most multiply-adds; of the whole kernel if it has no loop. */
const hotLoopSchema = v.object({
  instructions: count,
  multiplyAdds: count,
  /** All else that takes a vector unit's time: addresses, conversions, comparisons. */
  otherVector: count,
  /** Reads and writes of buffers, workgroup memory and spilled registers. */
  memory: count,
});

/** A kernel on one GPU. */
const numbersSchema = v.object({
  /** Vector registers of a lane. Absent where the compiler does not tell. */
  registers: v.optional(count),
  /** What did not fit in registers, in the target's `spillUnit`. */
  spilled: count,
  /** Waves in flight, in the target's `waveUnit`, each of `lanes` invocations. */
  waves: count,
  lanes: positive,
  workgroupBytes: count,
  hotLoop: hotLoopSchema,
});

const resultSchema = v.intersect([
  /** The kernel's, of the list of kernels. */
  v.object({ digest: v.string() }),
  /** Its figures, or why the compiler refused it. */
  v.union([numbersSchema, v.object({ refused: v.string() })]),
]);

const targetSchema = v.intersect([
  v.object({ name: v.string(), gpu: v.string() }),
  v.union([
    v.object({
      compiler: v.string(),
      waveUnit: v.string(),
      spillUnit: v.string(),
      kernels: v.array(resultSchema),
    }),
    /** For a target that could not be had: why. */
    v.object({ missing: v.string() }),
  ]),
]);

const kernelSchema = v.object({
  /** Of its WGSL. */
  digest: v.string(),
  /** Its template and defines. */
  label: v.string(),
  /** Invocations of a workgroup. */
  threads: positive,
  /** Workgroups of every launch, by program and role (op, module, and which one if there are several). */
  launches: recordOf(recordOf(positive)),
});

export const kernelsSchema = v.object({
  schemaVersion: v.literal(1),
  /** `adapter` says that there was none, and `driver` names the compilers. */
  environment: environmentSchema,
  /** The size of every classifier's step. */
  batch: v.string(),
  /** What the decoders' programs are. Older records lack it: theirs have the linear layers of a token alone. */
  decoders: v.optional(v.string()),
  programs: v.array(v.string()),
  kernels: v.pipe(v.array(kernelSchema), v.minLength(1)),
  targets: v.pipe(v.array(targetSchema), v.minLength(1)),
});

/** The mix of a kernel's hot loop. */
export type HotLoop = v.InferOutput<typeof hotLoopSchema>;
/** A kernel's figures on one GPU. */
export type KernelNumbers = v.InferOutput<typeof numbersSchema>;
/** A kernel's figures, or why there are none. */
export type KernelResult = v.InferOutput<typeof resultSchema>;
/** A GPU and what its compiler made of the kernels, or why it is missing. */
export type TargetRecord = v.InferOutput<typeof targetSchema>;
/** A kernel and where it is launched. */
export type LaunchedKernel = v.InferOutput<typeof kernelSchema>;
/** One run of `deno task kernels`. */
export type KernelsRecord = v.InferOutput<typeof kernelsSchema>;

/** A target that was compiled for. */
export type CompiledTarget = Extract<TargetRecord, { readonly compiler: string }>;

/** The share of multiply-adds among the hot loop's vector instructions; undefined if it has none of either. */
export function multiplyAddShare({ multiplyAdds, otherVector }: HotLoop): number | undefined {
  const all = multiplyAdds + otherVector;
  return multiplyAdds === 0 ? undefined : multiplyAdds / all;
}

/** The kernel's name in a few words, such as `matmul: adaptedProduct attention.self.query`. */
export function shortName({ label, launches }: LaunchedKernel): string {
  const [role] = Object.values(launches).flatMap((roles) => Object.keys(roles));
  return `${label.split(" ")[0]}: ${role.replaceAll(/\S*\blayer\.\d+\./g, "")}`;
}
