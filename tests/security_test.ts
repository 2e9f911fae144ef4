/**
 * What files from strangers cannot do: lead out of their folder, take memory without bound, be run, or be
 * read as markup. The README's "Security" says what is defended. safetensors headers, damaged files and
 * GitHub's summaries have tests of their own (safetensors_test, readers_fuzz_test, compare_test).
 */

import assert from "node:assert/strict";
import { lora } from "../lib/adapters/lora.ts";
import { attach } from "../lib/adapters/attach.ts";
import { readLabels } from "../lib/adapters/labels.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { glueTask } from "../lib/data/glue.ts";
import { taskFrom } from "../lib/data/registry.ts";
import { readSafetensors } from "../lib/models/safetensors.ts";
import { readTokenizer } from "../lib/models/hugging_face_tokenizer.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Weight } from "../lib/models/model.ts";
import { escapeMarkdown } from "../lib/escape_markdown.ts";
import { readCells } from "../lib/report/cell_table.ts";
import type { Cell } from "../lib/report/schema.ts";
import { isStudy } from "../tasks/report_table.ts";
import { tableByName, tables } from "../tasks/tables/registry.ts";
import fixture from "./fixtures/bert_reference.json" with { type: "json" };
import { cellFiles, madeUpCell, writeCellsTable } from "./support/cells.ts";
import { runTask } from "./support/command.ts";
import { commit, FakeHub, model as hubModel } from "./support/fake_hub.ts";
import { readParquet } from "../lib/data/parquet_file.ts";
import { parquetBytes } from "./support/glue_folders.ts";
import { writeCheckpoint } from "./support/seeded_checkpoint.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { withFolder } from "./support/files.ts";
import { jsonFiles } from "../lib/files.ts";

const config = fixture.cases.RoBERTa.config;

/** Makes a file of so many bytes that takes no room. */
async function writeSparse(path: string, bytes: number, beginning = new Uint8Array()): Promise<void> {
  await Deno.writeFile(path, beginning);
  await Deno.truncate(path, bytes);
}

/** Every file and folder under `folder`. */
function namesUnder(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? [name, ...namesUnder(`${folder}/${name}`).map((inner) => `${name}/${inner}`)] : [name]
  ).toSorted();
}

Deno.test("an index of shards names files of its own folder only", () =>
  withFolder(async (root) => {
    const folder = `${root}/model`;
    await writeCheckpoint(folder, config, { shards: 2 });
    await loadEncoder(folder);
    const [shard, index] = ["model-00001-of-00002.safetensors", `${folder}/model.safetensors.index.json`];
    // The files are there and whole: only their names are wrong.
    await Deno.mkdir(`${folder}/sub`);
    for (const place of [root, `${folder}/sub`]) {
      await Deno.copyFile(`${folder}/${shard}`, `${place}/${shard}`);
    }
    const { weight_map } = JSON.parse(await Deno.readTextFile(index));
    for (const name of [`../${shard}`, `${root}/${shard}`, `sub/${shard}`, `sub/../${shard}`, "..", ""]) {
      const moved = Object.entries(weight_map).map(([key, file]) => [key, file === shard ? name : file]);
      await Deno.writeTextFile(index, JSON.stringify({ weight_map: Object.fromEntries(moved) }));
      await assert.rejects(() => loadEncoder(folder), /model\.safetensors\.index\.json/, name);
    }
  }));

Deno.test("an adapter's tensors are those of its layers: a name that is a path is refused", () =>
  withFolder(async (folder) => {
    await writeAdapter(folder, "../../outside.weight");
    await assert.rejects(
      () => loadAdapter(folder, tinyEncoder()),
      /not expected \[\.\.\/\.\.\/outside\.weight\]/,
    );
  }));

/** A LoRA of the tiny encoder; with `extra`, its file holds an empty tensor of this name as well. */
async function writeAdapter(folder: string, extra?: string): Promise<void> {
  const model = tinyEncoder();
  const adapter = attach(model, lora, { r: 2, target: ["query"] });
  const weights = [...adapter.parameters].map(([name, { shape }]): [string, Weight] => [
    name,
    { shape, data: new Float32Array(shape[0] * shape[1]) },
  ]);
  await saveAdapter(folder, model, adapter, new Map(weights));
  if (extra === undefined) return;
  const path = `${folder}/adapter_model.safetensors`;
  const bytes = await Deno.readFile(path);
  const end = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, end)));
  header[extra] = { dtype: "F32", shape: [0], data_offsets: [0, 0] };
  await Deno.writeFile(path, withHeader(header, bytes.subarray(end)));
}

