/** Models from the hub, with a local server in its place: cache, hashes, interrupted downloads. */

import assert from "node:assert/strict";
import { readGguf } from "../lib/models/gguf/split_set.ts";
import type { HubOptions } from "../lib/models/hub.ts";
import { type DecoderOptions, loadDecoder } from "../lib/models/load_decoder.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import { loadModel } from "../lib/models/load_model.ts";
import { locateModel } from "../lib/models/locate_model.ts";
import fixture from "./fixtures/bert_reference.json" with { type: "json" };
import { commit, FakeHub, model } from "./support/fake_hub.ts";
import { withFolder } from "./support/files.ts";
import { modulesJson, poolingJson } from "./support/pooled_folder.ts";
import { seeded, writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { warned } from "./support/warned.ts";

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
      assert.deepEqual([encoder.name, encoder.hubId], [model, model]);
      const wanted = [...hub.files.keys()].filter((name) => name !== "pytorch_model.bin");
      assert.deepEqual(hub.requests.toSorted(), wanted.map((name) => `${name} whole`).toSorted());
      assert.equal(await Deno.readTextFile(`${cache}/${storage}/refs/main`), commit);
      for (const name of wanted) {
        const target = await Deno.readLink(`${cache}/${storage}/snapshots/${commit}/${name}`);
        assert.match(target, /^\.\.\/\.\.\/blobs\/([0-9a-f]{40}|[0-9a-f]{64})$/);
      }
      const asked = hub.requests.length;
      // A second download would return zeros.
      hub.files.values().forEach((bytes) => bytes.fill(0));
      assertLoaded(await load());
      assert.equal(hub.requests.length, asked);
    }));
}

