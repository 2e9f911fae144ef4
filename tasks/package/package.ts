/** The npm package: its modules, its types, and the files about it. */

import config from "../../deno.json" with { type: "json" };
import { partsOf, writeModules } from "./modules.ts";
import { writeTypes } from "./types.ts";

const root = new URL("../../", import.meta.url);

/** Modules that run in threads of their own, and that no other module imports. */
const workers = ["lib/models/chat_template_worker.ts", "lib/data/parquet_worker.ts"];

const documents = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"];

/** Modules of the repository by the package's entry points, such as `lib/front/graph.ts` by `./graph`. */
const entries = Object.entries(config.exports).map(([entry, path]) =>
  [entry, path.slice("./".length)] as const
);

const nameOf = (path: string) => path.match(/(\w+)\.ts$/)![1];

/** Writes the package into an empty folder. Throws what the bundler and TypeScript refuse. */
export async function writePackage(folder: string): Promise<void> {
  const modules = entries.map(([, path]) => path);
  const packages = await writeModules(
    Object.fromEntries(modules.map((path) => [nameOf(path), path])),
    workers,
    folder,
  );
  await writeTypes(modules, `${folder}/types`);
  await Deno.writeTextFile(`${folder}/package.json`, `${JSON.stringify(manifest(packages), null, 2)}\n`);
  for (const name of documents) await Deno.copyFile(new URL(name, root), `${folder}/${name}`);
}

/** The package.json; `packages` are npm specifiers with exact versions. */
function manifest(packages: readonly string[]) {
  return {
    name: config.name,
    version: config.version,
    description: "Parameter-efficient fine-tuning on WebGPU: BoRA and the methods that it is compared with",
    license: config.license,
    type: "module",
    // Import attributes: `with { type: "json" }`.
    engines: { node: ">=20.10" },
    sideEffects: workers.map((path) => `./${nameOf(path)}.js`),
    exports: Object.fromEntries(
      entries.map(([entry, path]) => [
        entry,
        { types: `./types/${path.replace(/\.ts$/, ".d.ts")}`, default: `./${nameOf(path)}.js` },
      ]),
    ),
    imports: {
      "#runtime": {
        deno: "./runtime/native.js",
        node: "./runtime/node.js",
        default: "./runtime/native.js",
      },
    },
    dependencies: Object.fromEntries(
      packages.map(partsOf).map(({ name, version }) => [name, version]),
    ),
  };
}

/** Bytes of all files in a folder and its subfolders. */
export async function sizeOfFolder(folder: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    bytes += isDirectory ? await sizeOfFolder(path) : (await Deno.stat(path)).size;
  }
  return bytes;
}
