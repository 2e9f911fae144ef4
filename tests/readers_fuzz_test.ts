/**
 * The safetensors and TSV readers on 22,000 damaged files, from a seed: each is read to something that lies within the
 * file, or refused by a plain Error that begins with the file's name; none takes long.
 */

import assert from "node:assert/strict";
import { glueEntries, type GlueEntry, glueEntry } from "../lib/data/glue_tasks.ts";
import { parseGlueTsv } from "../lib/data/glue_tsv.ts";
import { parseTsv } from "../lib/data/tsv.ts";
import { randomBits } from "../lib/graph/random.ts";
import { encodeSafetensors, parseSafetensors } from "../lib/models/safetensors.ts";
import { type Row, tsvText } from "./support/glue_folders.ts";

type Pick = (below: number) => number;

/** A source of whole numbers below a bound. */
function pickFrom(seed: number): Pick {
  let calls = 0;
  return (below) => randomBits(seed, 0, 0, calls++) % below;
}

/** One change of a file: bits flipped, bytes cut out, doubled or put in, the end cut off, or two files joined. */
function mutate(
  bytes: Uint8Array<ArrayBuffer>,
  other: Uint8Array<ArrayBuffer>,
  pick: Pick,
  tokens: Uint8Array[],
) {
  const at = pick(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + pick(1 << pick(10)));
  switch (pick(7)) {
    case 0: {
      const flipped = bytes.slice();
      if (at < flipped.length) flipped[at] ^= 1 << pick(8);
      return flipped;
    }
    case 1:
      return joined(bytes.subarray(0, at), bytes.subarray(end));
    case 2:
      return joined(bytes.subarray(0, end), bytes.subarray(at));
    case 3:
      return joined(bytes.subarray(0, at), tokens[pick(tokens.length)], bytes.subarray(at));
    case 4:
      return bytes.slice(0, at);
    case 5:
      return joined(bytes.subarray(0, at), other.subarray(pick(other.length)));
    default:
      return joined(bytes.subarray(0, at), randomBytes(pick, pick(9)), bytes.subarray(end));
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function randomBytes(pick: Pick, size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, () => pick(256));
}

/** The outcomes of reading the files. */
interface Tally {
  read: number;
  /** Messages, without what differs from file to file. */
  readonly refused: Map<string, number>;
}

/** Reads every file by `check`, which throws an AssertionError where what was read breaks an invariant. */
function readAll(
  files: Iterable<Uint8Array<ArrayBuffer>>,
  check: (bytes: Uint8Array<ArrayBuffer>) => void,
): Tally {
  const tally: Tally = { read: 0, refused: new Map() };
  let i = 0;
  for (const bytes of files) {
    try {
      check(bytes);
      tally.read++;
    } catch (error) {
      assert.ok(error instanceof Error && error.constructor === Error, `file ${i}: ${error}`);
      assert.match(error.message, /^fuzzed/, `file ${i}`);
      const kind = error.message.replaceAll(/"(\\.|[^"])*"|[-\d.]+|\[.*\]|\{.*/g, "…").slice(0, 50);
      tally.refused.set(kind, (tally.refused.get(kind) ?? 0) + 1);
    }
    i++;
  }
  return tally;
}

/** The mutants of `valid` files: at most three changes each; every eighth file is random bytes instead. */
function* mutants(
  valid: readonly Uint8Array<ArrayBuffer>[],
  count: number,
  pick: Pick,
  tokens: readonly string[],
) {
  const encoded = tokens.map((token) => new TextEncoder().encode(token));
  for (let i = 0; i < count; i++) {
    let bytes = pick(8) ? valid[pick(valid.length)] : randomBytes(pick, pick(200));
    for (let changes = pick(4); changes > 0; changes--) {
      bytes = mutate(bytes, valid[pick(valid.length)], pick, encoded);
    }
    yield bytes;
  }
}

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