function withHeader(header: object, data = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

/** Runs `use` with a hub, and the root of the folder that its cache is in. */
async function withHub(
  use: (hub: FakeHub, load: () => Promise<unknown>, root: string) => Promise<void>,
): Promise<void> {
  await withFolder(async (root) => {
    await writeCheckpoint(`${root}/origin`, config);
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for await (const { name } of Deno.readDir(`${root}/origin`)) {
      files.set(name, await Deno.readFile(`${root}/origin/${name}`));
    }
    await Deno.remove(`${root}/origin`, { recursive: true });
    await using hub = new FakeHub(files);
    await use(hub, () => loadEncoder(hubModel, { hubUrl: hub.url, cacheFolder: `${root}/a/cache` }), root);
  });
}

Deno.test("the hub: of all that is listed, only the known names are fetched; nothing lies outside the cache", () =>
  withHub(async (hub, load, root) => {
    const files = hub.files as Map<string, Uint8Array<ArrayBuffer>>;
    const known = [...files.keys()];
    const strange = [
      "../../../outside.json",
      "sub/../../outside",
      "/outside",
      "run.py",
      "model.safetensors/../x",
    ];
    for (const name of strange) files.set(name, new Uint8Array(3));
    await load();
    assert.deepEqual(
      [...new Set(hub.requests.map((request) => request.split(" ")[0]))].sort(),
      known.toSorted(),
    );
    const links = namesUnder(root).filter((name) => name.includes(`snapshots/${commit}/`));
    assert.deepEqual(links.map((name) => name.split("/").at(-1)), known.toSorted());
    assert.deepEqual([...Deno.readDirSync(root)].map(({ name }) => name), ["a"]);
  }));

Deno.test("the hub: a commit or a hash that is a path is refused, and so is one in the cache", () =>
  withHub(async (hub, load, root) => {
    hub.head = "../../../outside";
    await assert.rejects(load, /is at commit "\.\.\/\.\.\/\.\.\/outside": that is none/);
    hub.head = commit;
    hub.hashes.set("config.json", "../../../outside");
    await assert.rejects(load, /gives config\.json the hash "\.\.\/\.\.\/\.\.\/outside", and that is none/);
    hub.hashes.clear();
    await load();
    const storage = `${root}/a/cache/models--acme--tiny-roberta`;
    await Deno.mkdir(`${root}/outside`);
    for await (const { name } of Deno.readDir(`${storage}/snapshots/${commit}`)) {
      await Deno.copyFile(`${storage}/snapshots/${commit}/${name}`, `${root}/outside/${name}`);
    }
    await Deno.writeTextFile(`${storage}/refs/main`, "../../../../outside");
    await load();
    assert.equal(await Deno.readTextFile(`${storage}/refs/main`), commit, "the model was asked for anew");
  }));

Deno.test("the hub: a file that is longer than announced is not taken to its end", () =>
  withHub(async (hub, load, root) => {
    const files = hub.files as Map<string, Uint8Array<ArrayBuffer>>;
    files.set("model.safetensors", new Uint8Array(2 ** 25));
    hub.announced.set("model.safetensors", 1000);
    await assert.rejects(load, /"model\.safetensors" of .* has not the size and hash that the hub announced/);
    assert.ok(hub.taken > 0 && hub.taken < 2 ** 24, `${hub.taken} bytes`);
    assert.ok(namesUnder(root).every((name) => !name.endsWith(".incomplete")));
  }));

Deno.test("tasks and tables are those of the registries, whatever path a name is", () =>
  withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/RTE`);
    for (const name of ["../RTE", "./RTE", "RTE/../RTE", "/etc", ".."]) {
      assert.throws(() => taskFrom(name, `${folder}/RTE`), /is read from a folder; those are CoLA/, name);
      assert.throws(() => tableByName(name, false), /no table/, name);
    }
  }));

/** A table's record, a cell's file and the labels of its data, by their paths. */
const tableFiles = await withFolder(async (folder) => {
  await writeCellsTable(`${folder}/first-table.json`, [madeUpCell()]);
  return (await jsonFiles(folder)).map((path) => path.slice(folder.length + 1));
});
assert.equal(tableFiles.length, 3);

/** How each file that describes a model, an adapter or a result is read, and what is put in its place. */
const described: Readonly<Record<string, (folder: string) => Promise<unknown>>> = {
  "config.json": loadEncoder,
  "model.safetensors.index.json": loadEncoder,
  "tokenizer.json": readTokenizer,
  "tokenizer_config.json": readTokenizer,
  "vocab.json": readTokenizer,
  "merges.txt": readTokenizer,
  "vocab.txt": readTokenizer,
  "adapter_config.json": (folder) => loadAdapter(folder, tinyEncoder()),
  "labels.json": (folder) => readLabels(folder, 2),
  ...Object.fromEntries(
    tableFiles.map((name) => [name, (folder: string) => readCells(`${folder}/first-table.json`)]),
  ),
};

/** A folder in which `name` is the file that is read. */
async function folderFor(root: string, name: string): Promise<string> {
  const folder = `${root}/${name}`;
  await writeCheckpoint(folder, config);
  if (name === "model.safetensors.index.json") await Deno.remove(`${folder}/model.safetensors`);
  if (name === "merges.txt") await Deno.writeTextFile(`${folder}/vocab.json`, "{}");
  if (tableFiles.includes(name)) await writeCellsTable(`${folder}/first-table.json`, [madeUpCell()]);
  if (name === "vocab.json") await Deno.writeTextFile(`${folder}/merges.txt`, "");
  return folder;
}

Deno.test("descriptions and results of more than 100 MB, or nested deeper than 127 levels, are refused by name", () =>
  withFolder(async (root) => {
    for (const [name, read] of Object.entries(described)) {
      const folder = await folderFor(root, name);
      const path = `${folder}/${name}`;
      await writeSparse(path, 100_000_001);
      const refused = new RegExp(`${name} has 100000001 bytes, and such a file has 100000000 at most`);
      await assert.rejects(() => read(folder), refused, name);
      if (name.endsWith(".txt")) continue;
      const nested = (levels: number) => '{"a":'.repeat(levels) + "1" + "}".repeat(levels);
      for (const levels of [128, 100_000]) {
        await Deno.writeTextFile(path, nested(levels));
        await assert.rejects(() => read(folder), new RegExp(`${name} nests deeper than 127 levels`), name);
      }
      await Deno.writeTextFile(path, nested(127));
      await read(folder).catch(({ message }) => assert.doesNotMatch(message, /nests deeper/, name));
    }
  }));

Deno.test("a device in place of a file is not read", () =>
  withFolder(async (folder) => {
    await Deno.symlink("/dev/zero", `${folder}/adapter_config.json`);
    await assert.rejects(() => loadAdapter(folder, tinyEncoder()), /adapter_config\.json is no file/);
    await Deno.remove(`${folder}/adapter_config.json`);
    await writeAdapter(folder);
    const path = `${folder}/adapter_model.safetensors`;
    await Deno.remove(path);
    await Deno.symlink("/dev/zero", path);
    for (const read of [() => loadAdapter(folder, tinyEncoder()), () => readSafetensors(path)]) {
      await assert.rejects(read, /adapter_model\.safetensors: .* no safetensors/);
    }
  }));

Deno.test("a configuration of a billion layers is refused before they are listed", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(folder, config);
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...config, num_hidden_layers: 1e9 }));
    await assert.rejects(() => loadEncoder(folder), /config\.json: num_hidden_layers: .*10000/);
  }));

Deno.test("an adapter's data are not read before its header fits the model: 64 GB take no memory", () =>
  withFolder(async (folder) => {
    await writeAdapter(folder);
    const path = `${folder}/adapter_model.safetensors`;
    const bytes = await Deno.readFile(path);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const [first, ...others] = Object.keys(header).filter((key) => key !== "__metadata__");
    header[first] = { dtype: "F32", shape: [2 ** 34], data_offsets: [0, 2 ** 36] };
    for (const key of others) header[key] = { dtype: "F32", shape: [0], data_offsets: [2 ** 36, 2 ** 36] };
    const beginning = withHeader(header);
    await writeSparse(path, beginning.length + 2 ** 36, beginning);
    await assert.rejects(() => loadAdapter(folder, tinyEncoder()), /is \[17179869184\], not \[/);
  }));

Deno.test("parquet: files, footers and pages beyond the bounds are refused by name, and so is a footer without a bottom", () =>
  withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/rte`);
    const path = `${folder}/rte/train-00000-of-00001.parquet`;
    const rows = Array.from(
      { length: 40 },
      (_, i) => ({ texts: [`a ${i}`, "b"], written: "entailment", id: i % 2 }),
    );
    const whole = parquetBytes("RTE", "train", rows);
    for (const side of ["validation", "train"]) {
      await Deno.writeFile(`${folder}/rte/${side}-00000-of-00001.parquet`, whole);
    }
    const load = () => glueTask("RTE", folder).load();
    assert.equal((await load()).train.length, 40);
    const refused = (message: RegExp) =>
      assert.rejects(load, ({ message: own }: Error) => own.includes(path) && message.test(own));

    await writeSparse(path, 2 ** 30 + 1);
    await refused(/it has 1073741825 bytes, and 1073741824 are the most/);
    const footer = new Uint8Array(2 ** 24 + 100);
    footer.set(new TextEncoder().encode("PAR1"), footer.length - 4);
    new DataView(footer.buffer).setUint32(footer.length - 8, 2 ** 24 + 1, true);
    await Deno.writeFile(path, footer);
    await refused(/its footer has 16777217 bytes, and 16777216 are the most/);
    // A structure within a structure within …: each a field of the one before.
    footer.fill(0x1c, 0, footer.length - 8);
    new DataView(footer.buffer).setUint32(footer.length - 8, 2 ** 20, true);
    await Deno.writeFile(path, footer);
    await refused(/is not readable as parquet/);
    await Deno.writeFile(path, withHugePage(whole));
    await refused(/a page unpacks to 10737418\d\d bytes, and 268435456 are the most/);
  }));

