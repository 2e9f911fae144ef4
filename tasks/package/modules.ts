/**
 * The package's JavaScript: the library's entry points and its worker threads, bundled by esbuild into modules that share what they
 * have in common, with the WGSL inside and npm packages left to be imported.
 */

import { fileURLToPath } from "node:url";

const root = new URL("../../", import.meta.url);

/** Imported under a computed name, so that only who makes the package downloads it. */
export const esbuild: string = "npm:esbuild@0.28.2";

/** What this file needs of esbuild. */
interface Esbuild {
  build(options: object): Promise<unknown>;
  stop(): Promise<void>;
}

/** Esbuild's calls to a plugin. */
interface Hooks {
  onResolve(
    filter: { readonly filter: RegExp },
    resolve: (found: { readonly path: string }) => Promise<object> | object,
  ): void;
  onLoad(
    filter: { readonly filter: RegExp },
    load: (found: { readonly path: string }) => Promise<object>,
  ): void;
}

/** Adds `npm:name@version` of the packages that are imported to `met`; the bundle imports them by bare names. */
function barePackages(met: Set<string>) {
  return {
    name: "bare names of npm packages",
    setup(hooks: Hooks) {
      hooks.onResolve({ filter: /^npm:/ }, ({ path }) => {
        const { name, version, file } = partsOf(path);
        met.add(`npm:${name}@${version}`);
        return { path: name + file, external: true };
      });
      hooks.onResolve({ filter: /^#runtime$/ }, ({ path }) => ({ path, external: true }));
    },
  };
}

/** The parts of `npm:name@version/file`; the file begins with its slash. Throws an Error unless the version is exact. */
export function partsOf(specifier: string): { name: string; version: string; file: string } {
  const found = specifier.match(/^npm:(?<name>(?:@[^/]+\/)?[^/@]+)@(?<version>\d+\.\d+\.\d+)(?<file>\/.*)?$/);
  if (!found) throw new Error(`${specifier} has no exact version: write it as npm:name@1.2.3`);
  const { name, version, file = "" } = found.groups!;
  return { name, version, file };
}

/** `new URL("./x_worker.ts", import.meta.url)` becomes a URL of the bundled thread, which lies beside all other modules. */
const workersOfPackage = {
  name: "worker threads",
  setup(hooks: Hooks) {
    hooks.onLoad({ filter: /\/lib\/.*\.ts$/ }, async ({ path }) => ({
      contents: (await Deno.readTextFile(path)).replaceAll(
        /(?<=new URL\("\.\/\w+)\.ts(?=", import\.meta\.url\))/g,
        ".js",
      ),
      loader: "ts",
    }));
  },
};

/** Bundles npm packages from Deno's cache, and adds their licences to `licences`, by name and version. */
function cachedPackages(licences: Map<string, string>) {
  return {
    name: "npm packages in Deno's cache",
    setup(hooks: Hooks) {
      hooks.onResolve({ filter: /^npm:/ }, async ({ path }) => {
        // Importing it puts the package into the cache.
        await import(path);
        const module = import.meta.resolve(path);
        const { name, version } = partsOf(path);
        const folder = `/${name}/${version}/`;
        const licence = new URL(module.slice(0, module.indexOf(folder)) + folder + "LICENSE");
        licences.set(`${name} ${version}`, await Deno.readTextFile(licence));
        return { path: fileURLToPath(module) };
      });
    },
  };
}

/** For the oldest Node that the package runs in; import attributes are in its later minor versions. */
const common = {
  absWorkingDir: fileURLToPath(root),
  bundle: true,
  format: "esm",
  target: "es2022",
  supported: { "import-attributes": true },
  charset: "utf8",
  logLevel: "silent",
};

/**
 * Writes the modules of `entries` (names by paths from the repository's root) and of the worker threads into `folder`. Returns the
 * npm packages that they import, as `npm:name@version`.
 * @throws Error with the bundler's message.
 */
export async function writeModules(
  entries: Readonly<Record<string, string>>,
  workers: readonly string[],
  folder: string,
): Promise<string[]> {
  const { build, stop }: Esbuild = await import(esbuild);
  const met = new Set<string>();
  const licences = new Map<string, string>();
  try {
    const ofWorkers = Object.fromEntries(workers.map((path) => [path.match(/(\w+)\.ts$/)![1], path]));
    await build({
      ...common,
      entryPoints: { ...entries, ...ofWorkers },
      outdir: folder,
      splitting: true,
      chunkNames: "shared-[hash]",
      loader: { ".wgsl": "text" },
      inject: ["tasks/package/runtime/names.js"],
      external: ["node:*"],
      plugins: [barePackages(met), workersOfPackage],
    });
    await build({
      ...common,
      entryPoints: ["tasks/package/runtime/native.js", "tasks/package/runtime/node.js"],
      outdir: `${folder}/runtime`,
      // Else it would tell where each file lay on this machine.
      minify: true,
      external: ["node:*"],
      plugins: [cachedPackages(licences)],
    });
    const texts = [...licences].map(([name, text]) => `node.js contains parts of ${name}:\n\n${text}`);
    await Deno.writeTextFile(`${folder}/runtime/LICENSES`, texts.toSorted().join("\n"));
  } finally {
    await stop();
  }
  return [...met].toSorted();
}
