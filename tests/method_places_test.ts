/**
 * Every place where a method must be listed: adding a method and forgetting a place fails with the name of
 * that place.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as library from "../mod.ts";
import type { Method } from "../lib/adapters/method.ts";
import learningRates from "../tasks/learning_rates.json" with { type: "json" };
import { ablationTable } from "../tasks/tables/ablation.ts";
import { methodsTable } from "../tasks/tables/methods.ts";
import type { Row } from "../tasks/tables/table.ts";
import pytorch from "./fixtures/pytorch_steps.json" with { type: "json" };

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const readmeMethods = readme.slice(readme.indexOf("### Methods"), readme.indexOf("### Your own encoder"));
const rows = [...methodsTable.rows, ...ablationTable.rows];
const rates: Readonly<Record<string, number>> = learningRates.models["USE-lite"].supersense.rates;

/** The places where `method` is missing, each with what to do there. */
function lacking(method: Method): string[] {
  const [exported] = Object.entries(library).find(([, value]) => value === method) ?? [];
  const own = rows.filter((row) => row.method === method.name);
  const untuned = own.filter(({ label, tunedAs = label }: Row) => rates[tunedAs] === undefined);
  const places: [has: boolean, todo: string][] = [
    [library.methods.includes(method), "lib/adapters/registry.ts: put it in `methods`"],
    [exported !== undefined, "mod.ts: export it"],
    [readmeMethods.includes(`\`${exported}\``), "README.md, Methods: name its export"],
    [
      method.name in pytorch.methods,
      "tests/fixtures/pytorch_steps.py: its formula in METHODS; then run the script",
    ],
    [own.length > 0, "tasks/tables/methods.ts: a row"],
    [untuned.length === 0, "tasks/learning_rates.json: a rate for its row, by reproduce --tune"],
  ];
  return places.flatMap(([has, todo]) => has ? [] : [todo]);
}

for (const method of library.methods) {
  Deno.test(`${method.name} is named in every place`, () => {
    const places = lacking(method);
    assert.equal(places.length, 0, `${method.name} is still to be named:\n${places.join("\n")}`);
  });
}

Deno.test("for a method that is listed nowhere, every place is named", () => {
  const places = lacking({ ...library.lora, name: "NewLoRA" }).map((todo) => todo.split(/[:,]/)[0]);
  assert.deepEqual(places, [
    "lib/adapters/registry.ts",
    "mod.ts",
    "README.md",
    "tests/fixtures/pytorch_steps.py",
    "tasks/tables/methods.ts",
  ]);
});

Deno.test('"To add one" of lib/README.md names every place', () => {
  const guide = readFileSync(new URL("../lib/README.md", import.meta.url), "utf8");
  const section = guide.slice(guide.indexOf("## To add one"));
  const places = ["lib/adapters/registry.ts", "mod.ts", "pytorch_steps.py", "tasks/tables/methods.ts"];
  for (const place of [...places, "tasks/learning_rates.json", "in the README's Methods"]) {
    assert.ok(section.includes(place), place);
  }
});
