/** The GGUF reader: files of llama.cpp's Python package, sets of files, and files that break the format. */

import assert from "node:assert/strict";
import { packedStorage } from "../lib/graph/storages/registry.ts";
import {
  type GgufHeader,
  type GgufPlace,
  parseGgufHeader,
  readGgufHeader,
} from "../lib/models/gguf/header.ts";
import { ggufName, huggingFacePlaces } from "../lib/models/gguf/hugging_face_places.ts";
import { GgufMetadata } from "../lib/models/gguf/metadata.ts";
import { isPackable, StoredPackedWeight } from "../lib/models/gguf/packed_weight.ts";
import { inHalves } from "../lib/models/gguf/row_order.ts";
import { type GgufModel, readGguf } from "../lib/models/gguf/split_set.ts";
import { writeGguf } from "../lib/models/gguf/writer.ts";
import { unpack } from "../lib/models/packing.ts";
import { StoredWeight } from "../lib/models/stored_weight.ts";
import { digestOfValues } from "../lib/models/values_digest.ts";
import { cases } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { bytesOf, ggufOf, type GgufParts, type Part } from "./support/gguf_bytes.ts";
import { joined } from "./support/mutants.ts";

const folder = new URL("fixtures/gguf_files/", import.meta.url).pathname;

interface Reference {
  readonly type: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

function readReference(): Readonly<Record<string, Readonly<Record<string, Reference>>>> {
  return JSON.parse(Deno.readTextFileSync(`${folder}tensors.json`));
}

/** Every tensor of the model, as float32 and packed, against what Python's package makes of it. */
function checkTensors(model: GgufModel, reference: Readonly<Record<string, Reference>>): void {
  const places = huggingFacePlaces(model);
  assert.deepEqual([...places.keys()].toSorted(), Object.keys(reference).toSorted());
  for (const [name, { type, shape, sha256 }] of Object.entries(reference)) {
    const place = places.get(name)!;
    assert.deepEqual([place.dtype, place.shape], [type, shape], name);
    assert.equal(digestOfValues(new StoredWeight(place).data), sha256, name);
    if (!isPackable(place)) continue;
    const packed = new StoredPackedWeight(place);
    assert.equal(packed.words.length, shape[0] * shape[1] * packedStorage(packed.packing).bits / 32);
    assert.equal(digestOfValues(unpack(packed).data), sha256, `${name}, packed`);
    assert.deepEqual(packed.origin, { sha256, dtype: type });
  }
}

Deno.test("a file of Python's gguf: every type's values, and rows in Hugging Face's order, 6 heads and 2 of keys", async () => {
  const model = await readGguf(`${folder}llama.gguf`);
  checkTensors(model, readReference().llama);
  const types = new Set([...model.places.values()].map(({ dtype }) => dtype));
  assert.deepEqual([...types].toSorted(), [
    "BF16",
    "F16",
    "F32",
    "Q4_0",
    "Q4_1",
    "Q4_K",
    "Q5_0",
    "Q5_K",
    "Q6_K",
    "Q8_0",
  ]);
});

Deno.test("a range of a packed matrix's rows has their words, and the fingerprint of the whole", async () => {
  for (const place of huggingFacePlaces(await readGguf(`${folder}llama.gguf`)).values()) {
    if (place.shape.length !== 2 || place.shape[0] < 3 || !isPackable(place)) continue;
    const [whole, part] = [new StoredPackedWeight(place), new StoredPackedWeight(place, [1, 3])];
    const perRow = whole.words.length / place.shape[0];
    assert.deepEqual(part.words, whole.words.slice(perRow, 3 * perRow), place.name);
    assert.deepEqual([part.shape, part.origin], [[2, place.shape[1]], whole.origin]);
  }
});

Deno.test("metadata of every type", () => {
  const { metadata } = readGgufHeader(`${folder}llama.gguf`);
  const tests = [...metadata.values].filter(([key]) => key.startsWith("test."))
    .map(([key, { type, value }]) => [key.slice(5), type, value]);
  assert.deepEqual(tests, [
    ["uint8", "uint8", 255],
    ["int8", "int8", -128],
    ["uint16", "uint16", 65535],
    ["int16", "int16", -32768],
    ["int32", "int32", -(2 ** 31)],
    ["uint64", "uint64", 2n ** 64n - 1n],
    ["int64", "int64", -(2n ** 40n)],
    ["float64", "float64", 0.1],
    ["bool", "bool", true],
    ["bools", "array", [true, false]],
    ["int64s", "array", BigInt64Array.of(-1n, 2n ** 40n)],
    ["nested", "array", [Int32Array.of(1, 2), Int32Array.of(3), Int32Array.of(4, 5, 6)]],
  ]);
  assert.equal(metadata.number("llama.context_length"), 64);
  assert.equal(metadata.number("llama.attention.layer_norm_rms_epsilon"), Math.fround(1e-5));
  assert.equal(metadata.number("test.int64"), -(2 ** 40));
  assert.equal(metadata.text("general.architecture"), "llama");
  assert.equal(metadata.flag("test.bool"), true);
  assert.deepEqual(metadata.texts("tokenizer.ggml.tokens"), ["<s>", "\ufeff", "é", ""]);
  assert.deepEqual(metadata.numbers("tokenizer.ggml.scores"), [0, -1.5, -2, -3]);
  assert.ok(metadata.has("test.bool") && !metadata.has("tokenizer.ggml.bos_token_id"));
  assert.equal(metadata.number("absent", 7), 7);
  const refused = (read: () => unknown, message: RegExp) => assert.throws(read, message);
  refused(() => metadata.number("absent"), /llama\.gguf: "absent" is missing, and a number is wanted/);
  refused(() => metadata.number("test.uint64"), /"test.uint64" is uint64 18446744073709551615, and a number/);
  refused(() => metadata.number("general.architecture", 7), /is string "llama", and a number is wanted/);
  refused(() => metadata.text("test.bool"), /"test.bool" is bool true, and a text is wanted/);
  refused(() => metadata.flag("test.uint8"), /"test.uint8" is uint8 255, and a bool is wanted/);
  refused(() => metadata.texts("tokenizer.ggml.scores"), /is array, and an array of texts is wanted/);
  refused(() => metadata.numbers("test.int64s"), /is array, and an array of numbers is wanted/);
});

Deno.test("any file of a set opens all of it", async () => {
  for (const n of [1, 2, 3]) {
    const model = await readGguf(`${folder}set-0000${n}-of-00003.gguf`);
    checkTensors(model, readReference().qwen2);
    assert.equal(model.metadata.text("general.architecture"), "qwen2");
    assert.match(model.places.get("output.weight")!.origin, /set-00003-of-00003\.gguf$/);
  }
});

/** Runs `body` in a folder with copies of the set, `a-0000N-of-00003.gguf`. */
async function withSet(body: (path: (n: number) => string) => Promise<void>): Promise<void> {
  const copy = await Deno.makeTempDir();
  try {
    const path = (n: number) => `${copy}/a-0000${n}-of-00003.gguf`;
    for (const n of [1, 2, 3]) await Deno.copyFile(`${folder}set-0000${n}-of-00003.gguf`, path(n));
    await body(path);
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

/** Changes the integer of an entry of the file's metadata, of `bytes` bytes. */
async function setEntry(path: string, key: string, bytes: 2 | 4, value: number): Promise<void> {
  const file = await Deno.readFile(path);
  const needle = bytesOf(key);
  const at = file.findIndex((_, i) => needle.every((byte, j) => file[i + j] === byte)) + needle.length + 4;
  const view = new DataView(file.buffer);
  if (bytes === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
  await Deno.writeFile(path, file);
}

Deno.test("sets that are not whole, or not of one model, are refused by the file's name", async () => {
  const cases: readonly (readonly [RegExp, (path: (n: number) => string) => Promise<void>])[] = [
    [
      /a-00002-of-00003\.gguf: there is no such file, and the model is in 3: put it beside/,
      (path) => Deno.remove(path(2)),
    ],
    [
      /a-00003-of-00003\.gguf: split\.no is 0, and 2 is wanted/,
      (path) => setEntry(path(3), "split.no", 2, 0),
    ],
    [
      /a-00001-of-00003\.gguf: split\.count is 4, and its name says 3: name the files as .* model-00001-of-00004/,
      (path) => setEntry(path(1), "split.count", 2, 4),
    ],
    [
      /a-00002-of-00003\.gguf: split\.count is 4, and 3 is wanted/,
      (path) => setEntry(path(2), "split.count", 2, 4),
    ],
    [
      /a-00003-of-00003\.gguf: split\.tensors\.count is 6, and 5 is wanted/,
      (path) => setEntry(path(3), "split.tensors.count", 4, 6),
    ],
    [/a-00003-of-00003\.gguf: split\.no is 1, and 2 is wanted/, (path) => Deno.copyFile(path(2), path(3))],
    [
      /a-00003-of-00003\.gguf: "split\.tensors\.count" is missing/,
      (path) => Deno.writeFile(path(3), ggufOf({ entries: [["split.no", 4, 2], ["split.count", 4, 3]] })),
    ],
    [
      /a-00003-of-00003\.gguf: general\.alignment is 64, and 32 in .*a-00001/,
      (path) =>
        Deno.writeFile(path(3), ggufOf({ entries: [...shardEntries(2), ["general.alignment", 4, 64]] })),
    ],
    [
      /a-00001-of-00003\.gguf: split\.tensors\.count is 5, and the set has 4 tensors/,
      (path) => Deno.writeFile(path(3), ggufOf({ entries: shardEntries(2) })),
    ],
    [
      /a-00003-of-00003\.gguf: tensor "token_embd\.weight" is in .*a-00001-of-00003\.gguf too/,
      (path) =>
        Deno.writeFile(
          path(3),
          ggufOf({ entries: shardEntries(2), tensors: [["token_embd.weight", 1, 1n, 0, 0n]], data: 4 }),
        ),
    ],
    [
      /a-00001-of-00003\.gguf: split\.count is 1, and its name says 3/,
      (path) => Deno.copyFile(`${folder}llama.gguf`, path(1)),
    ],
  ];
  for (const [message, change] of cases) {
    await withSet(async (path) => {
      await change(path);
      await assert.rejects(() => readGguf(path(1)), message);
    });
  }
  await withSet(async (path) => {
    const renamed = path(1).replace("a-00001-of-00003", "b");
    await Deno.rename(path(1), renamed);
    await assert.rejects(() => readGguf(renamed), /b\.gguf: split\.count is 3, and its name says 1/);
  });
});

const shardEntries = (no: number): Part[][] => [
  ["split.no", 4, no],
  ["split.count", 4, 3],
  ["split.tensors.count", 4, 5],
];

Deno.test("rows go to the other half of their head, whatever the number of heads of keys", () => {
  const place: GgufPlace = { name: "k", origin: "f", dtype: "F32", shape: [12, 2], begin: 0, end: 96 };
  // Two heads of six rows, as `permute` of llama.cpp stores rows 0 … 11.
  const stored = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11];
  assert.deepEqual(Array.from({ length: 12 }, (_, row) => stored[inHalves(place, 2).rowAt!(row)]), [
    ...stored.keys(),
  ]);
  for (const heads of [5, 12, 24, 0, 1.5, -2]) {
    assert.throws(
      () => inHalves(place, heads),
      new RegExp(`f: tensor "k" is \\[12,2\\], no ${heads} heads of an even`),
    );
  }
});

Deno.test("a tensor of several pieces, which begin inside rows, is read in its order of rows", async () => {
  // More than a piece of 2^20 values, in one head.
  const [rows, columns] = [11_000, 96];
  const value = (row: number, column: number) => row % 2000 + column % 4 / 4;
  const stored = Float16Array.from(
    { length: rows * columns },
    (_, i) => value(Math.floor(i / columns), i % columns),
  );
  const path = await Deno.makeTempFile();
  const header = ggufOf({ tensors: [["k", 2, BigInt(columns), BigInt(rows), 1, 0n]] });
  await Deno.writeFile(path, joined(header, new Uint8Array(stored.buffer)));
  const place = inHalves(readGgufHeader(path).places.get("k")!, 1);
  const fileRow = (row: number) => row < rows / 2 ? 2 * row : 2 * row + 1 - rows;
  const expected = stored.map((_, i) => value(fileRow(Math.floor(i / columns)), i % columns));
  assert.ok(isPackable(place));
  // Where they differ first: an assertion on a million values takes minutes to say so.
  assert.equal(new StoredWeight(place).data.findIndex((value, i) => value !== expected[i]), -1);
  const words = new Uint32Array(expected.buffer);
  assert.equal(new StoredPackedWeight(place).words.findIndex((word, i) => word !== words[i]), -1);
  await Deno.remove(path);
});

/** A model in one file of these parts. */
async function modelOf(parts: GgufParts, use: (model: GgufModel) => void): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    await Deno.writeFile(path, ggufOf(parts));
    use(await readGguf(path));
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("models of other architectures, and tensors without a counterpart, are refused by name", async () => {
  const heads = (architecture: string): Part[][] => [
    ["general.architecture", 8, architecture],
    [`${architecture}.attention.head_count`, 4, 1],
  ];
  const tensor = (name: string): Part[][] => [[name, 1, 1n, 0, 0n]];
  await modelOf({ entries: heads("mamba") }, (model) => {
    assert.throws(
      () => huggingFacePlaces(model),
      /\.gguf: is of architecture "mamba", and llama, qwen2, qwen3, gemma are/,
    );
  });
  for (
    const name of [
      "blk.0.ffn_gate_exps.weight",
      "blk.0.attn_q",
      "attn_q.weight",
      "blk.0.constructor.weight",
      "constructor.weight",
    ]
  ) {
    await modelOf({ entries: heads("qwen3"), tensors: tensor(name), data: 4 }, (model) => {
      assert.throws(
        () => huggingFacePlaces(model),
        new RegExp(`tensor "${name}" has no counterpart in Hugging Face's qwen3`),
      );
    });
  }
  await modelOf(
    { entries: heads("qwen3"), tensors: tensor("blk.3.attn_q_norm.weight"), data: 4 },
    (model) => {
      assert.deepEqual([...huggingFacePlaces(model).keys()], ["model.layers.3.self_attn.q_norm.weight"]);
    },
  );
  await modelOf({ entries: [["general.architecture", 8, "llama"]] }, (model) => {
    assert.throws(() => huggingFacePlaces(model), /"llama\.attention\.head_count" is missing/);
  });
});

Deno.test("values that are not finite, and files that change while in use, are refused by name", async () => {
  const path = await Deno.makeTempFile();
  const infinite = bytesOf(new Uint8Array([0, 0x7c]), new Uint8Array(16));
  const file = ggufOf({ tensors: [["w", 2, 32n, 4n, 2, 0n], ["v", 1, 1n, 0, 96n]], data: 100 });
  await Deno.writeFile(path, file);
  const { places } = readGgufHeader(path);
  const [w, v] = ["w", "v"].map((name) => places.get(name)!);
  assert.ok(isPackable(w) && !isPackable(v));
  assert.equal(new StoredPackedWeight(w).words.length, 20);
  file.set(infinite, w.begin + 36);
  file.set([0, 0, 0x80, 0x7f], v.begin);
  await Deno.writeFile(path, file);
  const notFinite = /tensor "[wv]" holds values that are not finite/;
  assert.throws(() => new StoredPackedWeight(w).words, notFinite);
  assert.throws(() => new StoredWeight(w).data, notFinite);
  assert.throws(() => new StoredWeight(v).data, notFinite);
  await Deno.truncate(path, w.begin + 40);
  const changed = /ends inside tensor "w": the file was changed while it was in use/;
  assert.throws(() => new StoredPackedWeight(w).words, changed);
  assert.throws(() => new StoredWeight(w).data, changed);
  await Deno.remove(path);
});

Deno.test("matrices whose rows no packing takes are read as float32", async () => {
  // Three rows of F16, and a vector.
  await modelOf(
    { tensors: [["odd", 2, 4n, 3n, 1, 0n], ["vector", 1, 32n, 8, 32n]], data: 66 },
    ({ places }) => {
      for (const place of places.values()) {
        assert.ok(!isPackable(place));
        assert.ok(new StoredWeight(place).data.every((value) => value === 0));
      }
    },
  );
});

const parse = (parts: GgufParts) => parseGgufHeader(ggufOf(parts), "f");

Deno.test("an empty file of version 2, unpadded metadata, and padding between tensors are read", () => {
  const headers: readonly [GgufHeader, number][] = [
    [parse({ version: 2 }), 0],
    [parse({ tensors: [["b", 1, 1n, 0, 64n], ["a", 0, 0, 0n]], data: 70 }), 2],
    [parse({ entries: [["general.alignment", 4, 8]], tensors: [["a", 1, 2n, 0, 8n]], data: 40 }), 1],
  ];
  for (const [{ places }, count] of headers) assert.equal(places.size, count);
  assert.deepEqual([...headers[1][0].places.keys()], ["a", "b"]);
  assert.equal(parse({ entries: [["k", 9, 9, 0n]] }).metadata.values.size, 1);
});

/** An array of one array of one array … to this depth. */
const nested = (
  depth: number,
): Part[] => ["deep", 9, ...Array.from({ length: depth - 1 }, () => [9, 1n]).flat(), 0, 0n];

Deno.test("files that break the format are refused by name", () => {
  const one = [["a", 1, 8n, 0, 0n]];
  const cases: readonly (readonly [RegExp, GgufParts | Uint8Array<ArrayBuffer>])[] = [
    [/3 bytes are no GGUF file/, new TextEncoder().encode("GGU")],
    [/does not begin with GGUF/, new TextEncoder().encode("version https://git-lfs.github.com/spec/v1")],
    [/is GGUF version 1, and 2 and 3 are read/, { version: 1 }],
    [/is GGUF version 4, and/, { version: 4 }],
    [/is GGUF version 0, and/, { version: 0 }],
    [/is big-endian: convert it with/, { version: 0x03000000 }],
    [
      /the number of entries of the metadata is 1, of at least 13 bytes each, and 0 bytes follow/,
      ggufOf({}).slice(0, 24).fill(1, 16, 17),
    ],
    [
      /the number of tensors is 18446744073709551615, of at least 24/,
      bytesOf(new TextEncoder().encode("GGUF"), 3, -1n, 0n),
    ],
    // 2^61 · 8 is 0 modulo 2^64.
    [/the number of items of "k" is 2305843009213693952, of at least 8/, {
      entries: [["k", 9, 10, 2n ** 61n]],
    }],
    [/the number of bytes of "k" is 18446744073709551615, of at least 1/, { entries: [["k", 8, -1n]] }],
    [/"k" has values of type 13, which GGUF does not have/, { entries: [["k", 13, 0n]] }],
    [/"k" has values of type 13/, { entries: [["k", 9, 13, 0n]] }],
    [/"deep" nests deeper than 127 levels/, { entries: [nested(128)] }],
    [/"k" is 2, and a bool is 0 or 1/, { entries: [["k", 7, new Uint8Array([2])]] }],
    [/has "k" twice/, { entries: [["k", 4, 1], ["k", 4, 1]] }],
    [/key 0 of the metadata is not text in UTF-8/, { entries: [[1n, new Uint8Array([0xff]), 4, 1]] }],
    [/"k" is not text in UTF-8/, { entries: [["k", 8, 1n, new Uint8Array([0xff])]] }],
    [/general\.alignment is 24, and must be a power of 2/, { entries: [["general.alignment", 4, 24]] }],
    [/general\.alignment is 0, and/, { entries: [["general.alignment", 4, 0]] }],
    [/"general\.alignment" is string "32", and a number is wanted/, {
      entries: [["general.alignment", 8, "32"]],
    }],
    [/tensor "x{79}… has 5 extents/, {
      tensors: [["x".repeat(100), 5, 1n, 1n, 1n, 1n, 1n, 0, 0n]],
      data: 4,
    }],
    [/tensor "a" has 5 extents, and 4 are the limit/, {
      tensors: [["a", 5, 1n, 1n, 1n, 1n, 1n, 0, 0n]],
      data: 4,
    }],
    [/tensor "a" is Q2_K, and F32, F16, .* are read/, { tensors: [["a", 1, 256n, 10, 0n]], data: 84 }],
    [/tensor "a" is IQ4_NL, and/, { tensors: [["a", 1, 32n, 20, 0n]], data: 18 }],
    [/tensor "a" is MXFP4, and/, { tensors: [["a", 1, 32n, 39, 0n]], data: 18 }],
    [/tensor "a" is type 5, which ggml does not have, and/, { tensors: [["a", 1, 32n, 5, 0n]], data: 32 }],
    [/tensor "a" is type 999, which/, { tensors: [["a", 1, 32n, 999, 0n]], data: 32 }],
    [/tensor "a" begins at byte 4 of the data, no multiple of 32/, {
      tensors: [["a", 1, 8n, 0, 4n]],
      data: 64,
    }],
    [/tensor "a" is \[2,48\], and Q4_0 wants rows of 32 values at a time/, {
      tensors: [["a", 2, 48n, 2n, 2, 0n]],
      data: 54,
    }],
    [/tensor "a" is \[9007199254740993,0\], beyond 2\^53/, {
      tensors: [["a", 2, 0n, 2n ** 53n + 1n, 0, 0n]],
    }],
    [/tensor "a" claims bytes 64–96 of 95: the file is truncated/, { tensors: one, data: 31 }],
    // 2^62 · 4 is 0 modulo 2^64.
    [/tensor "a" claims bytes 96–18446744073709551712 of/, {
      tensors: [["a", 2, 2n ** 31n, 2n ** 31n, 0, 0n]],
      data: 32,
    }],
    [/tensor "a" claims bytes 18446744073709551648–/, { tensors: [["a", 1, 8n, 0, -32n]], data: 32 }],
    [/tensor "a" is there twice/, { tensors: [...one, ["a", 1, 8n, 0, 32n]], data: 64 }],
    [/tensor "b" begins at byte 128, and "a" ends at 160/, {
      tensors: [["a", 1, 16n, 0, 0n], ["b", 1, 8n, 0, 32n]],
      data: 64,
    }],
  ];
  for (const [message, file] of cases) {
    const bytes = file instanceof Uint8Array ? file : ggufOf(file);
    assert.throws(() => parseGgufHeader(bytes, "f"), (error: Error) => {
      assert.equal(error.constructor, Error);
      assert.match(error.message, new RegExp(`^f: ${message.source}`));
      return true;
    });
  }
  assert.equal(parse({ entries: [nested(127)] }).metadata.values.size, 1);
});

Deno.test("a header larger than its window is read from the file as from memory", async () => {
  const path = await Deno.makeTempFile();
  const texts = Array.from({ length: 40_000 }, (_, i) => `${i}`.padEnd(i % 90, "…"));
  const large = "x".repeat(3 * 2 ** 20);
  await Deno.writeFile(
    path,
    ggufOf({
      entries: [["texts", 9, 8, BigInt(texts.length), bytesOf(...texts)], ["large", 8, large], [
        "last",
        4,
        7,
      ]],
    }),
  );
  const { metadata } = readGgufHeader(path);
  assert.deepEqual(metadata.texts("texts"), texts);
  assert.ok(metadata.text("large") === large && metadata.number("last") === 7);
  await Deno.remove(path);
});

Deno.test("what is read of a file and written again is the same, byte by byte, with blocks and metadata of every type", async () => {
  const { metadata, places } = await readGgufHeader(`${folder}llama.gguf`);
  const bytes = await Deno.readFile(`${folder}llama.gguf`);
  const tensors = [...places.values()].map(({ name, dtype, shape, begin, end }) => ({
    ...{ name, dtype, shape },
    // In two pieces.
    pieces: () => [bytes.slice(begin, begin + 3), bytes.slice(begin + 3, end)],
  }));
  await withFolder(async (own) => {
    const path = `${own}/again.gguf`;
    await writeGguf(path, metadata.values, tensors);
    assert.deepEqual(await Deno.readFile(path), bytes);

    const wider = new Map([...metadata.values, ["general.alignment", { type: "uint32", value: 128 }]]);
    await writeGguf(path, wider, tensors);
    const again = await readGgufHeader(path);
    assert.deepEqual(again.metadata.values, wider);
    for (const { name, begin } of again.places.values()) assert.equal(begin % 128, 0, name);
    for (const [name, place] of again.places) {
      assert.deepEqual(new StoredWeight(place).data, new StoredWeight(places.get(name)!).data, name);
    }

    const short = { name: "a", dtype: "F32", shape: [2, 3], pieces: () => [new Uint8Array(20)] } as const;
    await assert.rejects(writeGguf(path, new Map(), [short]), {
      message: `${path}: tensor "a" takes 24 bytes, and there are 20`,
    });
    await assert.rejects(writeGguf(path, new Map(), [{ ...short, dtype: "Q8_0" }]), {
      message: `${path}: tensor "a" is [2,3], and Q8_0 wants rows of 32 values at a time`,
    });
  });
});

Deno.test("names in GGUF are those that are read: of every tensor of a decoder and back", () => {
  for (const { tensors } of Object.values(cases)) {
    const names = Object.keys(tensors);
    const places = new Map(names.map((name) => {
      const gguf = ggufName(name)!;
      return [gguf, { name: gguf, origin: "x", dtype: "F32", shape: [48, 48], begin: 0, end: 0 } as const];
    }));
    const values = new Map([
      ["general.architecture", { type: "string", value: "qwen2" }],
      ["qwen2.attention.head_count", { type: "uint32", value: 6 }],
    ]);
    const metadata = new GgufMetadata("x", values);
    assert.deepEqual([...huggingFacePlaces({ metadata, places }).keys()], names);
  }
  assert.equal(ggufName("model.layers.0.self_attn.rotary_emb.inv_freq"), undefined);
});
