/**
 * The safetensors, GGUF and TSV readers on 32,000 damaged files, from a seed: each is read to something that lies within the
 * file, or refused by a plain Error that begins with the file's name; none takes long.
 */

import assert from "node:assert/strict";
import { glueEntries, type GlueEntry, glueEntry } from "../lib/data/glue_tasks.ts";
import { parseGlueTsv } from "../lib/data/glue_tsv.ts";
import { parseTsv } from "../lib/data/tsv.ts";
import { parseGgufHeader } from "../lib/models/gguf/header.ts";
import type { GgufItems } from "../lib/models/gguf/metadata.ts";
import { blockOf } from "../lib/models/stored_place.ts";
import { encodeSafetensors, parseSafetensors } from "../lib/models/safetensors.ts";
import { bytesOf, ggufOf } from "./support/gguf_bytes.ts";
import { type Row, tsvText } from "./support/glue_folders.ts";
import { joined, mutants, type Pick, pickFrom, readAll } from "./support/mutants.ts";

function safetensorsFiles(): Uint8Array<ArrayBuffer>[] {
  const tensor = (...shape: number[]) => ({
    shape,
    data: new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(1.5),
  });
  return [
    encodeSafetensors(new Map()),
    encodeSafetensors(new Map([["a", tensor(3)]]), { rank: "8" }),
    encodeSafetensors(
      new Map([["layer.0.weight", tensor(24, 16)], ["layer.0.bias", tensor(4)], ["é", tensor(0)]]),
    ),
  ];
}

/** Files with one damage in the text of the header, whose length fits: these get further into the reader. */
function* headerMutants(
  valid: readonly Uint8Array<ArrayBuffer>[],
  count: number,
  pick: Pick,
  tokens: readonly string[],
) {
  for (let i = 0; i < count; i++) {
    const bytes = valid[pick(valid.length)];
    const dataAt = 8 + new DataView(bytes.buffer).getUint32(0, true);
    const at = 8 + pick(dataAt - 8);
    const token = new TextEncoder().encode(tokens[pick(tokens.length)]);
    const after = Math.min(dataAt, at + pick(3));
    const length = new Uint8Array(8);
    new DataView(length.buffer).setUint32(0, dataAt - 8 + token.length - (after - at), true);
    yield joined(length, bytes.subarray(8, at), token, bytes.subarray(after));
  }
}

Deno.test("12,000 damaged safetensors files are read within bounds or refused by name", () => {
  // Space-separated; the first is nothing at all.
  const tokens = ` " { } [[[[ , : "a": -1 .5 0 7 1e308 9007199254740993 "F16" \\ud800 null [] {}`.split(" ");
  const valid = safetensorsFiles();
  const files = [
    ...mutants(valid, 3_000, pickFrom(11), tokens),
    ...headerMutants(valid, 9_000, pickFrom(10), tokens),
  ];
  const { read, refused } = readAll(files, (bytes) => {
    const { tensors } = parseSafetensors(bytes, "fuzzed");
    let covered = 0;
    for (const { dtype, shape, data } of tensors.values()) {
      assert.equal(data.buffer, bytes.buffer);
      assert.ok(data.byteOffset >= 8 && data.byteOffset + data.length <= bytes.byteLength);
      const bits = dtype === "BOOL" ? 8 : Number(/\d+/.exec(dtype));
      assert.equal(data.length * 8, shape.reduce((product, n) => product * n, bits));
      covered += data.length;
    }
    const header = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    assert.equal(8 + header + covered, bytes.length);
  });
  assert.ok(read > 1_500 && read < 8_000, `${read} were read`);
  assert.ok(refused.size > 10, `only ${refused.size} kinds of message`);
});

function ggufFiles(): Uint8Array<ArrayBuffer>[] {
  const real = (name: string) =>
    Deno.readFileSync(new URL(`fixtures/gguf_files/${name}.gguf`, import.meta.url));
  const array = ["nested", 9, 9, 2n, 8, 2n, "a", "b", 9, 1n, 4, 3n, 1, 2, 3];
  return [
    ggufOf({}),
    ggufOf({
      entries: [array, ["general.alignment", 4, 16]],
      tensors: [["a", 2, 32n, 2n, 2, 16n]],
      data: 60,
    }),
    ggufOf({
      entries: [["x", 12, 7n], ["y", 7, new Uint8Array([1])]],
      tensors: [["a", 1, 3n, 1, 0n]],
      data: 6,
    }),
    real("set-00001-of-00003"),
    real("set-00003-of-00003"),
  ];
}

/** Files in which one or two numbers of the header have a value that readers stumble over. */
function* numberMutants(valid: readonly Uint8Array<ArrayBuffer>[], count: number, pick: Pick) {
  const words = [0, 1, 3, 8, 9, 13, 31, 256, 2 ** 24, 2 ** 31, 2 ** 32 - 1];
  const longs = [
    0n,
    1n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 60n,
    2n ** 61n,
    2n ** 63n,
    2n ** 64n - 32n,
    -1n,
  ];
  for (let i = 0; i < count; i++) {
    const bytes = valid[pick(valid.length)].slice();
    for (let changes = pick(2); changes >= 0; changes--) {
      const number = bytesOf(pick(2) ? words[pick(words.length)] : longs[pick(longs.length)]);
      bytes.set(number, 4 + pick(bytes.length - 12));
    }
    yield bytes;
  }
}

