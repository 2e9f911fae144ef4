/** The record of `deno task bench`, as written to `bench.json`. */

import * as v from "npm:valibot@1.5.0";
import { fitting, readAnyJson } from "../files.ts";
import { environmentSchema } from "./schema.ts";

const milliseconds = v.pipe(v.array(v.pipe(v.number(), v.finite(), v.gtValue(0))), v.readonly());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** Laps are matched by their index, so each lap must have both a yardstick time and a measured time. */
function sameLaps({ yardstick, measured }: {
  readonly yardstick?: readonly number[];
  readonly measured: readonly { readonly milliseconds: readonly number[] }[];
}): boolean {
  return measured.every(({ milliseconds: { length } }) =>
    length === 0 || length === (yardstick ?? measured[0].milliseconds).length
  );
}

const rowSchema = v.pipe(
  v.object({
    group: v.string(),
    title: v.string(),
    name: v.string(),
    flops: count,
    bytes: count,
    /**
     * Runs per lap. Each lap ends with one wait for the GPU. Absent in records older than `deno task
     * compare`.
     */
    runs: v.optional(count),
    /**
     * Milliseconds of the yardstick, one entry per lap, each measured just before this library's. Absent when
     * `runs` is.
     */
    yardstick: v.optional(milliseconds),
    measured: v.pipe(
      v.array(v.object({
        library: v.string(),
        /** Milliseconds per run, one entry per lap, in the order of the laps. */
        milliseconds,
        /** Why there are no times. */
        cannot: v.optional(v.string()),
        /** Milliseconds of the only run, if it took too long to repeat. */
        once: v.optional(v.number()),
      })),
      v.readonly(),
    ),
  }),
  v.check((row) => sameLaps(row), "the libraries and the yardstick must have as many laps"),
);

export const benchSchema = v.object({
  schemaVersion: v.literal(1),
  environment: environmentSchema,
  /** Which peers took part, in a sentence or two. Absent when a row's `runs` is. */
  about: v.optional(v.string()),
  rows: v.pipe(v.array(rowSchema), v.readonly()),
});

/** One run of the bench. */
export type BenchRecord = v.InferOutput<typeof benchSchema>;

/** Reads a bench.json. Throws an Error that names the file, the row and the field that is wrong. */
export async function readBench(path: string): Promise<BenchRecord> {
  return fitting(path, benchSchema, await readAnyJson(path, "run deno task bench again"));
}
