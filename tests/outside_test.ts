/** A model, a method and an objective written outside the library, by URL and public names alone (tests/outside). */

import assert from "node:assert/strict";
import { linkPackages, runScript, serveRepository } from "./support/served_repository.ts";

Deno.test("USE-lite and BoRA written outside train to the bits of the library's own, and an objective of one file is learnt", async () => {
  const server = serveRepository();
  const host = `127.0.0.1:${server.addr.port}`;
  const folder = await Deno.makeTempDir();
  const packages = await linkPackages(`${folder}/cache`);
  const outside = new URL("outside/", import.meta.url);
  for (const { name } of Deno.readDirSync(outside)) {
    const text = await Deno.readTextFile(new URL(name, outside));
    await Deno.writeTextFile(
      `${folder}/${name}`,
      text.replaceAll("http://repository.test", `http://${host}`),
    );
  }
  const permissions = [`--allow-import=${host}`, `--allow-read=${packages}`, "--check"];
  const { code, out, error } = await runScript(folder, "train.ts", permissions);
  assert.equal(code, 0, error);
  const { own, outside: mine, bounded } = JSON.parse(out);
  assert.deepEqual(mine, own);
  assert.ok(mine.losses[0] > mine.losses[2]);
  assert.ok(bounded.losses[2] < bounded.losses[0] / 2, `${bounded.losses}`);
  assert.ok(bounded.values.every((value: number) => Math.abs(value) < 1));
  await server.shutdown();
  await Deno.remove(folder, { recursive: true });
});
