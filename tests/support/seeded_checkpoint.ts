/**
 * Checkpoints in Hugging Face's layout, their weights drawn from their names as `fixtures/bert_reference.py` and
 * `fixtures/decoder_reference.py` draw them.
 */

import { streamOf, uniform } from "../../lib/graph/random.ts";
import { weightShapes } from "../../lib/models/bert.ts";
import { readEncoderConfig } from "../../lib/models/hugging_face_config.ts";

/** A tensor to be drawn. */
export interface TensorShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** How tensors are written. */
export interface TensorOptions {
  readonly dtype?: "F32" | "F16" | "BF16";
  /** Writes a sparse file: the values are zeros that take no disk space and no time. */
  readonly hollow?: boolean;
  /** Number of files that the tensors are distributed over; 1 by default. */
  readonly shards?: number;
  /** What the tensors are called in the files, if not as they are drawn. */
  readonly rename?: (name: string) => string;
}

/** How an encoder's checkpoint is written. Its tensors are called as in a model with a head. */
export interface CheckpointOptions extends TensorOptions {
  /** Tensors, by their names in a model with a head, that are left out. */
  readonly without?: RegExp;
  /** Tensors that are there beside the trunk's. */
  readonly extra?: readonly TensorShape[];
  /** Tokenizer files by name; by default a few words for WordPiece. */
  readonly tokenizer?: Readonly<Record<string, string>>;
}

const fewWords = {
  "vocab.txt": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "c"].join("\n"),
};

/** The seeded values of a tensor of an encoder, or of an adapter. */
export function seeded(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const [bound, shift] = name.includes("LayerNorm")
    ? [0.2, Number(name.endsWith("weight"))]
    : [name.includes("embeddings") ? 1 : shape.length === 2 ? shape[1] ** -0.5 : 0.1, 0];
  return drawn(name, shape, bound, shift);
}

/** The seeded values of a tensor of a decoder. */
export function seededDecoder(
  name: string,
  shape: readonly number[],
  modelType: string,
): Float32Array<ArrayBuffer> {
  if (name.endsWith("norm.weight")) return drawn(name, shape, 0.5, Number(modelType !== "gemma"));
  return drawn(name, shape, shape.length === 2 ? 3 * shape[1] ** -0.5 : 1, 0);
}

function drawn(name: string, shape: readonly number[], bound: number, shift: number) {
  const values = uniform(1, streamOf(name), shape.reduce((a, b) => a * b, 1), bound);
  return shift === 0 ? values : values.map((value) => value + shift);
}

/** The bytes of `values` in a dtype; BF16 by rounding to nearest, ties to even, as PyTorch does. */
export function bytesIn(
  dtype: "F32" | "F16" | "BF16",
  values: Float32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  if (dtype === "F16") return new Uint8Array(Float16Array.from(values).buffer);
  const words = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(words, (word) => (word + 0x7fff + (word >> 16 & 1)) >>> 16).buffer);
}

/** Writes the checkpoint of `config` (a `config.json`) into `folder`, tensor by tensor. */
export async function writeCheckpoint(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  { without, extra = [], tokenizer = fewWords, ...options }: CheckpointOptions = {},
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  for (const [name, text] of Object.entries(tokenizer)) await Deno.writeTextFile(`${folder}/${name}`, text);
  const read = await readEncoderConfig(folder);
  const trunk = [...weightShapes(read)].map(([name, shape]) => ({ name: `${read.prefix}.${name}`, shape }));
  await writeTensors(
    folder,
    [...trunk.filter(({ name }) => !without?.test(name)), ...extra],
    ({ name, shape }) => seeded(name, shape),
    options,
  );
}

/** Writes `tensors` into `folder`, one by one, their values by `valuesOf`. */
export async function writeTensors(
  folder: string,
  tensors: readonly TensorShape[],
  valuesOf: (tensor: TensorShape) => Float32Array<ArrayBuffer>,
  { dtype = "F32", hollow = false, shards = 1, rename = (name) => name }: TensorOptions = {},
): Promise<void> {
  const dealt = Array.from({ length: shards }, (_, shard) => tensors.filter((_, i) => i % shards === shard));
  const fileOf = (shard: number) =>
    shards === 1 ? "model.safetensors" : `model-0000${shard + 1}-of-0000${shards}.safetensors`;
  for (const [shard, own] of dealt.entries()) {
    using file = await Deno.create(`${folder}/${fileOf(shard)}`);
    await writeAll(file, headerOf(own.map(({ name, shape }) => ({ name: rename(name), shape })), dtype));
    if (hollow) await file.truncate((await file.stat()).size + bytesOf(own, dtype));
    else for (const tensor of own) await writeAll(file, bytesIn(dtype, valuesOf(tensor)));
  }
  if (shards === 1) return;
  const weight_map = Object.fromEntries(
    dealt.flatMap((own, shard) => own.map(({ name }) => [rename(name), fileOf(shard)])),
  );
  await Deno.writeTextFile(
    `${folder}/model.safetensors.index.json`,
    JSON.stringify({ metadata: {}, weight_map }),
  );
}

function bytesOf(
  tensors: readonly { readonly shape: readonly number[] }[],
  dtype: "F32" | "F16" | "BF16",
): number {
  const element = dtype === "F32" ? 4 : 2;
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, element), 0);
}

/** A safetensors file's bytes up to its data, the tensors one after the other. */
export function headerOf(
  tensors: readonly TensorShape[],
  dtype: "F32" | "F16" | "BF16",
): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = tensors.map(({ name, shape }) => {
    const begin = end;
    end += shape.reduce((a, b) => a * b, dtype === "F32" ? 4 : 2);
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const bytes = new Uint8Array(8 + text.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