Deno.test("a parquet file that is made to hang its reader is refused by name when its time is over", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.parquet`;
    const rows = Array.from(
      { length: 40 },
      (_, i) => ({ texts: [`a ${i % 3}`, "b"], written: "entailment", id: i % 2 }),
    );
    const file = parquetBytes("RTE", "train", rows, "UNCOMPRESSED");
    const columns = ["sentence1", "sentence2", "label", "idx"];
    await Deno.writeFile(path, file);
    assert.equal((await readParquet(path, columns)).rows.length, 40);
    // The second page's header with the fields of another, and a size that leads back: found by changing bytes at random.
    [file[109], file[161]] = [0x25, 0xff];
    await Deno.writeFile(path, file);
    await assert.rejects(
      () => readParquet(path, columns, 3),
      ({ message }: Error) => message.startsWith(path) && /takes longer than 3 seconds/.test(message),
    );
  }));

/** The file with its last page's header saying that it unpacks to 1 GiB; as many bytes as that takes go from its data. */
function withHugePage(file: Uint8Array): Uint8Array {
  const end = file.length - 8 - new DataView(file.buffer, file.byteOffset).getUint32(file.length - 8, true);
  // Fields 1 to 3 of a page's header, in Thrift's compact protocol: type 3, size unpacked, size; each led by 0x15.
  const at = file.subarray(0, end).findLastIndex((byte, i) =>
    byte === 0x15 && file[i + 1] === 6 && file[i + 2] === 0x15
  );
  const varint = (from: number): [value: number, next: number] => {
    let value = 0, next = from;
    for (let shift = 0;; shift += 7) {
      value |= (file[next] & 0x7f) << shift;
      if (file[next++] < 0x80) return [value, next];
    }
  };
  const [, afterUnpacked] = varint(at + 3);
  const [size, afterSize] = varint(afterUnpacked + 1);
  // Zigzag of 2³⁰ is 2³¹: five bytes.
  const unpacked = [0x80, 0x80, 0x80, 0x80, 0x08];
  const added = unpacked.length - (afterUnpacked - at - 3);
  const smaller = size - 2 * added;
  const header = [
    0x15,
    6,
    0x15,
    ...unpacked,
    0x15,
    ...smaller < 0x80 ? [smaller] : [smaller & 0x7f | 0x80, smaller >> 7],
  ];
  const cut = header.length - (afterSize - at);
  return Uint8Array.from([
    ...file.subarray(0, at),
    ...header,
    ...file.subarray(afterSize, end - cut),
    ...file.subarray(end),
  ]);
}

Deno.test("nothing of a model's folder is run: it loads without any permission but to read it", () =>
  withFolder(async (folder) => {
    await writeCheckpoint(folder, {
      ...config,
      auto_map: { AutoModel: "run.Model" },
      custom_pipelines: { run: { impl: "./run.js" } },
      torch_dtype: "run.js",
    });
    const settings = {
      tokenizer_class: "./run.js",
      chat_template: "{{ ''.__class__.__mro__ }}",
      auto_map: "run",
    };
    await Deno.writeTextFile(`${folder}/tokenizer_config.json`, JSON.stringify(settings));
    const trap = `Deno.writeTextFileSync(${JSON.stringify(`${folder}/trap`)}, ""); Object.prototype.run = 1;`;
    for (const name of ["run.js", "run.ts", "index.js", "mod.ts", "pytorch_model.bin", "deno.json"]) {
      await Deno.writeTextFile(`${folder}/${name}`, trap);
    }
    const library = new URL("../mod.ts", import.meta.url).href;
    const script = `import { loadEncoder } from ${JSON.stringify(library)};
      const { weights } = await loadEncoder(${JSON.stringify(folder)});
      for (const { data } of weights.values()) data.length;
      console.log(weights.size, Object.prototype.run);`;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--quiet",
        `--allow-read=${folder}`,
        `data:text/javascript,${encodeURIComponent(script)}`,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(new TextDecoder().decode(stdout).trim(), "37 undefined", new TextDecoder().decode(stderr));
    assert.ok(!namesUnder(folder).includes("trap"));
  }));

/**
 * Text that would be read as markup, a table column, a line break, a terminal command or a change of text
 * direction.
 */
const strange =
  "x|y\n\n# <script>alert(1)</script> [a](http://b) ![c](d) `e` **f** @g &amp; \u001b[31m\u202e\"'";

Deno.test("report: texts of result files are shown letter for letter in pages and charts, and name no path", () =>
  withFolder(async (folder) => {
    const cell = madeUpCell();
    const metrics = { [strange]: 0.5 };
    const hostile: Cell = {
      ...cell,
      table: "../outside",
      profile: strange,
      task: strange,
      model: strange,
      label: strange,
      method: strange,
      options: { [strange]: strange },
      target: [strange],
      headline: strange,
      best: metrics,
      last: metrics,
      epochs: [{ epoch: 0, trainLoss: 1, metrics }],
      environment: {
        ...cell.environment,
        adapter: strange,
        system: strange,
        runtime: strange,
        commit: strange,
      },
    };
    await writeCellsTable(`${folder}/in/first-table.json`, [hostile]);
    const { code, stdout, stderr } = await runTask("report", [`${folder}/in`, "--out", `${folder}/out`]);
    assert.equal(code, 0, stderr);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).toSorted(), ["in", "out"]);
    const page = await Deno.readTextFile(`${folder}/out/first-table.md`);
    for (const control of ["\u001b", "\u202e"]) assert.ok(!(stdout + page).includes(control));
    // The p-values of the committed table below are < 0.001.
    assert.doesNotMatch(page, /<(?! 0\.001)|>|(?<!\\)(`e|\*\*f|\[a\]|\[c\])|[^\\]@g|&amp;(?!amp;)/);
    assert.match(page, /x\\\|y # &lt;script&gt;alert\(1\)&lt;\/script&gt; \\\[a\\\]\(http:\/\/b\)/);
    const columnsOf = (line: string) => line.match(/(?<!\\)\|/g)!.length;
    for (const [, rows] of page.matchAll(/((?:^\|.*\n)+)/gm)) {
      assert.equal(new Set(rows.trim().split("\n").map(columnsOf)).size, 1, rows);
    }
    const chart = await Deno.readTextFile(`${folder}/out/first-table.svg`);
    assert.doesNotMatch(chart, /<script/);
    assert.match(chart, /&lt;script&gt;/);
  }));

Deno.test("what the registries' names mean on a page is what they are", () => {
  const labels = tables.flatMap((table) => isStudy(table) ? [] : table.rows.map(({ label }) => label));
  for (const label of labels) assert.equal(escapeMarkdown(label), label);
});

Deno.test("an error that quotes a file gives the terminal no orders", () =>
  withFolder(async (folder) => {
    await writeCellsTable(`${folder}/first-table.json`, [madeUpCell()]);
    const [path] = await cellFiles(folder, "LoRA");
    const bad = { ...madeUpCell(), last: { "\u001b]0;title\u0007": "none" } };
    await Deno.writeTextFile(path, JSON.stringify(bad));
    const { code, stderr } = await runTask("report", [folder, "--out", `${folder}/out`]);
    assert.equal(code, 1);
    assert.match(stderr, /lora-[0-9a-f]{12}-s0\.json: last\.\ufffd\]0;title\ufffd: /);
  }));
