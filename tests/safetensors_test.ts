/** The safetensors reader and writer: round trips, conversions, and files that break the format. */

import assert from "node:assert/strict";
import { randomBits } from "../lib/graph/random.ts";
import {
  encodeSafetensors,
  fromFloat32,
  type NamedTensor,
  parseSafetensors,
  readSafetensors,
  type SafetensorsDtype,
  toFloat32,
  writeSafetensors,
} from "../lib/models/safetensors.ts";

/**
 * A file with this header (JSON text, or a value to write as JSON) and data (bytes, or a number of zeros).
 */
function fileOf(header: unknown, data: number | Uint8Array = 0): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const body = typeof data === "number" ? new Uint8Array(data) : data;
  const bytes = new Uint8Array([...new Uint8Array(8), ...text, ...body]);
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  return bytes;
}

function tensorOf(dtype: SafetensorsDtype, data: Uint8Array<ArrayBuffer>): NamedTensor {
  return { name: "a", origin: "f", dtype, shape: [data.length], data };
}

/** The value of a float of `exponentBits` and `fractionBits`, by the definition in IEEE 754. */
function floatValue(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >> exponentBits + fractionBits ? -1 : 1;
  const exponent = (bits >> fractionBits) % 2 ** exponentBits;
  const fraction = bits % 2 ** fractionBits / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias));
}

/** The same numbers, 0 and −0 apart; a NaN is a NaN whatever its payload, which deepEqual would compare. */
function assertSame(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  const at = actual.findIndex((value, i) => !Object.is(value, expected[i]));
  assert.equal(at, -1, `${actual[at]} rather than ${expected[at]} at ${at}`);
}

/** Float32s with every hazard: a signalling NaN and a quiet one with payloads, −0, infinities, subnormals. */
function hazards(size: number): Float32Array<ArrayBuffer> {
  const special = [0x7f800001, 0xffc12345, 0x80000000, 0x7f800000, 0xff800000, 0x00000001, 0x807fffff];
  return new Float32Array(
    Uint32Array.from({ length: size }, (_, i) => special[i] ?? randomBits(1, 2, 3, i)).buffer,
  );
}

const shapes: readonly (readonly [string, readonly number[]])[] = [
  ["scalar", []],
  ["one", [1]],
  ["matrix", [7, 13]],
  ["empty", [0, 3]],
  ["10", [2]],
  ["9", [3]],
  ["__proto__", [1, 1, 2]],
  ['é "quoted"\n', [5]],
];

