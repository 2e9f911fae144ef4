/** Models of the hub, from a local server that stands in for it: cache, hashes, downloads that break off. */

import assert from "node:assert/strict";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import fixture from "./fixtures/bert_reference.json" with { type: "json" };
import { commit, FakeHub, model } from "./support/fake_hub.ts";
import { seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";

const config = fixture.cases.RoBERTa.config;

/** Runs `use` with a hub that has a checkpoint in so many shards, and an empty cache. */
async function withHub(
  shards: number,
  use: (hub: FakeHub, load: () => ReturnType<typeof loadEncoder>, cache: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await writeCheckpoint(`${folder}/origin`, config, { shards });
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for await (const { name } of Deno.readDir(`${folder}/origin`)) {
      files.set(name, await Deno.readFile(`${folder}/origin/${name}`));
    }
    files.set("pytorch_model.bin", new Uint8Array(10));
    await using hub = new FakeHub(files);
    await use(
      hub,
      () => loadEncoder(model, { hubUrl: hub.url, cacheFolder: `${folder}/cache` }),
      `${folder}/cache`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const storage = "models--acme--tiny-roberta";

/** Every weight is the seeded one. */
function assertLoaded({ weights }: Awaited<ReturnType<typeof loadEncoder>>): void {
  assert.equal(weights.size, 37);
  for (const [name, { shape, data }] of weights) assert.deepEqual(data, seeded(name, shape));
}

for (const shards of [1, 2]) {
  Deno.test(`a model in ${shards} file${shards > 1 ? "s" : ""} is fetched once, in the Python library's layout`, () =>
    withHub(shards, async (hub, load, cache) => {
      const encoder = await load();
      assertLoaded(encoder);
      assert.equal(encoder.name, model);
      const wanted = [...hub.files.keys()].filter((name) => name !== "pytorch_model.bin");
      assert.deepEqual(hub.requests.toSorted(), wanted.map((name) => `${name} whole`).toSorted());
      assert.equal(await Deno.readTextFile(`${cache}/${storage}/refs/main`), commit);
      for (const name of wanted) {
        const target = await Deno.readLink(`${cache}/${storage}/snapshots/${commit}/${name}`);
        assert.match(target, /^\.\.\/\.\.\/blobs\/([0-9a-f]{40}|[0-9a-f]{64})$/);
      }
      const asked = hub.requests.length;
      // Had it asked again, it would have got zeros.
      hub.files.values().forEach((bytes) => bytes.fill(0));
      assertLoaded(await load());
      assert.equal(hub.requests.length, asked);
    }));
}

Deno.test("a download that breaks off goes on from there, and its whole is checked", () =>
  withHub(1, async (hub, load) => {
    const name = "model.safetensors";
    const size = hub.files.get(name)!.length;
    hub.breaksAfter.set(name, 30_000);
    await assert.rejects(
      load,
      /"model\.safetensors" of "acme\/tiny-roberta" broke off at byte 30000 of \d+: run again/,
    );
    hub.requests.length = 0;
    hub.breaksAfter.set(name, 20_000);
    await assert.rejects(load, /broke off at byte 50000 of/);
    hub.breaksAfter.clear();
    assertLoaded(await load());
    assert.deepEqual(hub.requests, [`${name} bytes=30000-${size - 1}`, `${name} bytes=50000-${size - 1}`]);
  }));

for (const name of ["model.safetensors", "vocab.txt"]) {
  Deno.test(`${name} with another hash than announced is thrown away and fetched anew`, () =>
    withHub(1, async (hub, load, cache) => {
      hub.garbled.add(name);
      await assert.rejects(
        load,
        new RegExp(`"${name}" of ".*" has not the size and hash that the hub announced`),
      );
      for await (const { name } of Deno.readDir(`${cache}/${storage}/blobs`)) {
        assert.ok(!name.endsWith("incomplete"));
      }
      hub.garbled.clear();
      assertLoaded(await load());
    }));
}

Deno.test("two loads at a time fetch every file once", () =>
  withHub(1, async (hub, load) => {
    for (const encoder of await Promise.all([load(), load()])) assertLoaded(encoder);
    assert.equal(new Set(hub.requests).size, hub.requests.length);
  }));

Deno.test("HF_TOKEN is sent along", () =>
  withHub(1, async (hub, load) => {
    Deno.env.set("HF_TOKEN", "hf_secret");
    try {
      await load();
    } finally {
      Deno.env.delete("HF_TOKEN");
    }
    assert.deepEqual([...hub.tokens], ["Bearer hf_secret"]);
  }));

Deno.test("what is neither a folder nor a model is refused, and a model without safetensors", () =>
  withHub(1, async (hub, load, cacheFolder) => {
    const other = { hubUrl: hub.url, cacheFolder };
    await assert.rejects(
      () => loadEncoder("acme/none", other),
      /cannot find "acme\/none", which is no folder here, on .*not found/,
    );
    await assert.rejects(
      () => loadEncoder("./none", other),
      /there is no folder \.\/none, and no model of the hub/,
    );
    await assert.rejects(() => loadEncoder("a/b/c", other), /there is no folder a\/b\/c/);
    (hub.files as Map<string, unknown>).delete("model.safetensors");
    await assert.rejects(load, /"acme\/tiny-roberta" on .* has no model\.safetensors: convert it/);
  }));
