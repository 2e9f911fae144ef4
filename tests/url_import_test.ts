/** The library imported over HTTP by another process: no import map, no configuration, the README's permissions only. */

import assert from "node:assert/strict";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { parquetBytes } from "./support/glue_folders.ts";
import { linkPackages, runScript, serveRepository } from "./support/served_repository.ts";

const root = new URL("..", import.meta.url);

/** A folder with the library examples of a part of the README as one script that imports from `host`. */
async function exampleFolder(part: string, host: string): Promise<string> {
  const code = [...part.matchAll(/```ts\n([^]*?)```/g)].map(([, block]) => block).join("\n");
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/train.ts`, code.replaceAll('"./mod.ts"', `"http://${host}/mod.ts"`));
  return folder;
}

Deno.test("the README's library examples run from a URL, with the permissions the README names and no fewer", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await exampleFolder(readme.split("### Decoders")[0], host);
  const packages = await linkPackages(`${folder}/cache`);
  const flags = readme.match(/^ +deno run (--allow-import=.*) train\.ts$/m)![1].split(" ").map((flag) =>
    flag.replace("HOST", host).replace("NPM_CACHE", packages)
  );
  const run = (permissions: readonly string[]) => runScript(folder, "train.ts", permissions);

  for (const flag of flags.filter((flag) => !flag.startsWith("--allow-write"))) {
    const { code, error } = await run(flags.filter((other) => other !== flag));
    assert.notEqual(code, 0, `${flag} is not needed`);
    assert.match(error, /Requires (import|read) access/);
  }

  const { code, out, error } = await run(flags);
  assert.equal(code, 0, error);
  const lines = out.trim().split("\n");
  assert.match(lines.pop()!, /^(negative|positive)$/);
  assert.match(
    lines.pop()!,
    /^trainable params: 32,768 \|\| all params: 7,008,512 \|\| trainable%: 0\.4675$/,
  );
  const losses = lines.map((line) => Number(line.split(" ")[1]));
  assert.equal(losses.length, 10);
  assert.ok(losses.every((loss) => loss > 0 && loss < 5));
  assert.ok(server.asked.includes("/mod.ts") && server.asked.includes("/wgsl/matmul.wgsl"));
  const saved = [...Deno.readDirSync(`${folder}/adapter`)].map(({ name }) => name).toSorted();
  assert.deepEqual(saved, ["README.md", "adapter_config.json", "adapter_model.safetensors", "labels.json"]);
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("the README's example for decoders runs from a URL", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await exampleFolder(
    readme.split("### Decoders")[1].replace(`"smollm2"`, `"./model"`),
    host,
  );
  await writeDecoder(`${folder}/model`, cases["LLaMA 2"]);
  for (const file of ["train.jsonl", "dev.jsonl"]) {
    await Deno.writeTextFile(`${folder}/${file}`, '{"prompt": "a", "completion": "b"}\n'.repeat(20));
  }
  const packages = await linkPackages(`${folder}/cache`);
  const { code, out, error } = await runScript(folder, "train.ts", [
    `--allow-import=${host}`,
    `--allow-read=${packages},./model,./train.jsonl,./dev.jsonl`,
  ]);
  assert.equal(code, 0, error);
  assert.match(out, /\S/);
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
  const permissions = [`--allow-import=${host}`, `--allow-read=./t.parquet,${packages}`];
  const { code, out, error } = await runScript(folder, "read.ts", permissions);
  assert.equal(code, 0, error);
  assert.equal(out, "a\n");
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a program that may not use the user's cache is not asked for it, and its kernels are not timed by default", async () => {
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await Deno.makeTempDir();
  await linkPackages(`${folder}/cache`);
  await Deno.writeTextFile(
    `${folder}/ask.ts`,
    `import { mayUseUserCache } from "http://${host}/lib/user_cache.ts"; console.log(mayUseUserCache());`,
  );
  const env = "--allow-env=HOME,XDG_CACHE_HOME,LOCALAPPDATA";
  for (
    const [permissions, may] of [
      [[], false],
      [[env, "--allow-read"], false],
      [["--allow-read", "--allow-write"], false],
      [[env, "--allow-read", "--allow-write"], true],
    ] as const
  ) {
    const { out, error } = await runScript(folder, "ask.ts", [`--allow-import=${host}`, ...permissions]);
    assert.equal(out, `${may}\n`, error);
  }
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});
