/** Checkpoints in Hugging Face's layout, their weights drawn from their names as `fixtures/bert_reference.py` draws them. */

import { streamOf, uniform } from "../../lib/graph/random.ts";
import { weightShapes } from "../../lib/models/bert.ts";
import { readEncoderConfig } from "../../lib/models/hugging_face_config.ts";

/** How a checkpoint is written. */
export interface CheckpointOptions {
  readonly dtype?: "F32" | "F16" | "BF16";
  /** Writes a sparse file: the values are zeros that take no disk space and no time. */
  readonly hollow?: boolean;
  /** Number of files that the tensors are distributed over; 1 by default. */
  readonly shards?: number;
  /** What the tensors are called in the file; by default as in a model with a head. */
  readonly rename?: (name: string) => string;
  /** Tensors, by their names in a model with a head, that are left out. */
  readonly without?: RegExp;
  /** Tensors that are there beside the trunk's. */
  readonly extra?: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Tokenizer files by name; by default a few words for WordPiece. */
  readonly tokenizer?: Readonly<Record<string, string>>;
}

const fewWords = {
  "vocab.txt": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b", "c"].join("\n"),
};

/** The seeded values of a tensor of a model. */
export function seeded(name: string, shape: readonly number[]): Float32Array<ArrayBuffer> {
  const [bound, shift] = name.includes("LayerNorm")
    ? [0.2, Number(name.endsWith("weight"))]
    : [name.includes("embeddings") ? 1 : shape.length === 2 ? shape[1] ** -0.5 : 0.1, 0];
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
  {
    dtype = "F32",
    hollow = false,
    shards = 1,
    rename = (name) => name,
    without,
    extra = [],
    tokenizer = fewWords,
  }: CheckpointOptions = {},
): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
  for (const [name, text] of Object.entries(tokenizer)) await Deno.writeTextFile(`${folder}/${name}`, text);
  const read = await readEncoderConfig(folder);
  const trunk = [...weightShapes(read)].map(([name, shape]) => ({ name: `${read.prefix}.${name}`, shape }));
  const tensors = [...trunk.filter(({ name }) => !without?.test(name)), ...extra];
  const dealt = Array.from({ length: shards }, (_, shard) => tensors.filter((_, i) => i % shards === shard));
  const fileOf = (shard: number) =>
    shards === 1 ? "model.safetensors" : `model-0000${shard + 1}-of-0000${shards}.safetensors`;
  for (const [shard, own] of dealt.entries()) {
    using file = await Deno.create(`${folder}/${fileOf(shard)}`);
    await writeAll(file, headerOf(own.map(({ name, shape }) => ({ name: rename(name), shape })), dtype));
    if (hollow) await file.truncate((await file.stat()).size + bytesOf(own, dtype));
    else for (const { name, shape } of own) await writeAll(file, bytesIn(dtype, seeded(name, shape)));
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
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
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
