/** The store of cells: packed numbers, names that digests decide, and damage that is named. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { deflateRawSync } from "node:zlib";
import * as v from "npm:valibot@1.5.0";
import { jsonFiles, readText } from "../lib/files.ts";
import { CellStore } from "../lib/report/cell_store.ts";
import { readCells } from "../lib/report/cell_table.ts";
import {
  type PackedNumbers,
  packedSchema,
  packNumbers,
  unpackNumbers,
} from "../lib/report/packed_numbers.ts";
import { type Cell, settingsDigest } from "../lib/report/schema.ts";
import { cellFiles, labelsOf, madeUpCell, storedCell, writeCellsTable } from "./support/cells.ts";
import { withFolder } from "./support/files.ts";

const f32 = (values: readonly number[]) => [...Float32Array.from(values)];

Deno.test("packed numbers come back: bytes exactly, others as float32, in text that fits the schema", () => {
  const all = Array.from({ length: 256 }, (_, i) => i);
  for (
    const [values, dtype] of [
      [[], "u8"],
      [[0], "u8"],
      [all, "u8"],
      [Array.from({ length: 8000 }, (_, i) => i * i % 45), "u8"],
      [[256], "f32"],
      [[-1, 2], "f32"],
      [[0.1, -2.5e-30, 3e38, Infinity, -Infinity, NaN], "f32"],
    ] as const
  ) {
    const packed = packNumbers(values);
    assert.equal(packed.dtype, dtype);
    assert.equal(packed.count, values.length);
    assert.deepEqual(v.parse(packedSchema, JSON.parse(JSON.stringify(packed))), packed);
    assert.deepEqual(unpackNumbers(packed), dtype === "u8" ? [...values] : f32(values));
  }
});

Deno.test("packed numbers: the bytes are little-endian float32 under a raw deflate, as other programs read them", () => {
  // base64.b64encode(zlib.compressobj(9, zlib.DEFLATED, -15) of struct.pack("<2f", 0.5, -2)), in Python.
  assert.deepEqual(unpackNumbers({ dtype: "f32", count: 2, deflated: "Y2BgsGdgYDgAAA==" }), [0.5, -2]);
});

Deno.test("packed numbers that are damaged, or not as many as they say, are refused", () => {
  const packed = packNumbers([1, 2, 3, 4, 5, 6, 7, 8]);
  const refused = (changes: Partial<PackedNumbers>, message: RegExp) =>
    assert.throws(() => unpackNumbers({ ...packed, ...changes }), message);
  refused({ count: 9 }, /packed numbers hold 8 bytes, not 9/);
  refused({ dtype: "f32" }, /packed numbers hold 8 bytes, not 32/);
  refused({ count: 6 }, /packed numbers (are damaged|hold 8 bytes, not 6)/);
  refused({ count: 7 }, /packed numbers (are damaged|hold 8 bytes, not 7)/);
  refused({ deflated: packed.deflated.slice(4) }, /packed numbers/);
  refused({ deflated: "" }, /packed numbers are damaged/);
  for (
    const changes of [
      { deflated: "a-b!" },
      { count: -1 },
      { count: 0.5 },
      { count: 10_000_001 },
      { dtype: "f64" },
    ]
  ) {
    assert.ok(!v.safeParse(packedSchema, { ...packed, ...changes }).success, JSON.stringify(changes));
  }
});

Deno.test("a gigabyte of zeros in a megabyte of text is not unpacked", () => {
  const piece = Buffer.alloc(1 << 26);
  // Deflated pieces that end on a byte can be joined, as all but the last may.
  const bomb = Buffer.concat(Array.from({ length: 16 }, () => deflateRawSync(piece, { finishFlush: 2 })));
  const before = Deno.memoryUsage();
  assert.throws(
    () => unpackNumbers({ dtype: "u8", count: 10, deflated: bomb.toString("base64") }),
    /packed numbers are damaged/,
  );
  const { rss, external } = Deno.memoryUsage();
  assert.ok(rss - before.rss < 2 ** 27, `${rss - before.rss} bytes more`);
  assert.ok(external - before.external < 2 ** 27);
});

Deno.test("the settings' digest: whatever the order of keys, and without those that are undefined", async () => {
  const options = { r: 8, alpha: 16, blocks: 16 };
  const reversed = { blocks: 16, alpha: 16, r: 8 };
  const { training } = madeUpCell();
  const turned = Object.fromEntries(Object.entries(training).toReversed()) as Cell["training"];
  const digest = await settingsDigest(madeUpCell({ options }));
  assert.match(digest, /^[0-9a-f]{64}$/);
  const shuffled = Object.fromEntries(
    Object.entries(madeUpCell({ options })).toReversed(),
  ) as unknown as Cell;
  for (
    const same of [
      madeUpCell({ options: reversed }),
      madeUpCell({ options, training: turned }),
      madeUpCell({ options, training: { ...training, warmupSteps: undefined } }),
      shuffled,
    ]
  ) {
    assert.equal(await settingsDigest(same), digest);
  }
  // An order that means something is kept: that of a list.
  const target = ["query", "value"];
  assert.notEqual(
    await settingsDigest(madeUpCell({ target })),
    await settingsDigest(madeUpCell({ target: target.toReversed() })),
  );
  assert.notEqual(
    await settingsDigest(madeUpCell({ options: { r: "8" } })),
    await settingsDigest(madeUpCell({ options: { r: 8 } })),
  );
});

Deno.test("a cell with other settings, such as bits or a learning rate, is another file; the same again replaces its own", () =>
  withFolder(async (folder) => {
    const store = await CellStore.open(folder);
    const write = (cell: Cell) => store.write(storedCell(cell), { dev: labelsOf(8) });
    const { training } = madeUpCell();
    const others = [
      madeUpCell(),
      madeUpCell({ golden: "0".repeat(64) }),
      madeUpCell({ training: { ...training, learningRate: 0.01 } }),
      madeUpCell({ seed: 1 }),
      madeUpCell({ seed: 11 }),
    ];
    for (const cell of [...others, ...others]) await write(cell);
    assert.equal((await cellFiles(folder, "LoRA")).length, others.length);
    await write(madeUpCell({ last: { accuracy: 0.9 } }));
    const digest = await settingsDigest(madeUpCell());
    for (const opened of [store, await CellStore.open(folder)]) {
      const own = await opened.cellsOf(digest);
      assert.deepEqual(own.map(({ seed, last }) => [seed, last.accuracy]), [[0, 0.9], [1, 0.5], [11, 0.5]]);
    }
    const names = (await jsonFiles(`${folder}/cells`)).map((path) => path.slice(folder.length + 1));
    assert.equal(names[0].replace(/[0-9a-f]{12}/, "…"), "cells/labels/supersense-….json");
    for (const name of names.slice(1)) {
      assert.match(name, /^cells\/tiny\/supersense\/lora-[0-9a-f]{12}-s\d+\.json$/);
    }
  }));

Deno.test("cells behind a link, of a folder or a file, are the store's; one whose link leads nowhere is named", () =>
  withFolder(async (folder) => {
    const store = await CellStore.open(`${folder}/out`);
    const cells = [0, 1].map((seed) => madeUpCell({ seed }));
    for (const cell of cells) await store.write(storedCell(cell), { dev: labelsOf(8) });
    const own = `${folder}/out/cells/tiny`;
    await Deno.rename(own, `${folder}/elsewhere`);
    await Deno.symlink(`${folder}/elsewhere`, own);
    await Deno.symlink(`${folder}/out`, `${own}/back`);
    const [first] = await cellFiles(`${folder}/out`, "LoRA");
    await Deno.rename(first, `${folder}/first.json`);
    await Deno.symlink(`${folder}/first.json`, first);
    const read = async () => (await CellStore.open(`${folder}/out`)).cellsOf(await settingsDigest(cells[0]));
    assert.deepEqual((await read()).map(({ seed }) => seed), [0, 1]);
    await Deno.remove(`${folder}/first.json`);
    await assert.rejects(read, /there is no file .*lora-[0-9a-f]{12}-s0\.json: check its path/);
  }));

Deno.test("labels that are there are not written again, where another run may be reading or writing them; damaged ones are", () =>
  withTable(async (_, __, path) => {
    const store = await CellStore.open(path.replace(/\/cells\/labels\/.*/, ""));
    const write = () => store.writeLabels(madeUpCell(), { dev: labelsOf(8) });
    const [whole, { ino }] = [await readText(path), await Deno.stat(path)];
    await write();
    assert.equal((await Deno.stat(path)).ino, ino, "another file in its place");
    await Deno.writeTextFile(path, whole.replace('"u8"', '"f9"'));
    await write();
    assert.equal(await readText(path), whole);
  }));

