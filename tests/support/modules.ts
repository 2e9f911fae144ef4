/** The modules of this repository, and which imports which, as their text says. Paths are from the repository's root. */

const root = new URL("../..", import.meta.url);

/** What a file holds. */
export const textOf = (path: string): string => Deno.readTextFileSync(new URL(path, root));

/** The modules that a module imports, types among them; of `text` in place of its own. */
export function importsOf(module: string, text: string = textOf(module)): string[] {
  const named = text.matchAll(/(?:\bfrom|\bimport\(|^import) *"(\.[^"]+\.ts)"/gm);
  return [...named].map(([, path]) => new URL(path, new URL(module, root)).href.slice(root.href.length));
}

/** Those of them that it needs when it runs. */
export function neededBy(module: string): string[] {
  const types = /^(?:import|export) (?:type\b[^;]*?|\{(?:\s*type \w+,?)+\s*\}) from ".*";$/gm;
  return importsOf(module, textOf(module).replaceAll(types, ""));
}

/** The modules and all that they import, directly or not; `next` gives what a module imports. */
export function reachedFrom(
  modules: readonly string[],
  next: (module: string) => string[] = (module) => importsOf(module),
): Set<string> {
  const reached = new Set<string>();
  const left = [...modules];
  for (let module = left.pop(); module !== undefined; module = left.pop()) {
    if (reached.has(module)) continue;
    reached.add(module);
    left.push(...next(module));
  }
  return reached;
}
