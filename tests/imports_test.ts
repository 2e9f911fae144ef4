/** Which folder may build upon which: the library on itself alone, the commands and the bench on no test. */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";

const root = new URL("..", import.meta.url);

/** Places in a folder's modules where a path leads into one of the folders `barred`. */
function pathsInto(folder: string, barred: readonly string[]): string[] {
  const path = new RegExp(`["'\`](?:\\.\\.?/)+(?:${barred.join("|")})/[^"'\`]*`, "g");
  const modules = readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"));
  assert.ok(modules.length > 10, folder);
  return modules.flatMap((name) => {
    const text = Deno.readTextFileSync(new URL(`${folder}/${name}`, root));
    return [...text.matchAll(path)].map(([found]) => `${folder}/${name}: ${found.slice(1)}`);
  });
}

Deno.test("no command and no bench is made of what is in tests/, and the library of nothing but itself", () => {
  assert.deepEqual([
    ...pathsInto("lib", ["tests", "tasks", "bench"]),
    ...pathsInto("tasks", ["tests"]),
    ...pathsInto("bench", ["tests"]),
  ], []);
});
