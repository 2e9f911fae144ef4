/**
 * README.md and its pages: what they name exists, and what exists is named. (url_import_test runs their
 * examples.)
 */

import assert from "node:assert/strict";
import config from "../deno.json" with { type: "json" };
import * as library from "../mod.ts";
import { methods } from "../lib/adapters/registry.ts";
import { recordsIn } from "../tasks/pages/records.ts";

const root = new URL("..", import.meta.url);
const paths = ["README.md", "SECURITY.md", "lib/README.md", "lib/adapters/PEFT.md"];
const pages = await Promise.all(
  paths.map(async (path) => ({ path, text: await Deno.readTextFile(new URL(path, root)) })),
);
const [{ text: readme }] = pages;

/** GitHub's anchors of a page's headings. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-")
  );
}

/** Files of a folder and the folders in it, by where they lie in it. */
async function* walk(folder: string, place = ""): AsyncIterable<string> {
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${place}`)) {
    if (isDirectory) yield* walk(folder, `${place}${name}/`);
    else yield place + name;
  }
}

async function exists(url: URL): Promise<boolean> {
  try {
    await Deno.stat(url);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("every link of the pages leads somewhere, and every file in backticks is there", async () => {
  for (const { path, text } of pages) {
    const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link);
    assert.ok(links.length > 0 || path.endsWith("PEFT.md"), `${path} has no links: is this pattern right?`);
    for (const link of links) {
      const url = new URL(link, new URL(path, root));
      const anchor = decodeURIComponent(url.hash.slice(1));
      url.hash = "";
      assert.ok(await exists(url), `${path}: ${link}`);
      if (anchor) assert.ok(anchors(await Deno.readTextFile(url)).includes(anchor), `${path}: ${link}`);
    }
    for (const [, file] of text.matchAll(/\b((?:lib|tasks|tests|bench|wgsl)\/[\w./-]*)/g)) {
      if (!file.includes("NAME")) assert.ok(await exists(new URL(file, root)), `${path}: ${file}`);
    }
  }
});

Deno.test("every file that a record of kernel choices names is there", async () => {
  const records = new URL("results/choices/", root);
  for await (const name of walk(records.pathname)) {
    if (!name.endsWith(".json")) continue;
    const { choices } = JSON.parse(await Deno.readTextFile(new URL(name, records)));
    for (const { where, choice } of choices) {
      assert.ok(await exists(new URL(where, root)), `${name}: ${where} (${choice})`);
    }
  }
});

Deno.test("the README has every command of deno.json, and no other", () => {
  const named = [...readme.matchAll(/\bdeno task ([a-z]+(?::[a-z]+)?)/g)].map(([, task]) => task);
  assert.deepEqual([...new Set(named)].toSorted(), Object.keys(config.tasks).toSorted());
});

Deno.test("every page and chart of results/ is what its record renders to (deno task report renders them again)", async () => {
  const results = new URL("results", root).pathname;
  const shown = new Set<string>();
  for (const { page, place, path } of await recordsIn(results)) {
    for (const [end, text] of Object.entries(await page.rendered(path))) {
      shown.add(place + end);
      assert.equal(await Deno.readTextFile(`${results}/${place}${end}`), text, `results/${place}${end}`);
    }
  }
  const files = await Array.fromAsync(walk(results));
  assert.deepEqual(files.filter((path) => /\.(md|svg)$/.test(path)).toSorted(), [...shown].toSorted());
});

Deno.test("the README's finding has the figures of results/headline", async () => {
  const columnsOf = (text: string) => {
    const [table] = text.match(/^\|(?=.* − LoRA r 8 )(.|\n\|)*/m)!;
    const [header, , ...rows] = table.split("\n").map((line) =>
      line.split("|").slice(1, -1).map((cell) => cell.trim())
    );
    return rows.map((row) => new Map(header.map((name, i) => [name, row[i]])));
  };
  const page = columnsOf(await Deno.readTextFile(new URL("results/headline.md", root)));
  const shown = columnsOf(readme);
  assert.equal(shown.length, page.length);
  for (const [i, row] of shown.entries()) {
    for (const [name, cell] of row) assert.equal(cell, page[i].get(name), `${row.get("method")}, ${name}`);
  }
});

Deno.test("the README links every page of results/", () => {
  for (const { name } of Deno.readDirSync(new URL("results/", root))) {
    if (!name.endsWith(".md")) continue;
    const link = `| [${name.slice(0, -3)}](results/${name}) `;
    assert.ok(readme.includes(link), `the README's table of results lacks ${name}`);
  }
});

Deno.test("the README's table has every exported method, and says of each whether it merges", () => {
  const rows = [...readme.matchAll(/^\| (`[^|]+`) +\|[^|]+\| (yes|no|–) +\|$/gm)];
  const said = new Map(
    rows.flatMap(([, names, merges]) => [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name, merges])),
  );
  const expected = Object.entries(library).flatMap(([name, value]): [string, string][] => {
    const method = methods.find((method) => method === value);
    return method ? [[name, !method.peft ? "–" : method.mergeable ? "yes" : "no"]] : [];
  });
  assert.equal(expected.length, methods.length);
  assert.deepEqual(said, new Map(expected));
});

Deno.test("the README's own pages are published with it", () => {
  const { include } = config.publish;
  for (const path of paths) {
    assert.ok(include.some((entry) => entry === path || entry.endsWith("/") && path.startsWith(entry)), path);
  }
});