Deno.test("runs of several tables that finish the same cell at once are not in each other's way", () =>
  withFolder(async (folder) => {
    const cell = storedCell(madeUpCell());
    const stores = await Promise.all(Array.from({ length: 8 }, () => CellStore.open(`${folder}/out`)));
    await Promise.all(stores.map((store) => store.write(cell, { dev: labelsOf(8) })));
    const store = await CellStore.open(`${folder}/out`);
    assert.deepEqual(await store.cellsOf(await settingsDigest(cell)), [cell]);
    assert.deepEqual(await store.labelsOf(cell), { dev: labelsOf(8) });
    const left = [...Deno.readDirSync(`${folder}/out/cells/labels`)].map(({ name }) => name);
    assert.match(left.join(), /^supersense-[0-9a-f]{12}\.json$/);
  }));

Deno.test("names that are paths, or no names, lead nowhere out of the store", () =>
  withFolder(async (folder) => {
    const store = await CellStore.open(`${folder}/out`);
    const names = ["../../../outside", "/etc/x", "..", ".", "", "a\\b", "σ Exp", "C:"];
    for (const [i, name] of names.entries()) {
      const cell = madeUpCell({ task: name, model: name, method: name, seed: i });
      await store.write(storedCell(cell), { dev: labelsOf(8) });
      assert.deepEqual((await store.cellsOf(await settingsDigest(cell))).map(({ model }) => model), [name]);
    }
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["out"]);
    assert.deepEqual([...Deno.readDirSync(`${folder}/out`)].map(({ name }) => name), ["cells"]);
    const again = await CellStore.open(`${folder}/out`);
    for (const [i, name] of names.entries()) {
      const digest = await settingsDigest(madeUpCell({ task: name, model: name, method: name, seed: i }));
      assert.deepEqual((await again.cellsOf(digest)).map(({ seed }) => seed), [i]);
    }
  }));

