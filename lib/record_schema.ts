/** Schemas of objects with arbitrary keys. */

import * as v from "npm:valibot@1.5.0";

type Values<Schema extends v.GenericSchema> = Readonly<Record<string, v.InferOutput<Schema>>>;

/**
 * An object whose values all fit one schema. Unlike `v.record`, it keeps the keys `constructor`, `prototype`
 * and `__proto__`.
 */
export function recordOf<Schema extends v.GenericSchema>(
  value: Schema,
): v.GenericSchema<unknown, Values<Schema>> {
  return v.pipe(
    v.custom<Values<Schema>>(
      (input) => input !== null && typeof input === "object" && !Array.isArray(input),
      "Invalid type: Expected Object",
    ),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      for (const [key, own] of Object.entries(dataset.value)) {
        const issue = v.safeParse(value, own).issues?.[0];
        if (!issue) continue;
        const at = { type: "object", origin: "value", input: dataset.value, key, value: own } as const;
        addIssue({ message: issue.message, path: [at, ...issue.path ?? []] });
      }
    }),
  );
}
