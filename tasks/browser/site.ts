/** Serves a module that is bundled for browsers, and the files it needs, on a port of this machine. */

/** The content of a site. */
export interface SiteOptions {
  /** The module to bundle; it is served as `/main.js`. */
  readonly entry: URL;
  /** Further modules to bundle, by the paths that they are served at. */
  readonly modules?: Readonly<Record<string, URL>>;
  /** The HTML file served as `/`. Default: an empty page. */
  readonly page?: URL;
  /** Files by their paths, such as `/style.css`, or their content, and folders by paths that end with a slash. */
  readonly files?: Readonly<Record<string, URL | string>>;
  /** Default: a free port. */
  readonly port?: number;
}

/** A site that is being served. */
export interface Site extends AsyncDisposable {
  /** Its address, such as `http://127.0.0.1:8000/`. */
  readonly url: string;
}

const emptyPage = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>empty</title></html>';

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  css: "text/css",
  json: "application/json",
};

/**
 * Bundles and serves a site to this machine only. Browsers enable WebGPU on pages from 127.0.0.1 as they do
 * over HTTPS.
 * @throws Error with the bundler's message, or when the port is taken.
 */
export async function serveSite(
  { entry, modules = {}, page, files = {}, port = 0 }: SiteOptions,
): Promise<Site> {
  const bundles = new Map(
    await Promise.all(
      Object.entries({ "/main.js": entry, ...modules }).map(async ([path, module]) =>
        [path, await bundleForBrowser(module)] as const
      ),
    ),
  );
  const server = listening(port, async (request) => {
    const { pathname } = new URL(request.url);
    const bundle = bundles.get(pathname);
    if (bundle !== undefined) return contentOf(bundle, "js");
    if (pathname === "/" && !page) return contentOf(emptyPage, "html");
    const file = pathname === "/" ? page : fileAt(pathname, files);
    if (file === undefined) return new Response(`no ${pathname}`, { status: 404 });
    return typeof file === "string" ? contentOf(file, extensionOf(pathname)) : await respondWith(file);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Serves on a port of this machine. Throws an Error that says what to do when it is taken. */
function listening(port: number, answer: Deno.ServeHandler<Deno.NetAddr>): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, answer);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`port ${port} cannot be had (${message}): name another port (--port)`, { cause: error });
  }
}

/**
 * Bundles `entry` and all its imports into one JavaScript module. Throws an Error with the bundler's message.
 */
async function bundleForBrowser(entry: URL): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform", "browser", "--minify", entry.href],
    cwd: new URL("../..", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`${entry} cannot be bundled:\n${new TextDecoder().decode(stderr)}`);
}

/**
 * The file that `pathname` names: one of `files`, or one in a folder among them. A URL has no `..` left in
 * it, but %2F and %5C would become slashes in a file's path, so they are refused.
 */
function fileAt(pathname: string, files: Readonly<Record<string, URL | string>>): URL | string | undefined {
  if (/%2f|%5c/i.test(pathname)) return undefined;
  if (pathname in files && !pathname.endsWith("/")) return files[pathname];
  const folder = Object.keys(files).find((path) => path.endsWith("/") && pathname.startsWith(path));
  return folder ? new URL(`./${pathname.slice(folder.length)}`, files[folder]) : undefined;
}

function extensionOf(path: string): string {
  return path.split(".").at(-1)!;
}

function contentOf(content: BodyInit, extension: string): Response {
  return new Response(content, {
    headers: { "content-type": types[extension] ?? "application/octet-stream" },
  });
}

async function respondWith(file: URL): Promise<Response> {
  try {
    const { readable } = await Deno.open(file);
    return contentOf(readable, extensionOf(file.pathname));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Response(`no ${file}`, { status: 404 });
    throw error;
  }
}