/** Number of values, of all depths. */
function itemsIn(items: GgufItems): number {
  return ArrayBuffer.isView(items)
    ? items.length
    : items.reduce((sum: number, item) => sum + (typeof item === "object" ? itemsIn(item) : 1), 0);
}

Deno.test("10,000 damaged GGUF headers are read within bounds or refused by name, in little memory", () => {
  const tokens = [
    "GGUF",
    "\0",
    "\x01\0\0\0\0\0\0\0",
    "\t\0\0\0",
    "\b\0\0\0",
    "general.alignment",
    "\x7f".repeat(8),
  ];
  const valid = ggufFiles();
  const files = [
    ...mutants(valid, 4_000, pickFrom(13), tokens),
    ...numberMutants(valid, 6_000, pickFrom(14)),
  ];
  const before = Deno.memoryUsage().rss;
  const { read, refused } = readAll(files, (bytes) => {
    const { places, metadata, alignment } = parseGgufHeader(bytes, "fuzzed");
    let covered = 0;
    for (const { dtype, shape, begin, end } of places.values()) {
      assert.ok(begin >= covered && end <= bytes.length && begin % alignment === 0);
      const { values, bytes: size } = blockOf(dtype);
      assert.equal(end - begin, shape.reduce((product, n) => product * n, 1) / values * size);
      covered = end;
    }
    for (const { value } of metadata.values.values()) {
      if (typeof value === "object") assert.ok(itemsIn(value) < bytes.length);
    }
  });
  assert.ok(Deno.memoryUsage().rss - before < 2 ** 28, "memory");
  assert.ok(read > 1_000 && read < 8_000, `${read} were read`);
  assert.ok(refused.size > 20, `only ${[...refused.keys()].join("; ")}`);
});

/** Five rows of a task, with a quote and letters of more than one byte. */
function rowsOf({ written }: GlueEntry): Row[] {
  const texts = ["A plain text.", 'Un "été"', "日本, 東京", "it's   spaced", "x"];
  return texts.map((text, i) => ({
    texts: [text, texts[4 - i]],
    written: written[i % written.length] ?? `${i}.25`,
    id: i,
  }));
}

Deno.test("5,000 damaged texts are split into the cells they hold, or refused by name", () => {
  const valid = ["\ufeffa\tb\r\nc\td", tsvText("CoLA", "train", rowsOf(glueEntry("CoLA")))].map((text) =>
    new TextEncoder().encode(text)
  );
  const tokens = ["\t", "\n", "\r\n", "\r", "\ufeff", '"', "\0", "\t\t\t", "\n\n", "é", "\u2028"];
  const { read, refused } = readAll(mutants(valid, 5_000, pickFrom(12), tokens), (bytes) => {
    const { rows, endsInLineFeed } = parseTsv(bytes, "fuzzed");
    const feeds = bytes.filter((byte) => byte === 10).length;
    assert.equal(rows.length, endsInLineFeed ? feeds : feeds + 1);
    assert.deepEqual(rows.map(({ line }) => line), rows.map((_, i) => i + 1));
    const tabs = bytes.filter((byte) => byte === 9).length;
    assert.equal(rows.reduce((sum, { cells }) => sum + cells.length - 1, 0), tabs);
    // Put together again, the rows are the file but for the mark and the carriage returns that were dropped.
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    const again = rows.map(({ cells }) => cells.join("\t")).join("\n") + (endsInLineFeed ? "\n" : "");
    assert.equal(again, text.replace(/^\ufeff/, "").replace(/\r(?=\n|$)/g, ""));
  });
  assert.ok(read > 1_000 && read < 4_500, `${read} were read`);
  assert.ok(refused.size >= 3, `only ${[...refused.keys()].join("; ")}`);
});

Deno.test("5,000 damaged GLUE files give rows of the task, each from a line of its own, or are refused by name", () => {
  const tokens = ["\t", "\n", "\r", "label", "nan", "6", "-1", "entailment", "\tindex", "\0", "\ufeff"];
  const kinds = new Set<string>();
  let read = 0;
  for (const [i, entry] of glueEntries.entries()) {
    const rows = rowsOf(entry);
    const valid = ["train", "test"].map((file) => new TextEncoder().encode(tsvText(entry.name, file, rows)));
    let labelled = false;
    const files = mutants(
      valid,
      Math.ceil(5_000 / glueEntries.length),
      pickFrom(20 + i),
      tokens,
    );
    const tally = readAll(files, (bytes) => {
      labelled = !labelled;
      const rows = parseGlueTsv(entry, bytes, "fuzzed", labelled);
      const lines = bytes.filter((byte) => byte === 10).length + (bytes.at(-1) === 10 ? 0 : 1);
      assert.ok(rows.length > 0 && rows.length <= lines, `${rows.length} rows of ${lines} lines`);
      for (const [j, { idx, texts, label }] of rows.entries()) {
        assert.ok(idx >= (j === 0 ? 0 : rows[j - 1].idx + 1) && idx < lines);
        assert.equal(texts.length, entry.texts.length);
        assert.ok(
          !labelled
            ? label === -1
            : entry.objective === "regression"
            ? label >= 0 && label <= 5
            : label in entry.labels,
        );
      }
    });
    read += tally.read;
    for (const kind of tally.refused.keys()) kinds.add(kind.replaceAll(entry.name, "…"));
  }
  assert.ok(read > 300 && read < 4_000, `${read} were read`);
  assert.ok(kinds.size > 10, `only ${[...kinds].join("; ")}`);
});
