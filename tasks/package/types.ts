/**
 * The package's types: a declaration file of each module that the entry points' types need, made by TypeScript from that module's own
 * annotations (isolated declarations).
 */

import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { makeParents } from "../../lib/files.ts";
import { partsOf } from "./modules.ts";

const root = new URL("../../", import.meta.url);

/** Imported under a computed name, so that only who makes the package downloads it. */
export const typescript: string = "npm:typescript@6.0.3";

/** What this file needs of TypeScript. */
interface TypeScript {
  createProgram(modules: readonly string[], options: Readonly<Record<string, unknown>>): {
    emit(
      module: undefined,
      write: (path: string, text: string) => void,
    ): { readonly diagnostics: readonly Diagnostic[] };
  };
  readonly ScriptTarget: { readonly ESNext: number };
}

interface Diagnostic {
  readonly file?: { readonly fileName: string; readonly text: string };
  readonly start?: number;
  readonly messageText: unknown;
}

/** Where a declaration file names another module: `from "…"`, `import "…"` and `import("…")`. */
const named = /(?<=\b(?:from|import)\s*\(?\s*")[^"]+(?=")/g;

/**
 * Writes the declarations of the modules `entries` (paths from the repository's root), and of all that these name, into `folder`, by
 * the same paths.
 * @throws Error with TypeScript's message where a declaration needs more than its own module.
 */
export async function writeTypes(entries: readonly string[], folder: string): Promise<void> {
  const { declarations, faults } = await declare(entries);
  const written = new Set<string>();
  const left = [...entries];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (written.has(path)) continue;
    written.add(path);
    const [fault] = faults.get(path) ?? [];
    if (fault) throw new Error(`${path}:${fault}`);
    const text = declarations.get(path)!;
    const out = join(folder, path.replace(/\.ts$/, ".d.ts"));
    await makeParents(out);
    await Deno.writeTextFile(out, text.replaceAll(named, inPackage));
    for (const [other] of text.matchAll(named)) {
      if (other.startsWith(".")) left.push(new URL(other, new URL(path, root)).href.slice(root.href.length));
    }
  }
}

/** Declarations of the modules, and of all that they import, by path; and why some would not stand by themselves. */
async function declare(entries: readonly string[]) {
  const { default: { createProgram, ScriptTarget } }: { default: TypeScript } = await import(typescript);
  const program = createProgram(entries.map((path) => fileURLToPath(new URL(path, root))), {
    allowImportingTsExtensions: true,
    declaration: true,
    emitDeclarationOnly: true,
    isolatedDeclarations: true,
    // deno check has done that.
    noCheck: true,
    rootDir: fileURLToPath(root),
    stripInternal: true,
    target: ScriptTarget.ESNext,
    types: [],
  });
  const pathOf = (file: string) => pathToFileURL(file).href.slice(root.href.length);
  const declarations = new Map<string, string>();
  const { diagnostics } = program.emit(undefined, (path, text) => {
    declarations.set(pathOf(path).replace(/\.d\.ts$/, ".ts"), text);
  });
  const faults = Map.groupBy(diagnostics, ({ file }) => pathOf(file!.fileName));
  return {
    declarations,
    faults: new Map([...faults].map(([path, found]) => [path, found.map(textOf)])),
  };
}

function textOf({ file, start, messageText }: Diagnostic): string {
  const line = file!.text.slice(0, start).split("\n").length;
  return `${line}: ${typeof messageText === "string" ? messageText : JSON.stringify(messageText)}`;
}

/** A module's name as the package has it: declarations lie beside where JavaScript would. */
function inPackage(specifier: string): string {
  if (specifier.startsWith(".")) return specifier.replace(/\.ts$/, ".js");
  if (!specifier.startsWith("npm:")) return specifier;
  const { name, file } = partsOf(specifier);
  return name + file;
}