Deno.test("how a sentence-transformers model pools is fetched with it, and what a cached one lacks of it", () =>
  withHub(1, async (hub, load, cache) => {
    const encode = (text: string) => new TextEncoder().encode(text);
    hub.files.set("modules.json", encode(modulesJson("Normalize")));
    hub.files.set("1_Pooling/config.json", encode(poolingJson("pooling_mode_mean_tokens")));
    hub.files.set("onnx/model.onnx", new Uint8Array(10));
    // What a merged folder, sentence-transformers and llama.cpp's converter want besides.
    const described = [
      "sentence_bert_config.json",
      "special_tokens_map.json",
      "tokenizer.model",
      "additional_chat_templates/rag.jinja",
    ];
    for (const name of described) hub.files.set(name, encode("{}"));
    hub.files.set("additional_chat_templates/rag.txt", encode("{}"));
    assert.equal((await load()).pooling, "mean");
    for (const name of described) {
      assert.equal(await Deno.readTextFile(`${cache}/${storage}/snapshots/${commit}/${name}`), "{}");
    }
    assert.ok(hub.requests.every((request) => !request.startsWith("additional_chat_templates/rag.txt")));
    const path = `${cache}/${storage}/snapshots/${commit}/1_Pooling/config.json`;
    assert.match(await Deno.readLink(path), /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    assert.ok(hub.requests.every((request) => !request.startsWith("onnx")));
    hub.requests.length = 0;
    assert.equal((await load()).pooling, "mean");
    assert.equal(hub.requests.length, 0);
    await Deno.remove(await Deno.realPath(path));
    assert.equal((await load()).pooling, "mean");
    assert.deepEqual(hub.requests, ["1_Pooling/config.json whole"]);
  }));

const otherType = {
  name: "config.json",
  content: '{"model_type": "t5"}',
  why: /config\.json: model_type is "t5": use a model/,
};
const otherTokenizer = {
  name: "tokenizer.json",
  content: '{"model": {"type": "Bee"}}',
  why: /tokenizer\.json describes no tokenizer .* Bee/,
};

for (const { name, content, why } of [otherType, otherTokenizer]) {
  Deno.test(`a model whose ${name} is not read here is refused before its weights are downloaded, each time`, () =>
    withHub(2, async (hub, load) => {
      hub.files.set(name, new TextEncoder().encode(content));
      for (let time = 0; time < 2; time++) {
        await assert.rejects(load(), ({ message }: Error) => {
          assert.match(message, why);
          assert.match(message, /\(its weights were not downloaded\)$/);
          assert.doesNotMatch(message, /does not give it/);
          return true;
        });
      }
      assert.ok(hub.requests.length > 0 && !hub.requests.some((request) => request.startsWith("model")));
    }));
}

/** Fills the cache as transformers' AutoModel does, which does not ask for `modules.json`. */
async function fillAsPython(hub: FakeHub, cache: string): Promise<void> {
  await Deno.mkdir(`${cache}/${snapshot}`, { recursive: true });
  await Deno.mkdir(`${cache}/${storage}/refs`);
  await Deno.writeTextFile(`${cache}/${storage}/refs/main`, commit);
  for (const name of ["config.json", "model.safetensors", "vocab.txt"]) {
    await Deno.writeFile(`${cache}/${snapshot}/${name}`, hub.files.get(name)!);
  }
}

Deno.test("of a model that another program cached the hub is asked once how it pools, at the cached commit", () =>
  withHub(1, async (hub, load, cache) => {
    await fillAsPython(hub, cache);
    const encode = (text: string) => new TextEncoder().encode(text);
    hub.files.set("modules.json", encode(modulesJson()));
    hub.files.set("1_Pooling/config.json", encode(poolingJson("pooling_mode_mean_tokens")));
    hub.head = "f".repeat(40);
    const offline = () => loadEncoder(model, { hubUrl: deadUrl(), cacheFolder: cache });
    const before = await warned(offline);
    assert.equal(before.result.pooling, "first");
    assert.equal(before.lines.length, 1);
    assert.match(
      before.lines[0],
      /snapshots\/[0-9a-f]{40}: another program cached "acme\/tiny-roberta", perhaps without modules\.json, .*\(.*refuses connections/,
    );
    assert.equal((await load()).pooling, "mean");
    assert.deepEqual(hub.requests, ["1_Pooling/config.json whole", "modules.json whole"]);
    const { result, lines } = await warned(offline);
    assert.deepEqual([result.pooling, lines], ["mean", []]);
  }));

Deno.test("that a model has no modules.json is asked once as well, and noted as the Python library does", () =>
  withHub(1, async (hub, load, cache) => {
    const offline = () => warned(() => loadEncoder(model, { hubUrl: deadUrl(), cacheFolder: cache }));
    await fillAsPython(hub, cache);
    const { result, lines } = await warned(load);
    assert.deepEqual([result.pooling, lines], ["first", []]);
    assert.deepEqual(hub.requests, []);
    const note = `${cache}/${storage}/.no_exist/${commit}/modules.json`;
    assert.equal(await Deno.readTextFile(note), "");
    assert.deepEqual((await offline()).lines, []);
    await Deno.remove(note);
    assert.equal((await offline()).lines.length, 1);
    // As a download of this library's notes it.
    await Deno.remove(`${cache}/${storage}`, { recursive: true });
    await load();
    assert.deepEqual((await offline()).lines, []);
  }));

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

Deno.test("a download is on the disk before it has the name of its hash", () =>
  withHub(1, async (_, load) => {
    let synced = 0;
    const unsynced: string[] = [];
    const { syncData } = Deno.FsFile.prototype;
    const { rename } = Deno;
    Deno.FsFile.prototype.syncData = function () {
      synced++;
      return syncData.call(this);
    };
    Deno.rename = (from, to) => {
      if (synced === 0) unsynced.push(`${to}`);
      synced = 0;
      return rename(from, to);
    };
    try {
      await load();
    } finally {
      Deno.FsFile.prototype.syncData = syncData;
      Deno.rename = rename;
    }
    assert.deepEqual(unsynced, []);
  }));

Deno.test("where no links can be made, as with permissions for some paths only, the files themselves are the snapshot", () =>
  withHub(1, async (hub, load, cache) => {
    const { symlink } = Deno;
    Deno.symlink = () => Promise.reject(new Error("A required privilege is not held (os error 1314)"));
    try {
      assertLoaded(await load());
    } finally {
      Deno.symlink = symlink;
    }
    const folder = `${cache}/${snapshot}`;
    assert.ok(Array.from(Deno.readDirSync(folder)).every(({ isFile }) => isFile));
    hub.requests.length = 0;
    assertLoaded(await load());
    assert.deepEqual(hub.requests, []);
  }));

Deno.test("two loads at a time fetch every file once", () =>
  withHub(1, async (hub, load) => {
    for (const encoder of await Promise.all([load(), load()])) assertLoaded(encoder);
    assert.equal(new Set(hub.requests).size, hub.requests.length);
  }));

Deno.test("an option that loading a model has not is refused before anything is asked for", () =>
  withHub(1, async (hub, _, cache) => {
    const misspelt = { hubUrl: hub.url, cacheDir: cache } as HubOptions;
    const refusal = /^Error: the hub has no option "cacheDir"; it has hubUrl, cacheFolder$/;
    await assert.rejects(() => loadEncoder(model, misspelt), refusal);
    await assert.rejects(() => loadModel(model, { hub: misspelt }), refusal);
    await assert.rejects(
      () => loadDecoder(model, { maxToken: 8 } as DecoderOptions),
      /^Error: loadDecoder has no option "maxToken"; it has maxTokens, unpack, packing, hub$/,
    );
    await assert.rejects(
      () => loadModel(model, { cacheFolder: cache } as DecoderOptions),
      /^Error: loadModel has no option "cacheFolder"; it has maxTokens, unpack, packing, hub$/,
    );
    assert.deepEqual([hub.requests, hub.tokens.size], [[], 0]);
  }));

Deno.test("HF_ENDPOINT names the hub", () =>
  withHub(1, async (hub, _, cacheFolder) => {
    Deno.env.set("HF_ENDPOINT", `${hub.url}/`);
    try {
      assertLoaded(await loadEncoder(model, { cacheFolder }));
    } finally {
      Deno.env.delete("HF_ENDPOINT");
    }
  }));

Deno.test("the cache is where Python's library has it, by its variables, which may begin at the user's folder", () =>
  withHub(1, async (hub, _, cache) => {
    const home = `${cache}/home`;
    const names = [
      "HF_HUB_CACHE",
      "HUGGINGFACE_HUB_CACHE",
      "HF_HOME",
      "XDG_CACHE_HOME",
      "HOME",
      "USERPROFILE",
    ];
    const before = names.map((name) => [name, Deno.env.get(name)] as const);
    const set = (variables: Readonly<Record<string, string | undefined>>) => {
      for (const name of names) {
        if (variables[name] === undefined) Deno.env.delete(name);
        else Deno.env.set(name, variables[name]);
      }
    };
    const cases: [Readonly<Record<string, string>>, string][] = [
      [{}, `${home}/.cache/huggingface/hub`],
      [{ HF_HUB_CACHE: "", HF_HOME: "", XDG_CACHE_HOME: "" }, `${home}/.cache/huggingface/hub`],
      [{ XDG_CACHE_HOME: `${home}/xdg` }, `${home}/xdg/huggingface/hub`],
      [{ HF_HOME: "~/models" }, `${home}/models/hub`],
      [{ HF_HUB_CACHE: "$HOME/a/${HOME}/$NOT_THERE/~" }, `${home}/a/${home}/$NOT_THERE/~`],
      [{ HUGGINGFACE_HUB_CACHE: "~/old", HF_HOME: "~/models" }, `${home}/old`],
    ];
    try {
      for (const [variables, folder] of cases) {
        set({ HOME: home, ...variables });
        const { path } = await locateModel(model, { hubUrl: hub.url });
        assert.equal(path, `${folder}/${snapshot}`, JSON.stringify(variables));
      }
      set({});
      await assert.rejects(
        () => locateModel(model, { hubUrl: hub.url }),
        /^Error: there is no folder to keep models of the hub in: set HF_HOME, or HOME$/,
      );
    } finally {
      set(Object.fromEntries(before));
    }
  }));

Deno.test("HF_TOKEN is sent along, without the line feed of a file's end; what is no token is not told", () =>
  withHub(1, async (hub, load) => {
    try {
      for (const none of ["hf_secret\nhf_other", "hf_secret\u2192", "secret"]) {
        Deno.env.set("HF_TOKEN", none);
        await assert.rejects(load, (error: Error) => {
          assert.match(error.message, /^HF_TOKEN is no token of the hub's, which begin with hf_/);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        });
      }
      Deno.env.set("HF_TOKEN", "hf_secret\r\n");
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
      /^Error: there is no model "acme\/none" here: no folder, no \.gguf file, and not minilm or smollm2 \(deno task models\)\nhttp:.* does not give it either: .* 404 .*not found.*check the name[^\n]*$/,
    );
    await assert.rejects(
      () => loadEncoder("./none", other),
      /there is no folder or GGUF file \.\/none, and no model of the hub/,
    );
    await assert.rejects(() => loadEncoder("a/b/c", other), /there is no folder or GGUF file a\/b\/c/);
    (hub.files as Map<string, unknown>).delete("model.safetensors");
    await assert.rejects(load, /"acme\/tiny-roberta" on .* has no model\.safetensors: convert it/);
    // Python's library takes a folder of a model without snapshots for a damaged one, but not its locks.
    assert.deepEqual(Array.from(Deno.readDirSync(cacheFolder), ({ name }) => name), [".locks"]);
    const noUrl = { hubUrl: "hf-mirror.com", cacheFolder };
    await assert.rejects(
      () => loadEncoder("acme/none", noUrl),
      /^Error: the hub's URL is "hf-mirror\.com": write it with https:\/\/ before it \(HF_ENDPOINT, or hubUrl\)$/,
    );
  }));

const snapshot = `${storage}/snapshots/${commit}`;

/** Takes the cached file out of its snapshot, and its blob, or leaves the link to nothing. */
async function lose(cache: string, name: string, keepsLink: boolean): Promise<void> {
  const path = `${cache}/${snapshot}/${name}`;
  await Deno.remove(await Deno.realPath(path));
  if (!keepsLink) await Deno.remove(path);
}

const [shard, other] = ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"];

for (
  const [name, shards] of [[shard, 2], [other, 2], ["model.safetensors", 1], ["config.json", 2], [
    "vocab.txt",
    1,
  ]] as const
) {
  for (const keepsLink of [true, false]) {
    Deno.test(`a snapshot without ${name}${keepsLink ? ", which is a link to nothing," : ""} is completed with that file alone`, () =>
      withHub(shards, async (hub, load, cache) => {
        await load();
        await lose(cache, name, keepsLink);
        hub.requests.length = 0;
        assertLoaded(await load());
        assert.deepEqual(hub.requests, [`${name} whole`]);
        assertLoaded(await load());
        assert.equal(hub.requests.length, 1);
      }));
  }
}

Deno.test("a snapshot of plain files is completed as one of links, and a link to elsewhere is mended", () =>
  withHub(2, async (hub, load, cache) => {
    await Deno.mkdir(`${cache}/${snapshot}`, { recursive: true });
    await Deno.mkdir(`${cache}/${storage}/refs`);
    await Deno.writeTextFile(`${cache}/${storage}/refs/main`, commit);
    for (const [name, bytes] of hub.files) {
      if (name !== shard && name !== other) await Deno.writeFile(`${cache}/${snapshot}/${name}`, bytes);
    }
    await Deno.symlink("/elsewhere/blob", `${cache}/${snapshot}/${shard}`);
    assertLoaded(await load());
    assert.deepEqual(hub.requests, [`${other} whole`, `${shard} whole`]);
  }));

Deno.test("a tokenizer in two files is whole with both", () =>
  withHub(1, async (hub, load, cache) => {
    const files = hub.files as Map<string, Uint8Array<ArrayBuffer>>;
    files.delete("vocab.txt");
    const vocabulary = { "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, a: 4, "<mask>": 5 };
    files.set("vocab.json", new TextEncoder().encode(JSON.stringify(vocabulary)));
    files.set("merges.txt", new TextEncoder().encode("#version: 0.2\n"));
    await load();
    await lose(cache, "vocab.json", false);
    hub.requests.length = 0;
    assertLoaded(await load());
    assert.deepEqual(hub.requests, ["vocab.json whole"]);
  }));

/** The address of a port that nothing listens at. */
function deadUrl(): string {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return `http://127.0.0.1:${listener.addr.port}`;
}

Deno.test("without a network a snapshot that is not whole is refused with what it lacks, and a whole one loads", () =>
  withHub(2, async (_, load, cacheFolder) => {
    await load();
    const offline = () => loadEncoder(model, { hubUrl: deadUrl(), cacheFolder });
    assertLoaded(await offline());
    await lose(cacheFolder, shard, true);
    await assert.rejects(
      offline,
      /snapshots\/[0-9a-f]{40} lacks model-00002-of-00002\.safetensors, and the hub does not give it: .*127\.0\.0\.1:\d+, or the proxy .* refuses connections: .*check the network/,
    );
    await assert.rejects(
      () => loadEncoder(model, { hubUrl: "http://hub.invalid", cacheFolder }),
      /lacks model-00002-of-00002\.safetensors.* the network is missing, or nobody here knows the name hub\.invalid: connect/,
    );
  }));

const refusals: readonly (readonly [status: number, token: string | undefined, message: RegExp])[] = [
  [401, undefined, /no public model of this name: check it; for a private or gated model set HF_TOKEN/],
  [401, "hf_old", /does not take the token in HF_TOKEN: make a new one/],
  [403, undefined, /the model is gated: ask for access on its page, and set HF_TOKEN/],
  [403, "hf_mine", /the account of HF_TOKEN may not read this model: ask for access/],
  [404, undefined, /no such model or file: check the name/],
  [407, undefined, /the proxy wants a name and a password/],
  [429, undefined, /too many requests came from here: wait some minutes, or set HF_TOKEN/],
  [429, "hf_mine", /too many requests came from here: wait some minutes, and run again/],
  [500, undefined, /the server is in trouble, not your network: run again later/],
  [503, undefined, /the server is in trouble, not your network: run again later/],
];

Deno.test("each refusal of the hub's says what it means and what to do, for the model and for a file of it", () =>
  withHub(1, async (hub, load) => {
    for (const path of [/^\/api\/models/, /\/resolve\/.*config\.json$/, /\/tree\//]) {
      for (const [status, token, message] of refusals) {
        hub.refusal = { path, status };
        if (token) Deno.env.set("HF_TOKEN", token);
        try {
          await assert.rejects(load, (error: Error) => {
            assert.match(error.message, message);
            assert.match(
              error.message,
              new RegExp(`127\\.0\\.0\\.1:\\d+ answered ${status} .*"the hub's own words"`),
            );
            assert.ok(!token || !error.message.includes(token), "the token is told");
            return true;
          });
        } finally {
          Deno.env.delete("HF_TOKEN");
        }
      }
    }
  }));

Deno.test("a web page in place of the hub's answer is recognised", () =>
  withHub(1, async (hub, load) => {
    hub.refusal = { path: /^\/api/, status: 200, page: "<html>log in</html>" };
    await assert.rejects(load, /does not give it either: it answers with something else than a hub does/);
    // The server's text cannot send control characters to the terminal through a message.
    hub.refusal = { path: /^\/api/, status: 403, page: '{"error":"\u001b[2J"}' };
    await assert.rejects(load, (error: Error) => !/(?!\n)\p{Cc}/u.test(error.message));
  }));

Deno.test("a hub that stops in the middle of an answer is given up", () =>
  withFolder(async (cacheFolder) => {
    await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
      const begun = new ReadableStream({
        start: (body) => body.enqueue(new TextEncoder().encode('{"id": ')),
      });
      return new Response(begun, { headers: { "content-type": "application/json" } });
    });
    const { setTimeout } = globalThis;
    // A minute is 0.3 seconds.
    globalThis.setTimeout = ((body: () => void, milliseconds = 0) =>
      setTimeout(body, milliseconds / 200)) as typeof setTimeout;
    try {
      await assert.rejects(
        () => loadEncoder(model, { hubUrl: `http://127.0.0.1:${server.addr.port}`, cacheFolder }),
        /does not give it either: nothing came for 60 s$/,
      );
    } finally {
      globalThis.setTimeout = setTimeout;
    }
  }));

Deno.test("a GGUF file of a model is chosen by its name, a set by its first file, and nothing else is fetched", () =>
  withHub(1, async (hub, load, cache) => {
    const files = new URL("fixtures/gguf_files/", import.meta.url);
    const set = [1, 2, 3].map((i) => `set-0000${i}-of-00003.gguf`);
    for (const name of ["llama.gguf", ...set]) {
      hub.files.set(
        name === "llama.gguf" ? name : `parts/${name}`,
        await Deno.readFile(new URL(name, files)),
      );
    }
    const located = (file: string) =>
      locateModel(`${model}/${file}`, { hubUrl: hub.url, cacheFolder: cache });
    const { path, name, hubId } = await located("llama.gguf");
    assert.deepEqual([name, hubId], [`${model}/llama.gguf`, model]);
    assert.deepEqual(await Deno.readFile(path), await Deno.readFile(new URL("llama.gguf", files)));
    assert.deepEqual(hub.requests, ["llama.gguf whole"]);
    const inParts = await located(`parts/${set[0]}`);
    assert.ok((await readGguf(inParts.path)).places.size > 0);
    assert.deepEqual(hub.requests.slice(1), set.map((name) => `parts/${name} whole`));
    await located("llama.gguf");
    await located(`parts/${set[0]}`);
    assert.equal(hub.requests.length, 4);
    await Deno.remove(await Deno.realPath(inParts.path.replace("00001-of", "00002-of")));
    await located(`parts/${set[0]}`);
    assert.equal(hub.requests.at(-1), `parts/${set[1]} whole`);
    await assert.rejects(() => located("other.gguf"), /has no other\.gguf: there are llama\.gguf/);
    await assert.rejects(() => located("none/x.gguf"), /has no none\/x\.gguf|does not give it either/);
    assertLoaded(await load());
    hub.files.delete("model.safetensors");
    await Deno.remove(cache, { recursive: true });
    await assert.rejects(
      load,
      /has no model\.safetensors: name a GGUF file of it, such as acme\/tiny-roberta\/llama\.gguf/,
    );
  }));
