/** The library imported over HTTP by another process: no import map, no configuration, the README's permissions only. */

import assert from "node:assert/strict";

import { parquetBytes } from "./support/glue_folders.ts";

const root = new URL("..", import.meta.url);

/** The repository's files on a port of this machine, and every path that was asked for. */
function serveRepository(): Deno.HttpServer<Deno.NetAddr> & { readonly asked: string[] } {
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

/** A folder with the README's library examples as one script that imports from `host`. */
async function exampleFolder(readme: string, host: string): Promise<string> {
  const code = [...readme.matchAll(/```ts\n([^]*?)```/g)].map(([, block]) => block).join("\n");
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/train.ts`, code.replaceAll('"./mod.ts"', `"http://${host}/mod.ts"`));
  return folder;
}

/**
 * Makes a Deno cache with this process's npm packages, through a link, and no remote modules: those are
 * cached by host and port, and the port changes every time. Returns the packages' real path, which
 * permissions refer to.
 */
async function linkPackages(cache: string): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  await Deno.mkdir(cache);
  await Deno.symlink(npmCache, `${cache}/npm`);
  return await Deno.realPath(npmCache);
}

Deno.test("the README's library examples run from a URL, with the permissions the README names and no fewer", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await exampleFolder(readme, host);
  const cache = `${folder}/cache`;
  const packages = await linkPackages(cache);
  const flags = readme.match(/^ +deno run (--allow-import=.*) train\.ts$/m)![1].split(" ").map((flag) =>
    flag.replace("HOST", host).replace("NPM_CACHE", packages)
  );
  const run = async (permissions: readonly string[]) => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--no-lock", "--no-prompt", "--quiet", ...permissions, "train.ts"],
      cwd: folder,
      env: { DENO_DIR: cache, NO_COLOR: "1" },
    }).output();
    const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { code, out, error };
  };

  for (const flag of flags.filter((flag) => !flag.startsWith("--allow-write"))) {
    const { code, error } = await run(flags.filter((other) => other !== flag));
    assert.notEqual(code, 0, `${flag} is not needed`);
    assert.match(error, /Requires (import|read) access/);
  }

  const { code, out, error } = await run(flags);
  assert.equal(code, 0, error);
  const lines = out.trim().split("\n");
  assert.match(
    lines.pop()!,
    /^trainable params: 32,768 \|\| all params: 7,008,512 \|\| trainable%: 0\.4675$/,
  );
  const losses = lines.map((line) => Number(line.split(" ")[1]));
  assert.equal(losses.length, 10);
  assert.ok(losses.every((loss) => loss > 0 && loss < 5));
  assert.ok(server.asked.includes("/mod.ts") && server.asked.includes("/wgsl/matmul.wgsl"));
  const saved = [...Deno.readDirSync(`${folder}/adapter`)].map(({ name }) => name).toSorted();
  assert.deepEqual(saved, ["adapter_config.json", "adapter_model.safetensors"]);
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a parquet file's thread starts from a URL, with permission to import from it and to read the file and the packages", async () => {
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await Deno.makeTempDir();
  const packages = await linkPackages(`${folder}/cache`);
  const rows = [{ texts: ["a", "b"], written: "entailment", id: 0 }];
  await Deno.writeFile(`${folder}/t.parquet`, parquetBytes("RTE", "dev", rows));
  await Deno.writeTextFile(
    `${folder}/read.ts`,
    `import { readParquet } from "http://${host}/lib/data/parquet_file.ts";
    console.log((await readParquet("t.parquet", ["sentence1"])).rows[0].sentence1);`,
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-config", "--no-lock", "--no-prompt", "--quiet", `--allow-import=${host}`],
      ...[`--allow-read=./t.parquet,${packages}`, "read.ts"],
    ],
    cwd: folder,
    env: { DENO_DIR: `${folder}/cache`, NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.equal(new TextDecoder().decode(stdout), "a\n");
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});
