/** The repository over HTTP, for scripts that import the library from a URL. */

const root = new URL("../..", import.meta.url);

/** The repository's files on a port of this machine, and every path that was asked for. */
export function serveRepository(): Deno.HttpServer<Deno.NetAddr> & { readonly asked: string[] } {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const type = pathname.endsWith(".ts") ? "text/typescript" : "text/plain";
    const file = await Deno.readFile(new URL(`.${pathname}`, root));
    return new Response(file, { headers: { "content-type": type } });
  });
  return Object.assign(server, { asked });
}

/**
 * Makes a Deno cache with this process's npm packages, through a link, and no remote modules: those are
 * cached by host and port, and the port changes every time. Returns the packages' real path, which
 * permissions refer to.
 */
export async function linkPackages(cache: string): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  await Deno.mkdir(cache);
  await Deno.symlink(npmCache, `${cache}/npm`);
  return await Deno.realPath(npmCache);
}

/** Runs a script in `folder` with its cache and nothing of this repository's configuration. */
export async function runScript(
  folder: string,
  name: string,
  permissions: readonly string[],
): Promise<{ readonly code: number; readonly out: string; readonly error: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--no-lock", "--no-prompt", "--quiet", ...permissions, name],
    cwd: folder,
    env: { DENO_DIR: `${folder}/cache`, NO_COLOR: "1" },
  }).output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, error };
}
