/**
 * Vectors that invocations share are written whole. A write to one component may write the others (WGSL, "Component Reference
 * from Vector Memory View"), and on Metal and Direct3D it does: of two invocations that write to one vector, one is lost.
 */

import assert from "node:assert/strict";
import { hardware, launchesOfPrograms } from "../tasks/kernels/programs.ts";
import { goldenPrograms, launchesOf } from "./support/golden_programs.ts";

/** The stores of `code` to a component of a vector in workgroup memory or in a buffer. */
function componentStores(withComments: string): string[] {
  const code = withComments.replaceAll(/\/\/.*/g, "");
  const aliases = new Map(
    [...code.matchAll(/alias (\w+) = ([^;]+);/g)].map(([, name, type]) => [name, type]),
  );
  const shared = [...code.matchAll(/var<(?:workgroup|storage, read_write)> (\w+): ([^;]+);/g)];
  return shared.flatMap(([, name, type]) => {
    const { arrays, element } = typeOf(type, aliases);
    if (!element.startsWith("vec")) return [];
    return storesTo(name, code).filter(({ steps }) => steps > arrays).map(({ text }) => text);
  });
}

/** In how many arrays the type's elements are, and their type. */
function typeOf(type: string, aliases: ReadonlyMap<string, string>): { arrays: number; element: string } {
  const named = aliases.get(type) ?? type;
  const array = named.match(/^array<(.+?)(?:, \d+)?>$/);
  if (!array) return { arrays: 0, element: named };
  const { arrays, element } = typeOf(array[1], aliases);
  return { arrays: arrays + 1, element };
}

/** What is assigned to in the variable `name`, each with the number of its indices and members. */
function storesTo(name: string, code: string): { text: string; steps: number }[] {
  return [...code.matchAll(new RegExp(`(?<![\\w.])${name}(?=[\\[.])`, "g"))].flatMap(({ index }) => {
    let [end, steps] = [index + name.length, 0];
    for (; /[\[.]/.test(code[end]); steps++) {
      end = code[end] === "[" ? pastBracket(code, end) : pastName(code, end + 1);
    }
    return /^ [-+*\/]?= /.test(code.slice(end, end + 4)) ? [{ text: code.slice(index, end), steps }] : [];
  });
}

function pastBracket(code: string, open: number): number {
  let [at, depth] = [open, 0];
  do depth += { "[": 1, "]": -1 }[code[at++]] ?? 0; while (depth > 0);
  return at;
}

function pastName(code: string, start: number): number {
  return start + code.slice(start).match(/^\w*/)![0].length;
}

Deno.test("stores to components are found: by an index, by a name, through an alias, in a buffer", () => {
  const code = `
    alias Quad = vec4f;
    var<workgroup> tile: array<array<Quad, 5>, 4>;
    var<workgroup> floats: array<array<f32, 4>, 5>;
    @group(0) @binding(1) var<storage, read_write> out: array<vec2f>;
    tile[k[i]][quad] = Quad();
    tile[k[i]][quad][lane % 4u] = 1.0;
    tile[0][quad].x += 1.0;
    floats[quad][lane] = tile[0][quad].y;
    out[i] = vec2f(tile[0][0].x, out[j].y);
    out[i].y = 2.0;
    if (out[i].x == 1.0) {}
  `;
  assert.deepEqual(componentStores(code), ["tile[k[i]][quad][lane % 4u]", "tile[0][quad].x", "out[i].y"]);
});

Deno.test("no kernel writes a component of a vector that invocations share", async () => {
  const programs = await goldenPrograms();
  const classes = [{ subgroupSize: 8, software: true }, hardware, {
    ...hardware,
    subgroupSize: 0,
    f16: true,
  }];
  const codes = new Set([
    ...classes.flatMap((traits) =>
      programs.flatMap(({ outputs }) => launchesOf(outputs, traits).map(({ code }) => code))
    ),
    ...(await launchesOfPrograms(hardware)).map(({ kernel }) => kernel.code),
  ]);
  assert.ok(codes.size > 300, `${codes.size} kernels`);
  assert.deepEqual([...new Set([...codes].flatMap(componentStores))], []);
});
