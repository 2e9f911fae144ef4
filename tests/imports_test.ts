/** Which folders may import from which, and which npm packages come along. */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { importsOf, neededBy, reachedFrom, textOf } from "./support/modules.ts";

const root = new URL("..", import.meta.url);

/** Paths of the folder's modules, from the repository's root. */
function modulesOf(folder: string): string[] {
  const modules = readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"));
  assert.ok(modules.length > 10, folder);
  return modules.map((name) => `${folder}/${name}`);
}

/** Places in a folder's modules where a path leads into one of the folders `barred`. */
function pathsInto(folder: string, barred: readonly string[]): string[] {
  const path = new RegExp(`["'\`](?:\\.\\.?/)+(?:${barred.join("|")})/[^"'\`]*`, "g");
  return modulesOf(folder).flatMap((module) =>
    [...textOf(module).matchAll(path)].map(([found]) => `${module}: ${found.slice(1)}`)
  );
}

Deno.test("no command and no bench imports from tests/, and the library imports only itself", () => {
  assert.deepEqual([
    ...pathsInto("lib", ["tests", "tasks", "bench"]),
    ...pathsInto("tasks", ["tests"]),
    ...pathsInto("bench", ["tests"]),
  ], []);
});

/** The library's folders from the outside in: each imports itself and those after it. Files of lib/ itself come last. */
const layers = [
  "front",
  "report",
  "train",
  "generate",
  "analysis",
  "run",
  "adapters",
  "objectives",
  "models",
  "data",
  "graph",
  "gpu",
  "",
];
const layerOf = (module: string) => module.match(/^lib\/(?:([^/]+)\/)?/)![1] ?? "";

Deno.test(`inside the library, imports go one way: ${layers.filter(Boolean).join(" → ")}`, () => {
  const modules = modulesOf("lib");
  assert.deepEqual([...new Set(modules.map(layerOf))].toSorted(), layers.toSorted());
  const wrong = modules.flatMap((module) =>
    importsOf(module)
      .filter((imported) => layers.indexOf(layerOf(imported)) < layers.indexOf(layerOf(module)))
      .map((imported) => `${module} imports ${imported}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("the library has no import cycles, except of types", () => {
  const circular = modulesOf("lib").filter((module) => reachedFrom(neededBy(module), neededBy).has(module));
  assert.deepEqual(circular, []);
});

const tests = modulesOf("tests").filter((module) => module.endsWith("_test.ts"));

Deno.test("no test imports the libraries that the bench races", () => {
  const reached = [...reachedFrom(tests)];
  assert.ok(reached.includes("lib/gpu/device.ts") && reached.includes("bench/page.ts"));
  assert.deepEqual(reached.filter((module) => module.startsWith("bench/libraries/")), []);
});

Deno.test("deno.lock holds what the library, the commands and the tests import: Deno fetches all that is in it", () => {
  const modules = reachedFrom(["mod.ts", ...modulesOf("lib"), ...modulesOf("tasks"), ...tests]);
  const imported = [...modules].flatMap((module) =>
    [...textOf(module).matchAll(/(?:\bfrom|^import) *"npm:((?:@[^/"]+\/)?[^/"]+)/gm)].map(([, name]) =>
      `npm:${name}`
    )
  );
  const locked = Object.keys(JSON.parse(textOf("deno.lock")).specifiers);
  assert.deepEqual(locked.toSorted(), [...new Set(imported)].toSorted());
});