Deno.test("a round trip through a file keeps names, shapes, metadata and every bit", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a.safetensors`;
  const written = new Map(shapes.map(([name, shape]) => {
    const data = hazards(shape.reduce((product, n) => product * n, 1));
    return [name, { shape, data }];
  }));
  await writeSafetensors(path, written, { rank: "8" });
  const { metadata, tensors } = await readSafetensors(path);
  assert.deepEqual(metadata, { format: "pt", rank: "8" });
  assert.deepEqual([...tensors.keys()], [...written.keys()].sort());
  for (const [name, { shape, data }] of written) {
    const tensor = tensors.get(name)!;
    assert.deepEqual([tensor.name, tensor.origin, tensor.dtype, tensor.shape], [name, path, "F32", shape]);
    assert.deepEqual(new Uint8Array(toFloat32(tensor).slice().buffer), new Uint8Array(data.buffer));
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("bytes are those of the reference implementation, in the order of names, padded to 8", () => {
  // What `safetensors.numpy.save` of safetensors 0.8.0 gives for these tensors and this metadata.
  const header = '{"__metadata__":{"format":"pt"},"10":{"dtype":"F32","shape":[],"data_offsets":[0,4]},' +
    '"9":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},' +
    '"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}      ';
  const values = new Uint8Array(Float32Array.of(-0, 1.5, NaN).buffer);
  const tensors = new Map([
    ["b", { shape: [2], data: Float32Array.of(1.5, NaN) }],
    ["10", { shape: [], data: Float32Array.of(7, -0, 7).subarray(1, 2) }],
    ["9", { shape: [0, 3], data: new Float32Array() }],
  ]);
  assert.deepEqual(encodeSafetensors(tensors), fileOf(header, values));
});

Deno.test("a write that fails leaves the old file whole", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/a.safetensors`;
  await writeSafetensors(path, new Map([["old", { shape: [1], data: Float32Array.of(1) }]]));
  await Deno.mkdir(`${path}.part`);
  await assert.rejects(() => writeSafetensors(path, new Map()));
  assert.deepEqual([...(await readSafetensors(path)).tensors.keys()], ["old"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("what cannot be written is refused by name", () => {
  const data = new Float32Array(4);
  for (
    const [name, shape, message] of [
      ["a", [3], /"a" has shape \[3\] and 4 values: give a shape/],
      ["a", [-2, -2], /"a" has shape \[-2,-2\] and 4 values/],
      ["a", [1.6, 2.5], /"a" has shape \[1.6,2.5\] and 4 values/],
      ["__metadata__", [4], /named "__metadata__": rename it/],
      ["\ud800", [4], /named "\\ud800": rename it/],
    ] as const
  ) {
    assert.throws(() => encodeSafetensors(new Map([[name, { shape, data }]])), message);
  }
  assert.throws(() => encodeSafetensors(new Map(), { a: "\udc00" }), /metadata "\\udc00" holds half/);
  assert.throws(() => encodeSafetensors(new Map(), { "\ud800": "" }), /metadata "\\ud800" holds half/);
});

Deno.test("merged values that are not finite: the base's dtype is to blame, or the adapter", () => {
  const written = (dtype: "F32" | "F16", value: number) => () =>
    fromFloat32("w", dtype, Float32Array.of(1, value));
  assert.throws(
    written("F16", 70_000),
    /^Error: tensor "w" holds values that are not finite as F16: take the base in F32/,
  );
  for (const dtype of ["F32", "F16"] as const) {
    for (const value of [NaN, Infinity]) {
      assert.throws(
        written(dtype, value),
        /"w" holds values that are not finite: the adapter's are too large, or its training diverged: train it/,
      );
    }
  }
  assert.equal(written("F32", 70_000)().length, 8);
});

Deno.test("F16 and BF16 convert exactly, all 65,536 of each, at any alignment", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const shifted = new Uint8Array(2 * all.length + 1).subarray(1);
  shifted.set(new Uint8Array(all.buffer));
  for (const [dtype, exponentBits, fractionBits] of [["F16", 5, 10], ["BF16", 8, 7]] as const) {
    const expected = Float32Array.from(all, (bits) => floatValue(bits, exponentBits, fractionBits));
    assertSame(toFloat32(tensorOf(dtype, new Uint8Array(all.buffer))), expected);
    assertSame(toFloat32(tensorOf(dtype, shifted)), expected);
  }
});

Deno.test("F32 is a view where aligned, else a copy; F64 rounds to nearest; others are refused", () => {
  const values = hazards(9);
  const bytes = new Uint8Array(values.buffer);
  for (const pad of ["", " ", "  ", "   "]) {
    const file = fileOf(`{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}${pad}`, bytes);
    const tensor = parseSafetensors(file, "f").tensors.get("a")!;
    const floats = toFloat32(tensor);
    assert.deepEqual(new Uint8Array(floats.buffer, floats.byteOffset, 36), bytes);
    assert.equal(floats.buffer === file.buffer, tensor.data.byteOffset % 4 === 0);
  }
  // Halfway between 1 and the next float32 (to even), just above, past the largest, below the smallest.
  const doubles = Float64Array.of(1 + 2 ** -24, 1 + 2 ** -24 + 2 ** -50, 1e39, -(2 ** -151), 0.1, NaN);
  const rounded = Float32Array.of(1, 1 + 2 ** -23, Infinity, -0, 13421773 / 2 ** 27, NaN);
  assertSame(toFloat32(tensorOf("F64", new Uint8Array(doubles.buffer))), rounded);
  for (const dtype of ["I64", "BOOL", "F8_E4M3", "F4"] as const) {
    const message = new RegExp(
      `f: tensor "a" is ${dtype}; only F32, F16, BF16 and F64 .*: save it as one of`,
    );
    assert.throws(() => toFloat32(tensorOf(dtype, new Uint8Array(8))), message);
  }
});

/** A header of one F32 tensor of shape [2], with changes. */
function one(changes: object = {}): Record<string, unknown> {
  return { a: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...changes } };
}

/** A header of U8 tensors a, b, … at these offsets. */
function laid(...offsets: readonly (readonly [number, number])[]): Record<string, unknown> {
  return Object.fromEntries(offsets.map(([begin, end], i) => {
    return ["abc"[i], { dtype: "U8", shape: [end - begin], data_offsets: [begin, end] }];
  }));
}

const nested = (depth: number) =>
  `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":${"[".repeat(depth)}${"]".repeat(depth)}}}`;
const huge = fileOf(one(), 8);
new DataView(huge.buffer).setBigUint64(0, 2n ** 64n - 1n, true);
const pointer = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:0000\n");

const malformed: readonly (readonly [Uint8Array<ArrayBuffer>, RegExp])[] = [
  [new Uint8Array(0), /^f: 0 bytes are no safetensors file: download or write the file again$/],
  [fileOf(one(), 8).slice(0, 7), /^f: 7 bytes/],
  [fileOf(one(), 8).slice(0, 60), /^f: its header has 54 bytes, and 52 follow: the file is truncated/],
  [huge, /^f: announces a header of 18446744073709551615 bytes, and 100000000 is the limit/],
  [pointer, /^f: announces a header of 2336927755350992246 bytes.*look for a Git LFS pointer/],
  [new Uint8Array([1, 225, 245, 5, 0, 0, 0, 0]), /^f: announces a header of 100000001 bytes/],
  [new Uint8Array([0, 225, 245, 5, 0, 0, 0, 0]), /^f: its header has 100000000 bytes, and 0 follow/],
  [new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 123, 255]), /header is not a JSON object in UTF-8: .*not valid/],
  [fileOf('\ufeff{"a":1}'), /not a JSON object in UTF-8: it begins with "\ufeff", not with {/],
  [fileOf(""), /it begins with "", not with {/],
  [fileOf("[]"), /it begins with "\[", not with {/],
  [fileOf(" {}"), /it begins with " ", not with {/],
  [fileOf('{"a'), /not a JSON object in UTF-8: Unterminated string/],
  [fileOf("{} x"), /not a JSON object in UTF-8: Unexpected non-whitespace/],
  [fileOf(nested(126), 8), /it nests deeper than 127 levels/],
  [fileOf('{"a":'.repeat(100_000)), /it nests deeper than 127 levels/],
  [fileOf('{"\\ud800":1}'), /it has half a surrogate pair in "\\ud800"/],
  [fileOf('{"ab":1,"c":{},"a\\u0062":1}'), /it has the key "ab" twice/],
  [fileOf('{"a":{"dtype":"F32","dtype":"F32"}}'), /it has the key "dtype" twice/],
  [fileOf({ __metadata__: [] }), /__metadata__ is \[\]: write an object whose values are strings/],
  [fileOf({ __metadata__: "pt" }), /__metadata__ is "pt":/],
  [fileOf({ __metadata__: { r: 8 } }), /__metadata__ is {"r":8}:/],
  [fileOf({ a: null }), /^f: tensor "a" has dtype undefined: expected one of F4, .*U64$/],
  [fileOf('{"__proto__":{"shape":[]}}'), /^f: tensor "__proto__" has dtype undefined/],
  [fileOf(one({ dtype: "constructor" }), 8), /"a" has dtype "constructor": expected one of/],
  [fileOf(one({ dtype: ["F32"] }), 8), /"a" has dtype \["F32"\]: expected one of/],
  [fileOf(one({ shape: 2 }), 8), /"a" has shape 2: expected an array of whole numbers/],
  [fileOf(one({ shape: { length: 0 } }), 8), /"a" has shape {"length":0}/],
  [fileOf(one({ shape: [-1, -2] }), 8), /"a" has shape \[-1,-2\]/],
  [fileOf(one({ shape: [0.5, 4] }), 8), /"a" has shape \[0.5,4\]/],
  [fileOf(one({ shape: ["2"] }), 8), /"a" has shape \["2"\]/],
  [fileOf(one({ shape: [2 ** 53] }), 8), /"a" has shape \[9007199254740992\]/],
  [fileOf(one({ shape: new Array(99).fill(-1) }), 8), /"a" has shape \[(-1,){26}-…: expected/],
  [fileOf(one({ shape: [2 ** 30, 2 ** 30, 0] }), 8), /takes more than 2\^53 bytes, but claims 8 \(0–8\)/],
  [fileOf(one({ data_offsets: undefined }), 8), /"a" has data_offsets undefined: expected .*in order/],
  [fileOf(one({ data_offsets: [0] }), 8), /"a" has data_offsets \[0\]/],
  [fileOf(one({ data_offsets: [0, 8, 8] }), 8), /"a" has data_offsets \[0,8,8\]/],
  [fileOf(one({ data_offsets: [8, 0] }), 8), /"a" has data_offsets \[8,0\]/],
  [fileOf(one({ data_offsets: [-8, 0] }), 8), /"a" has data_offsets \[-8,0\]/],
  [fileOf(one({ data_offsets: ["0", 8] }), 8), /"a" has data_offsets \["0",8\]/],
  [
    fileOf(one({ shape: [100], data_offsets: [0, 400] }), 256),
    /^f: tensor "a" claims bytes 0–400 of a 256-byte buffer: the file is truncated; download or write/,
  ],
  [fileOf(one({ shape: [3] }), 8), /"a" is F32 \[3\] and takes 12 bytes, but claims 8 \(0–8\)/],
  [fileOf(one({ dtype: "F64" }), 8), /"a" is F64 \[2\] and takes 16 bytes, but claims 8/],
  [fileOf(one({ dtype: "F4", shape: [17] }), 8), /"a" is F4 \[17\] and takes 8.5 bytes, but claims 8/],
  [fileOf(laid([0, 6], [4, 8]), 8), /"b" begins at byte 4 of the data and overlaps the one before.*byte 6/],
  [fileOf(laid([0, 4], [0, 4]), 4), /"b" begins at byte 0 of the data and overlaps.*byte 4/],
  [fileOf(laid([0, 4], [2, 2]), 4), /"b" begins at byte 2 of the data and overlaps.*byte 4/],
  [fileOf(laid([4, 8], [0, 2]), 8), /"a" begins at byte 4 of the data and leaves a hole.*byte 2/],
  [fileOf(laid([1, 8]), 8), /"a" begins at byte 1 of the data and leaves a hole that begins at byte 0/],
  [fileOf(laid([0, 4]), 7), /^f: its tensors end at byte 4 of 7 of the data/],
  [fileOf({}, 1), /^f: its tensors end at byte 0 of 1 of the data/],
];

Deno.test("every way to break the format is refused, with file, tensor and numbers", () => {
  for (const [bytes, message] of malformed) {
    assert.throws(() => parseSafetensors(bytes, "f"), (error: Error) => {
      assert.match(error.message, message);
      return error.constructor === Error && error.message.startsWith("f: ");
    });
  }
});

Deno.test("what the format allows is read: any order, unknown fields, small dtypes, awkward names", () => {
  const named = (header: unknown, data: number) => [...parseSafetensors(fileOf(header, data), "f").tensors];
  assert.deepEqual(named("{}      ", 0), []);
  assert.deepEqual(named(laid([4, 8], [0, 4], [4, 4]), 8).map(([name]) => name), ["b", "c", "a"]);
  assert.equal(named(nested(125), 8).length, 1);
  assert.equal(named(one({ dtype: "F4", shape: [4, 4] }), 8)[0][1].data.length, 8);
  assert.deepEqual(named(one({ shape: [0, 2 ** 53 - 1, 9], data_offsets: [0, 0] }), 0)[0][0], "a");
  const hostile =
    '{"__metadata__":{"__proto__":"x"},"__proto__":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}';
  const { metadata, tensors } = parseSafetensors(fileOf(hostile, 1), "f");
  assert.deepEqual([...tensors.keys()], ["__proto__"]);
  assert.deepEqual(Object.entries(metadata), [["__proto__", "x"]]);
  assert.equal(Object.getPrototypeOf(metadata), Object.prototype);
});

/**
 * What `safe_open` of safetensors 0.8.0 makes of odd headers over 8 bytes of data: the names in the file, or that it is refused. Where
 * it reads one that is refused here, the format's own text says why: "The header data MUST begin with a { character", "Duplicate
 * keys are disallowed", and that a tensor is an object with named fields.
 */
const tensorA = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';
const empty = (at: number) => `"b":{"dtype":"F32","shape":[0,3],"data_offsets":[${at},${at}]}`;
const odd: readonly (readonly [header: string, reference: string[] | "refused", stricter?: RegExp])[] = [
  [`{"__metadata__":null,${tensorA}}`, ["a"]],
  [`{${tensorA},"__metadata__":null}`, ["a"]],
  [`{"__metadata__":{},${tensorA}}`, ["a"]],
  [`{${tensorA}}`, ["a"]],
  [`{"__metadata__":{"r":8},${tensorA}}`, "refused"],
  [`{"__metadata__":{"r":null},${tensorA}}`, "refused"],
  [`{"__metadata__":{"r":{}},${tensorA}}`, "refused"],
  [`{"__metadata__":[],${tensorA}}`, "refused"],
  [`{"__metadata__":"",${tensorA}}`, "refused"],
  [`{"__metadata__":false,${tensorA}}`, "refused"],
  [`{"__metadata__":0,${tensorA}}`, "refused"],
  [`{"__metadata__":null,"__metadata__":null,${tensorA}}`, "refused"],
  [`{"__metadata__":{},"__metadata__":{},${tensorA}}`, "refused"],
  [`{"__metadata__":{"r":"8","r":"16"},${tensorA}}`, ["a"], /the key "r" twice/],
  [`{${tensorA},${tensorA}}`, ["a"], /the key "a" twice/],
  [`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "refused"],
  [`{${tensorA}}       `, ["a"]],
  [`{${tensorA}}\n\t\r `, ["a"]],
  [`{ ${tensorA} }`, ["a"]],
  [`{${tensorA}}\0\0`, "refused"],
  [` {${tensorA}}`, ["a"], /begins with " ", not with \{/],
  [`{${empty(0)},${tensorA}}`, ["a", "b"]],
  [`{${tensorA},${empty(8)}}`, ["a", "b"]],
  [`{${tensorA},${empty(4)}}`, "refused"],
  [`{${tensorA},${empty(16)}}`, "refused"],
  ['{"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', [""]],
  ['{"a":["F32",[2],[0,8]]}', ["a"], /"a" has dtype undefined/],
  ['{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}', ["a"]],
];

Deno.test("odd headers are read as the reference implementation reads them, or refused where the format refuses them", () => {
  for (const [header, reference, stricter] of odd) {
    const read = () => parseSafetensors(fileOf(header, 8), "f");
    if (stricter || reference === "refused") {
      assert.throws(read, stricter ?? /^Error: f: /, header);
    } else {
      const { metadata, tensors } = read();
      assert.deepEqual([...tensors.keys()].toSorted(), reference, header);
      assert.deepEqual(metadata, {}, header);
    }
  }
});

const fuzzHeader =
  '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},' +
  '"b":{"dtype":"BF16","shape":[0,7],"data_offsets":[24,24]},"c":{"dtype":"F4","shape":[3,2],' +
  '"data_offsets":[24,27]},"d":{"dtype":"U8","shape":[],"data_offsets":[27,28]}}';
const fuzzTokens =
  "0 1 2 3 6 24 27 28 -1 -0 1e3 2.5 9007199254740991 9007199254740993 1e308 1e999 null true [] {} " +
  '[0,24] [[[]]] "F32" "F16" "I8" "a" "c" "__proto__" "__metadata__" "\\ud800" "shape"';

/** One mutation of the header's text: a token exchanged, characters removed, or one put in. */
function mutateHeader(header: string, pick: (below: number) => number): string {
  const at = pick(header.length);
  switch (pick(4)) {
    case 0:
      return header.slice(0, at) + header.slice(at + 1 + pick(4));
    case 1:
      return header.slice(0, at) + '{}[]",:0-\\ é'[pick(12)] + header.slice(at);
    default: {
      const tokens = [...header.matchAll(/-?\d+|"[^"]*"|\[[^\]]*\]/g)];
      const [token] = tokens.length ? [tokens[pick(tokens.length)]] : [];
      const choices = fuzzTokens.split(" ");
      return token
        ? header.slice(0, token.index) + choices[pick(choices.length)] +
          header.slice(token.index + token[0].length)
        : header;
    }
  }
}

/** The tensors of a file lie end to end in its bytes, each of the size its dtype and shape say. */
function checkInBounds(bytes: Uint8Array<ArrayBuffer>): void {
  const { tensors } = parseSafetensors(bytes, "f");
  let at = 8 + new DataView(bytes.buffer).getUint32(0, true);
  for (const { dtype, shape, data } of tensors.values()) {
    const bits = dtype === "BOOL" ? 8 : Number(/\d+/.exec(dtype));
    assert.equal(data.length * 8, shape.reduce((product, n) => product * n, bits));
    assert.deepEqual([data.buffer === bytes.buffer, data.byteOffset], [true, at]);
    at += data.length;
  }
  assert.equal(at, bytes.length);
}

Deno.test("12,000 mutations of a file are read within bounds or refused by a plain Error", () => {
  let calls = 0;
  const pick = (below: number) => randomBits(7, 0, 0, calls++) % below;
  const messages = new Set<string>();
  let read = 0;
  for (let i = 0; i < 12_000; i++) {
    let header = fuzzHeader;
    for (let edits = pick(3); edits > 0; edits--) header = mutateHeader(header, pick);
    let bytes = fileOf(header, pick(8) ? 28 : pick(40));
    if (pick(8) === 0) bytes[pick(pick(2) ? 8 : bytes.length)] ^= 1 << pick(8);
    if (pick(8) === 0) bytes = bytes.slice(0, pick(bytes.length + 1));
    try {
      checkInBounds(bytes);
      read++;
    } catch (error) {
      assert.ok(error instanceof Error);
      assert.equal(error.constructor, Error, `file ${i}: ${error.constructor.name}: ${error.message}`);
      assert.match(error.message, /^f: /);
      messages.add(error.message.replaceAll(/"(\\.|[^"])*"|[-\d.]+|\[.*\]/g, "…").slice(0, 60));
    }
  }
  // Enough files of both kinds, and enough different errors, for the test to mean something.
  assert.ok(read > 2000 && read < 8000, `${read} of 12,000 were read`);
  assert.ok(messages.size > 25, `only ${messages.size} kinds of message`);
});
