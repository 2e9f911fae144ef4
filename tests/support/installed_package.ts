/** The npm package, made once a process and installed in a folder from Deno's npm cache, without a network. */

import { writeFolder } from "../../lib/files.ts";
import { esbuild } from "../../tasks/package/modules.ts";
import { typescript } from "../../tasks/package/types.ts";

const root = new URL("../../", import.meta.url);
const scripts = new URL("../package/", import.meta.url);

/** What makes the package and what tries it, by the specifiers that the cache must have. */
export const tools = {
  bundler: esbuild,
  types: typescript,
  dawn: "npm:webgpu@0.6.2",
  // Imported by no module here, and never started by the library.
  vite: "npm:vite@8.3.8",
};

/** Runs a command. Throws an Error with what it printed when it fails. */
export async function output(
  command: string,
  args: readonly string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<string> {
  const env = { NO_COLOR: "1", ...options.env };
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], ...options, env })
    .output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${command} ${args.join(" ")} failed:\n${out}${error}`);
  return out;
}

/** Which of the tools are not in Deno's cache. */
export async function missingTools(): Promise<Set<string>> {
  const code = `const missing = [];
    for (const tool of ${
    JSON.stringify(Object.values(tools))
  }) await import(tool).catch(() => missing.push(tool));
    console.log(JSON.stringify(missing));`;
  const flags = ["eval", "--cached-only", "--no-lock", "--no-config"];
  return new Set(JSON.parse(await output(Deno.execPath(), [...flags, code])));
}

/** Node's path, if it is there. */
export async function findNode(): Promise<string | undefined> {
  try {
    await output("node", ["--version"]);
    return "node";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Makes the package, and in `folder` a project in which it is installed with its dependencies and `others` (by their specifiers),
 * beside the scripts of `tests/package/`.
 */
export async function installPackage(folder: string, others: readonly string[]): Promise<void> {
  const own = `${folder}/package`;
  await output(Deno.execPath(), ["task", "--quiet", "package", "--out", own], { cwd: root });
  const { name, dependencies } = JSON.parse(await Deno.readTextFile(`${own}/package.json`));
  const further = others.map((specifier) => specifier.match(/^npm:(.+)@(.+)$/)!.slice(1));
  const manifest = { type: "module", dependencies: { ...dependencies, ...Object.fromEntries(further) } };
  await Deno.writeTextFile(`${folder}/package.json`, JSON.stringify(manifest));
  const flags = ["install", "--quiet", "--cached-only", "--no-lock", "--node-modules-dir=auto"];
  await output(Deno.execPath(), flags, { cwd: folder });
  await writeFolder(`${folder}/node_modules/${name}`, (part) => copyFolder(own, part));
  await copyFolder(scripts.pathname, folder);
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}
