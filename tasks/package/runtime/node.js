/** What the library needs of its runtime, in Node: files by Deno's names, `fetch` of files, and what newer Nodes have built in. */

import OwnDisposableStack from "npm:core-js-pure@3.51.0/actual/disposable-stack/index.js";
import escape from "npm:core-js-pure@3.51.0/actual/regexp/escape.js";
import { f16round as ownF16round, Float16Array as OwnFloat16Array } from "npm:@petamoriken/float16@3.9.3";
import { readFile } from "node:fs/promises";

export { Deno } from "./deno_in_node.ts";
export { escape };

/** The global function, and of `file:` URLs, which Node's does not read, the file's bytes. */
export async function fetch(resource, init) {
  const { protocol } = new URL(resource instanceof Request ? resource.url : resource);
  return protocol === "file:"
    ? new Response(await readFile(new URL(resource)))
    : await globalThis.fetch(resource, init);
}

export async function fromAsync(items, map = (item) => item) {
  const made = [];
  for await (const item of items) made.push(await map(item));
  return made;
}

export function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

export function promiseWithResolvers() {
  let resolve, reject;
  const promise = new Promise((...given) => [resolve, reject] = given);
  return { promise, resolve, reject };
}

export const DisposableStack = globalThis.DisposableStack ?? OwnDisposableStack;
export const Float16Array = globalThis.Float16Array ?? OwnFloat16Array;
export const f16round = Math.f16round ?? ownF16round;
