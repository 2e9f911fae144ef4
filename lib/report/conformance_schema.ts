/** The record of `deno task conformance`, as written to `conformance.json`. */

import * as v from "npm:valibot@1.5.0";
import { readJson } from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { environmentSchema } from "./schema.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());
const size = v.pipe(v.number(), v.finite(), v.minValue(0));

/** The error that was thrown, in place of a value. */
const failure = v.object({ failure: v.string() });

const caseSchema = v.intersect([
  v.object({ family: v.string(), name: v.string(), tolerance: size }),
  /** The worst error among the output and the gradients, relative to that tensor's largest entry. */
  v.union([v.object({ tensor: v.string(), error: size }), failure]),
]);

const trainingSchema = v.intersect([
  v.object({ name: v.string(), tolerance: size }),
  /** One loss per step, and the largest error relative to the largest loss. */
  v.union([v.object({ losses: v.array(finite), error: size }), failure]),
]);

const runSchema = v.object({
  /** The device's limits, by WebGPU's names. */
  limits: recordOf(count),
  /** Lanes of a subgroup that share loads in kernels; 0 if kernels do not use subgroups. */
  subgroupSize: count,
  seconds: size,
  cases: v.array(caseSchema),
  training: v.array(trainingSchema),
});

const driverSchema = v.intersect([
  v.object({
    name: v.string(),
    /** The WGSL compiler. */
    compiler: v.picklist(["naga", "Tint"]),
  }),
  v.union([
    v.object({ environment: environmentSchema, run: runSchema }),
    /** For a driver that is not installed: how to get it. */
    v.object({ missing: v.string() }),
    /** For a driver whose process failed: how it ended. */
    v.object({ broken: v.string() }),
  ]),
]);

export const conformanceSchema = v.object({
  schemaVersion: v.literal(1),
  /** Reference losses in float64, by the training run's name. */
  reference: recordOf(v.array(finite)),
  drivers: v.array(driverSchema),
});

/** One op on one shape. */
export type CaseResult = v.InferOutput<typeof caseSchema>;
/** One training run. */
export type TrainingResult = v.InferOutput<typeof trainingSchema>;
/** Everything that was run on one device. */
export type DriverRun = v.InferOutput<typeof runSchema>;
/** A driver and its result. */
export type DriverRecord = v.InferOutput<typeof driverSchema>;
/** One run of `deno task conformance`. */
export type ConformanceRecord = v.InferOutput<typeof conformanceSchema>;

/** Reads a conformance.json. Throws an Error that names the file and the field that is wrong. */
export async function readConformance(path: string): Promise<ConformanceRecord> {
  return await readJson(path, conformanceSchema);
}
