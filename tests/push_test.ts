/** Folders pushed to the hub, with a local server in its place: every byte arrives, or none, and it is said which. */

import assert from "node:assert/strict";
import { cardText } from "../lib/adapters/card/card.ts";
import { destinationOf } from "../tasks/push/destination.ts";
import { encodeSafetensors } from "../lib/models/safetensors.ts";
import { pushOf } from "../tasks/push/option.ts";
import { pushFolder } from "../tasks/push/push_folder.ts";
import { UsageError } from "../tasks/usage.ts";
import { cardFields } from "./support/card_fields.ts";
import { outputOf, runTask, startTask } from "./support/command.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { FakePushHub, token } from "./support/fake_push_hub.ts";
import { withFiles, withFolder } from "./support/files.ts";

const id = "acme/pets";
const card = (title: string) => cardText({ fields: { library_name: "peft" }, parts: [`# ${title}`] });
const files: Readonly<Record<string, string | Uint8Array>> = {
  "README.md": card("Pets"),
  "adapter_config.json": '{"peft_type": "LORA"}\n',
  "adapter_model.safetensors": crypto.getRandomValues(new Uint8Array(50_000)),
  "labels.json": "",
};

const bytesOf = (content: string | Uint8Array) =>
  typeof content === "string" ? new TextEncoder().encode(content) : content;

/** Runs `body` with these variables of the environment. */
async function withEnvironment(
  variables: Readonly<Record<string, string>>,
  body: () => Promise<void>,
): Promise<void> {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    await body();
  } finally {
    for (const [name, value] of before) {
      value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    }
  }
}

/** Runs `body` with a hub, a folder with `files`, and what pushes it and gives the lines that are said. */
async function withHub(
  body: (hub: FakePushHub, push: () => Promise<string[]>, folder: string) => Promise<void>,
): Promise<void> {
  await using hub = new FakePushHub();
  await withEnvironment(
    { HF_ENDPOINT: `${hub.url}/`, HF_TOKEN: token },
    () =>
      withFiles(files, (folder) =>
        body(hub, async () => {
          const said: string[] = [];
          await pushFolder(folder, await destinationOf(id), (line) => said.push(line));
          return said;
        }, folder)),
  );
}

/** The repository has exactly these files, and the hub's own. */
function assertThere(hub: FakePushHub, wanted: Readonly<Record<string, string | Uint8Array>>): void {
  const { files } = hub.repositories.get(id)!;
  assert.deepEqual([...files.keys()].toSorted(), [".gitattributes", ...Object.keys(wanted)].toSorted());
  for (const [name, content] of Object.entries(wanted)) {
    assert.deepEqual(new Uint8Array(files.get(name)!), new Uint8Array(bytesOf(content)), name);
  }
}

Deno.test("a folder becomes a private repository in one commit, and every byte arrives", () =>
  withHub(async (hub, push, folder) => {
    await Deno.mkdir(`${folder}/1_Pooling`);
    await Deno.writeTextFile(`${folder}/1_Pooling/a name é#%.json`, "{}");
    const names = ["1_Pooling/a name é#%.json", ...Object.keys(files)];
    assert.deepEqual(await push(), [
      `pushing 5 files, 49 KiB, to ${id}: ${names.join(", ")}`,
      `pushed: ${hub.url}/${id}`,
    ]);
    assertThere(hub, { ...files, "1_Pooling/a name é#%.json": "{}" });
    const { visibility, commits } = hub.repositories.get(id)!;
    assert.deepEqual([visibility, commits], ["private", ["Upload an adapter"]]);
    assert.equal(hub.uploaded.size, 1);
  }));

Deno.test("what is pushed again replaces what was there, and large files that are there are not sent again", () =>
  withHub(async (hub, push, folder) => {
    await push();
    await Deno.remove(`${folder}/labels.json`);
    await Deno.writeTextFile(`${folder}/README.md`, card("Other pets"));
    hub.requests.length = 0;
    assert.ok((await push()).includes("to be deleted on the hub, of an earlier push: labels.json"));
    const { "labels.json": _, ...left } = files;
    assertThere(hub, { ...left, "README.md": card("Other pets") });
    assert.equal(hub.repositories.get(id)!.commits.length, 2);
    assert.ok(!hub.requests.some((request) => /^PUT|create/.test(request)), `${hub.requests}`);
  }));