/** A folder with a table of one cell, and the paths of its cell and its labels. */
function withTable(use: (table: string, cell: string, labels: string) => Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    const table = `${folder}/first-table.json`;
    await writeCellsTable(table, [madeUpCell()]);
    const [labels] = await jsonFiles(`${folder}/cells/labels`);
    await use(table, (await cellFiles(folder, "LoRA"))[0], labels);
  });
}

Deno.test("a cell that was edited, or lies under another's name, is refused with its file and what to do", () =>
  withTable(async (table, path) => {
    const whole = await readText(path);
    const { training } = madeUpCell();
    for (
      const changes of [
        { options: { r: 8, alpha: 17 } },
        { training: { ...training, learningRate: 0.01 } },
        { golden: "0".repeat(64) },
        { seed: 1 },
      ]
    ) {
      await Deno.writeTextFile(path, JSON.stringify({ ...JSON.parse(whole), ...changes }));
      const refused =
        /lora-[0-9a-f]{12}-s0\.json holds other settings than its name says: remove it, and run its table again with --resume$/;
      await assert.rejects(() => readCells(table), refused, JSON.stringify(changes));
    }
    await Deno.writeTextFile(path, whole);
    await Deno.rename(path, path.replace("-s0", "-s1"));
    await assert.rejects(() => readCells(table), /-s1\.json holds other settings than its name says/);
  }));

Deno.test("a cell that is damaged is refused with its file and field", () =>
  withTable(async (table, path) => {
    const { training } = madeUpCell();
    const packed = packNumbers([1]);
    for (
      const [field, changes] of [
        ["seed", { seed: -1 }],
        ["schemaVersion", { schemaVersion: 1 }],
        ["training.learningRate", { training: { ...training, learningRate: null } }],
        ["environment.adapter", { environment: {} }],
        ["golden", { golden: "0" }],
        ["predictions.dev.deflated", { predictions: { dev: { ...packed, deflated: "§" } } }],
      ] as const
    ) {
      await Deno.writeTextFile(path, JSON.stringify({ ...storedCell(madeUpCell()), ...changes }));
      await assert.rejects(() => readCells(table), new RegExp(`lora-[0-9a-f]{12}-s0\\.json: ${field}: `));
    }
    await Deno.writeTextFile(path, '{"half": ');
    await assert.rejects(
      () => readCells(table),
      /-s0\.json is not JSON, or is cut short: .*: remove it, and run/,
    );
    await Deno.remove(path);
    await assert.rejects(
      () => readCells(table),
      /cells has no cell of LoRA r 8 on supersense with seed 0, which .*first-table\.json names: run first-table again with --resume$/,
    );
    const ofDecoder = table.replace("first-table", "first-table-smollm2");
    await Deno.rename(table, ofDecoder);
    await assert.rejects(
      () => readCells(ofDecoder),
      /which .*first-table-smollm2\.json names: run first-table/,
    );
  }));

Deno.test("labels that are missing, damaged or of other data are refused with their file", () =>
  withTable(async (table, _, path) => {
    for (const { labels } of await readCells(table)) assert.deepEqual(labels, { dev: labelsOf(8) });
    const whole = JSON.parse(await readText(path));
    const refused = async (changes: object, message: RegExp) => {
      await Deno.writeTextFile(path, JSON.stringify({ ...whole, ...changes }));
      await assert.rejects(() => readCells(table), message);
    };
    await refused(
      { dataDigest: "0".repeat(64) },
      /supersense-[0-9a-f]{12}\.json is of other data than its name says: remove it, and run/,
    );
    await refused(
      { labels: { dev: packNumbers([1]).deflated } },
      /supersense-[0-9a-f]{12}\.json: labels\.dev: /,
    );
    await refused(
      { labels: { dev: { ...packNumbers([1]), count: 2 } } },
      /supersense-[0-9a-f]{12}\.json: packed numbers hold 1 bytes, not 2$/,
    );
    await Deno.remove(path);
    await assert.rejects(
      () => readCells(table),
      /there is no file .*supersense-[0-9a-f]{12}\.json, .*: run its table again with --resume$/,
    );
  }));
