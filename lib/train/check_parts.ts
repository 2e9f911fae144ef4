/** Checks what a run is made of before anything is read or allocated. The errors say what to give. */

import { show } from "../show.ts";

/** How a part is known, and where it comes from. */
interface Part {
  readonly has: readonly string[];
  readonly from: string;
}

const parts = {
  gpu: { has: ["device", "createBuffer"], from: "openGpu" },
  model: { has: ["linears", "weights", "pairing"], from: "loadEncoder, loadUseLite or loadDecoder" },
  adapter: { has: ["method", "modules"], from: "attach" },
  task: { has: ["objective", "labels", "load"], from: "taskByName or loadOwnTask" },
  objective: { has: ["parameters", "trace"], from: "objectiveOf" },
  examples: { has: ["length", "entries"], from: "encodeExamples" },
} as const satisfies Record<string, Part>;

/** What a run is made of. */
export type PartName = keyof typeof parts;

/** Throws an Error that names the first of `names` that `given` lacks, or that is something else. */
export function checkParts(
  who: string,
  given: Readonly<Record<string, unknown>>,
  names: readonly PartName[],
): void {
  for (const name of names) {
    const value = given[name];
    const { has, from } = parts[name];
    if (value instanceof Promise) throw new Error(`${who}: ${name} is a promise; await it`);
    const isOne = typeof value === "object" && value !== null && has.every((key) => key in value);
    if (isOne) continue;
    const what = typeof value === "object" && value !== null ? "something else" : show(value);
    throw new Error(
      `${who} takes { ${names.join(", ")}, … }, and its ${name} is ${what}: give what ${from} returns`,
    );
  }
}