Deno.test("a repository that is there but has nothing to list is not made again", () =>
  withHub(async (hub, push) => {
    hub.put(id, { ".gitattributes": "" });
    hub.refusal = { request: /^GET .*\/tree\//, status: 404 };
    await push();
    assertThere(hub, files);
    assert.equal(hub.repositories.get(id)!.visibility, "public", "as it was");
  }));

Deno.test("large files in several parts", () =>
  withHub(async (hub, push) => {
    hub.partSize = 16_384;
    await push();
    assertThere(hub, files);
    assert.equal(hub.requests.filter((request) => request.startsWith("PUT /lfs/")).length, 4);
  }));

Deno.test("a card that somebody has edited on the hub stays, and is told of", () =>
  withHub(async (hub, push) => {
    for (const edited of [`${card("Pets")}Made by us.\n`, "# By hand\n", ""]) {
      hub.put(id, { ".gitattributes": "", "README.md": edited });
      assert.deepEqual((await push())[0], "README.md on the hub was written or edited by somebody: it stays");
      assertThere(hub, { ...files, "README.md": edited });
    }
    hub.put(id, { ".gitattributes": "", "README.md": card("Before") });
    assert.deepEqual((await push()).length, 2);
    assertThere(hub, files);
  }));

Deno.test("hidden files are not pushed, and named", () =>
  withHub(async (hub, push, folder) => {
    for (const inside of [".git", "1_Pooling"]) await Deno.mkdir(`${folder}/${inside}`);
    for (const name of [".env", ".git/config", "1_Pooling/config.json", "1_Pooling/.DS_Store"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "{}");
    }
    assert.equal(
      (await push())[0],
      "not pushed, as hidden files are not: .env, .git, 1_Pooling/.DS_Store",
    );
    assertThere(hub, { ...files, "1_Pooling/config.json": "{}" });
  }));

Deno.test("a link to a file is pushed as the file; one to a folder, where hidden files may lie, and one to nothing are refused", () =>
  withHub(async (hub, push, folder) => {
    await withFiles({ ".env": "key", "one.txt": "1" }, async (elsewhere) => {
      for (const target of [elsewhere, `${elsewhere}/none`]) {
        await Deno.symlink(target, `${folder}/linked`);
        await assert.rejects(
          push,
          /^Error: acme\/pets was not pushed: linked in it is a link, and not to a file: .*\n.*nothing of it/,
        );
        await Deno.remove(`${folder}/linked`);
      }
      assert.equal(hub.repositories.size, 0);
      await Deno.symlink(`${elsewhere}/one.txt`, `${folder}/linked.txt`);
      await push();
      assertThere(hub, { ...files, "linked.txt": "1" });
    });
  }));

Deno.test("an adapter of another origin, or another form of this one, is not written over: each stays as it is", () =>
  withHub(async (hub, push, folder) => {
    const tensors = new Map([["a", { shape: [1], data: Float32Array.of(1) }]]);
    const adapterOf = (metadata: Record<string, string>) => ({
      "adapter_config.json": "{}",
      "adapter_model.safetensors": encodeSafetensors(tensors, metadata),
    });
    const byHand = { "README.md": "# By hand\n" };
    for (
      const [there, message] of [
        [
          { ...byHand, ...adapterOf({}) },
          /with files that @bora\/webgpu did not push: adapter_config\.json, adap/,
        ],
        [
          { ...byHand, "adapter_model.safetensors": "short" },
          /did not push: adapter_model\.safetensors\. Push/,
        ],
        [
          { "README.md": card("Pets"), "adapter.gguf": "", "export.json": "", "model.gguf": "" },
          /with files that are not of what is pushed: adapter\.gguf, model\.gguf\. Push to another name/,
        ],
      ] as const
    ) {
      const before = new Map(hub.put(id, there).files);
      await assert.rejects(push, message);
      assert.deepEqual(hub.repositories.get(id)!.files, before);
    }
    const forModel = { "README.md": card("Pets"), "labels.json": "", "config.json": "{}" };
    hub.put(id, forModel);
    for (const name of Object.keys(files)) await Deno.remove(`${folder}/${name}`);
    await Deno.writeTextFile(`${folder}/config.json`, "{}");
    await assert.rejects(push, /not of what is pushed: labels\.json\. Push/);
    // A card that no longer says who wrote it: the tensors do.
    await Deno.remove(`${folder}/config.json`);
    for (const [name, content] of Object.entries(files)) {
      await Deno.writeFile(`${folder}/${name}`, bytesOf(content) as Uint8Array<ArrayBuffer>);
    }
    hub.put(id, { ".gitattributes": "", ...byHand, ...adapterOf({ bora_webgpu_version: "0.1.0" }) });
    await push();
    assertThere(hub, { ...files, ...byHand });
  }));

Deno.test("a repository with other files is refused, before anything is computed for it as well, and stays as it is", () =>
  withHub(async (hub, push, folder) => {
    const names = ["config.json", "model.safetensors", "a", "b", "c", "d"];
    const { files: there } = hub.put(id, Object.fromEntries(names.map((name) => [name, ""])));
    const message =
      /acme\/pets is on the hub already, with files that @bora\/webgpu did not push: config\.json, model\.safetensors, a, b, c, … \(6\)\. Push to another name/;
    await assert.rejects(push, message);
    await assert.rejects(
      push,
      new RegExp(`${folder} is whole; nothing of it is on the hub\\. To push again: deno task`),
    );
    await assert.rejects(() => pushOf(id, "adapter"), message);
    assert.deepEqual([...there.keys()], names);
    // The files of a merged model are known when it is written.
    assert.equal((await pushOf(id, "model"))!.repo, id);
    assert.equal(await pushOf(undefined, "adapter"), undefined);
    for (const name of names) await Deno.writeTextFile(`${folder}/${name}`, name);
    await assert.rejects(push, message, "files of the same names do not make them ours");
    there.set(".gitattributes", new Uint8Array());
    there.set("README.md", new TextEncoder().encode(card("Pets")));
    await push();
    assertThere(hub, { ...files, ...Object.fromEntries(names.map((name) => [name, name])) });
  }));

Deno.test("no token, no token of the hub's, one that may only read, and one that is refused", () =>
  withHub(async (hub, push) => {
    const refused = async (
      HF_TOKEN: string,
      message: RegExp,
      kind: ErrorConstructor = UsageError as ErrorConstructor,
    ) =>
      await withEnvironment({ HF_TOKEN }, () =>
        assert.rejects(push, (error: Error) => {
          assert.ok(error instanceof kind, `${error.stack}`);
          assert.match(error.message, message);
          assert.ok(HF_TOKEN === "" || !error.message.includes(HF_TOKEN), "the token is told");
          return true;
        }));
    const where = `${hub.url}/settings/tokens`;
    await refused("", new RegExp(`^to push, set HF_TOKEN to a token that may write: ${where} makes one$`));
    for (const none of ["my password", "hf_one\nhf_two", "hf_one two", "hf_eins\u2192"]) {
      await refused(none, /^HF_TOKEN is no token of the hub's, which begin with hf_ and have no spaces/);
    }
    await refused(
      "hf_old",
      new RegExp(
        `answered 401 .*"Invalid username or password\\.".*: it does not take the token in HF_TOKEN: .* ${where}$`,
      ),
      Error,
    );
    hub.role = "read";
    await refused(token, /^the token in HF_TOKEN may only read: make one that may write/);
    for (const id of ["pets", "./pets", "acme/pets/cats", "acme/", ""]) {
      await assert.rejects(() => destinationOf(id), /is no id of a repository: it is the name of a user/);
    }
    assert.equal(hub.repositories.size, 0);
  }));

for (
  const [request, status, message, state] of [
    [
      /repos\/create/,
      403,
      /may not write to acme\/pets: check the name before the slash/,
      "nothing of it is on the hub",
    ],
    [/preupload/, 500, /the server is in trouble/, "the repository was made, and is empty"],
    [/objects\/batch/, 403, /may not write to acme\/pets/, "the repository was made, and is empty"],
    [/PUT \/lfs/, 503, /the server is in trouble/, "the repository was made, and is empty"],
    [
      /\/commit\//,
      412,
      /somebody else has changed acme\/pets meanwhile/,
      "the repository was made, and is empty",
    ],
    [/\/commit\//, 404, /there is no acme\/pets that the token/, "the repository was made, and is empty"],
    [
      /\/commit\//,
      504,
      /the server is in trouble/,
      "whether the hub has taken its files is not known: look at http",
    ],
  ] as const
) {
  Deno.test(`a push that is refused with ${status} at ${request.source} is said to be, with what is on the hub`, () =>
    withHub(async (hub, push, folder) => {
      hub.refusal = { request, status };
      await assert.rejects(push, (error: Error) => {
        const [first, second] = error.message.split("\n");
        assert.match(first, /^acme\/pets was not pushed: 127\.0\.0\.1:\d+ answered \d+ /);
        assert.match(first, message);
        assert.ok(second.startsWith(`${folder} is whole; ${state}`), second);
        assert.ok(second.endsWith(`. To push again: deno task push ${folder} ${id}`), second);
        return true;
      });
      assert.deepEqual([...hub.repositories.get(id)?.commits ?? []], []);
      hub.refusal = undefined;
      await push();
      assertThere(hub, files);
    }));
}

Deno.test("a line that breaks: nothing is in the repository, or it is said that this is not known; pushing again mends it", () =>
  withHub(async (hub, push) => {
    // Amid the large file.
    hub.line.breaksAfter = 20_000;
    await assert.rejects(
      push,
      /^Error: acme\/pets was not pushed: .*(broke off|refuses connections).*\n.* is whole; the repository was made, and is empty\. To push/,
    );
    assert.deepEqual([...hub.repositories.get(id)!.files.keys()], [".gitattributes"]);
    assert.equal(hub.uploaded.size, 0);
    hub.line.breaksAfter = Infinity;
    hub.losesCommitsAnswer = true;
    await assert.rejects(
      push,
      /whether the hub has taken its files is not known: look at http.*\/acme\/pets\. To push/,
    );
    hub.losesCommitsAnswer = hub.line.losesAnswers = false;
    await push();
    assertThere(hub, files);
  }));

Deno.test("a line that is broken from the beginning is said to be before anything is computed", () =>
  withHub(async (hub) => {
    hub.line.breaksAfter = 0;
    await assert.rejects(
      () => pushOf(id, "adapter"),
      /^Error: the connection to 127\.0\.0\.1:\d+ broke off: run again/,
    );
  }));

for (
  const [request, state] of [
    [/^PUT \/lfs/, "the repository was made, and is empty"],
    [/\/commit\//, "whether the hub has taken its files is not known: look at http"],
  ] as const
) {
  Deno.test(`Ctrl-C at ${request.source} says what is on the hub, and how to go on`, () =>
    withHub(async (hub, push, folder) => {
      hub.silence = request;
      const child = startTask("push", [folder, id], { env: { HF_ENDPOINT: hub.url, HF_TOKEN: token } });
      const ended = outputOf(child);
      while (!hub.requests.some((asked) => request.test(asked))) {
        await new Promise((go) => setTimeout(go, 10));
      }
      child.kill("SIGINT");
      const { code, stderr } = await ended;
      assert.equal(code, 130);
      assert.ok(stderr.includes(`acme/pets was not pushed: stopped\n${folder} is whole; ${state}`), stderr);
      hub.silence = undefined;
      await push();
      assertThere(hub, files);
    }));
}

Deno.test("finetune, export and merge push what they write, and push a folder by itself", () =>
  withFolder(async (at) => {
    await using hub = new FakePushHub();
    const env = { HF_ENDPOINT: hub.url, HF_TOKEN: token };
    const [model, adapter] = [`${at}/model`, `${at}/adapter`];
    await writeDecoder(model, cases.SmolLM2);
    const rows = Array.from({ length: 20 }, (_, i) => ({ prompt: "abc"[i % 3], completion: "xyz"[i % 3] }));
    await Deno.writeTextFile(`${at}/train.jsonl`, rows.map((row) => JSON.stringify(row)).join("\n"));
    const run = async (name: string, ...args: string[]) => {
      const { code, stdout, stderr } = await runTask(name, args, env);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    const training = ["--train", `${at}/train.jsonl`, "--epochs", "1", "--max-tokens", "16"];
    const from = ["--model", model, "--adapter", adapter];
    const told = await run(
      "finetune",
      "--model",
      model,
      ...training,
      "--out",
      adapter,
      "--push",
      "acme/adapter",
    );
    assert.match(
      told,
      new RegExp(
        `^BoRA with .*: ${adapter}\\npushing 3 files, .* to acme/adapter: README.md, adapter.*\\npushed: http`,
        "m",
      ),
    );
    await run("export", ...from, "--out", `${at}/lora`, "--push", "acme/lora");
    await run("export", ...from, "--format", "gguf", "--out", `${at}/gguf`, "--push", "acme/gguf");
    await run("merge", ...from, "--out", `${at}/merged`, "--push", "acme/merged");
    await run("push", `${at}/merged`, "acme/again");
    for (
      const [name, folder, library] of [
        ["adapter", "adapter", "bora-webgpu"],
        ["lora", "lora", "peft"],
        ["gguf", "gguf", "llama.cpp"],
        ["merged", "merged", "transformers"],
        ["again", "merged", "transformers"],
      ]
    ) {
      const { files, commits } = hub.repositories.get(`acme/${name}`)!;
      const names = [...Deno.readDirSync(`${at}/${folder}`)].map(({ name }) => name).toSorted();
      assert.deepEqual([...files.keys()].filter((path) => path !== ".gitattributes").toSorted(), names);
      for (const own of names) {
        assert.deepEqual(new Uint8Array(files.get(own)!), await Deno.readFile(`${at}/${folder}/${own}`), own);
      }
      assert.equal(cardFields(new TextDecoder().decode(files.get("README.md"))).library_name, library);
      assert.deepEqual(commits, [library === "transformers" ? "Upload a model" : "Upload an adapter"]);
    }
    hub.refusal = { request: /preupload/, status: 503 };
    const failed = await runTask("export", [...from, "--out", `${at}/kept`, "--push", "acme/kept"], env);
    assert.equal(failed.code, 1);
    assert.match(failed.stdout, /^exported: .*kept$/m);
    assert.match(
      failed.stderr,
      new RegExp(`kept is whole; .* To push again: deno task push ${at}/kept acme/kept$`, "m"),
    );
    hub.refusal = undefined;
    await run("push", `${at}/kept`, "acme/kept");
    assert.equal(hub.repositories.get("acme/kept")!.commits.length, 1);
    hub.silence = /preupload/;
    const stopped = startTask("export", [...from, "--out", `${at}/stopped`, "--push", "acme/stopped"], {
      env,
    });
    const ended = outputOf(stopped);
    while (!hub.requests.includes("POST /api/models/acme/stopped/preupload/main")) {
      await new Promise((go) => setTimeout(go, 10));
    }
    stopped.kill("SIGINT");
    assert.match(
      (await ended).stderr,
      /^\nacme\/stopped was not pushed: stopped\n.*stopped is whole; the repository was made/,
    );
    hub.silence = undefined;
    // A token that is missing is told before the model is read, which does not exist either.
    const early = ["--model", `${at}/none`, "--adapter", adapter, "--out", `${at}/none`, "--push", "acme/x"];
    for (
      const [name, args] of [["export", early], ["merge", early], ["finetune", [
        ...early.slice(0, 2),
        ...early.slice(4),
        ...training,
      ]]] as const
    ) {
      const { code, stderr } = await runTask(name, args, { HF_ENDPOINT: hub.url, HF_TOKEN: "" });
      assert.deepEqual([code, stderr.includes("set HF_TOKEN to a token that may write")], [2, true], stderr);
    }
    const { code, stderr } = await runTask("push", [at, "acme/x"], env);
    assert.deepEqual([code, /holds no adapter and no model/.test(stderr)], [2, true]);
    assert.match((await runTask("push", [at], env)).stderr, /give a folder and USER\/NAME/);
  }));
