/**
 * The package's types: a declaration file of each module that the entry points' types need, made by TypeScript from that module
 * alone (isolated declarations).
 */

import { join } from "node:path";
import { makeParents } from "../../lib/files.ts";
import { partsOf } from "./modules.ts";

const root = new URL("../../", import.meta.url);

/** Imported under a computed name, so that only who makes the package downloads it. */
const typescript = "npm:typescript@6.0.3";

/** What this file needs of TypeScript. */
interface TypeScript {
  transpileDeclaration(text: string, options: {
    readonly fileName: string;
    readonly reportDiagnostics: true;
    readonly compilerOptions: Readonly<Record<string, boolean>>;
  }): { readonly outputText: string; readonly diagnostics: readonly Diagnostic[] };
}

interface Diagnostic {
  readonly messageText: unknown;
  readonly start?: number;
}

/** Where a declaration file names another module: `from "…"`, `import "…"` and `import("…")`. */
const named = /(?<=\b(?:from|import)\s*\(?\s*")[^"]+(?=")/g;

/**
 * Writes the declarations of the modules `entries` (paths from the repository's root), and of all that these name, into `folder`, by
 * the same paths.
 * @throws Error with TypeScript's message where a declaration needs more than its own module.
 */
export async function writeTypes(entries: readonly string[], folder: string): Promise<void> {
  const { default: { transpileDeclaration } }: { default: TypeScript } = await import(typescript);
  const written = new Set<string>();
  const left = [...entries];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (written.has(path)) continue;
    written.add(path);
    const module = new URL(path, root);
    const text = await Deno.readTextFile(module);
    const { outputText, diagnostics } = transpileDeclaration(text, {
      fileName: path,
      reportDiagnostics: true,
      compilerOptions: { isolatedDeclarations: true, stripInternal: true },
    });
    const [fault] = diagnostics;
    if (fault) {
      const line = text.slice(0, fault.start).split("\n").length;
      throw new Error(`${path}:${line} has no declaration of its own: ${JSON.stringify(fault.messageText)}`);
    }
    const out = join(folder, path.replace(/\.ts$/, ".d.ts"));
    await makeParents(out);
    await Deno.writeTextFile(out, outputText.replaceAll(named, inPackage));
    for (const [other] of outputText.matchAll(named)) {
      if (other.startsWith(".")) left.push(new URL(other, module).href.slice(root.href.length));
    }
  }
}

/** A module's name as the package has it: declarations lie beside where JavaScript would. */
function inPackage(specifier: string): string {
  if (specifier.startsWith(".")) return specifier.replace(/\.ts$/, ".js");
  if (!specifier.startsWith("npm:")) return specifier;
  const { name, file } = partsOf(specifier);
  return name + file;
}
