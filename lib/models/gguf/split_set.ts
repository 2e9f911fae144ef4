/**
 * GGUF models in one file or in several, as llama.cpp's gguf-split writes them: `name-00001-of-00003.gguf` and so on, each
 * with `split.no` from 0, `split.count`, and `split.tensors.count`, the number of tensors of all. The first has the model's
 * metadata.
 */

import { isFile } from "../../files.ts";
import { show } from "../../show.ts";
import { type GgufHeader, type GgufPlace, readGgufHeader } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";

/** A model's metadata, and its tensors by name. */
export interface GgufModel {
  readonly metadata: GgufMetadata;
  readonly places: ReadonlyMap<string, GgufPlace>;
}

const shardName = /-(\d{5})-of-(\d{5})\.gguf$/;

/** The path of the `index`-th of `count` files, for that of any of them. */
function pathOfShard(path: string, index: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return path.replace(shardName, `-${digits(index + 1)}-of-${digits(count)}.gguf`);
}

/** The paths of all files of the set that the file at `path` belongs to by its name: its own, if it is no set's. */
export function filesOfSet(path: string): string[] {
  const count = Number(shardName.exec(path)?.[2] ?? 1);
  return Array.from({ length: count }, (_, index) => pathOfShard(path, index, count));
}

/**
 * Reads the headers of the model at `path`, any file of its set.
 * @throws what opening a file throws, and an Error that begins with the path of the file that is malformed, is missing, or
 * does not belong to the set.
 */
export async function readGguf(path: string): Promise<GgufModel> {
  const header = readGgufHeader(path);
  const count = header.metadata.number("split.count", 1);
  const named = Number(shardName.exec(path)?.[2] ?? 1);
  if (named !== count) {
    throw new Error(
      `${path}: split.count is ${count}, and its name says ${named}: name the files as llama.cpp did, such as ${
        pathOfShard("model-00000-of-00000.gguf", 0, count)
      }`,
    );
  }
  if (count === 1) return header;
  const shards: GgufHeader[] = [];
  for (let index = 0; index < count; index++) {
    const own = pathOfShard(path, index, count);
    if (!await isFile(own)) {
      throw new Error(`${own}: there is no such file, and the model is in ${count}: put it beside ${path}`);
    }
    shards.push(readGgufHeader(own));
    checkShard(shards[index], index, shards[0]);
  }
  return { metadata: shards[0].metadata, places: together(shards) };
}

/** Throws an Error where a shard's own entries disagree with its place or with the first. */
function checkShard({ metadata, alignment }: GgufHeader, index: number, first: GgufHeader): void {
  const wanted = {
    "split.no": index,
    "split.count": first.metadata.number("split.count"),
    "split.tensors.count": first.metadata.number("split.tensors.count"),
  };
  for (const [key, value] of Object.entries(wanted)) {
    const found = metadata.number(key);
    if (found === value) continue;
    throw new Error(
      `${metadata.origin}: ${key} is ${found}, and ${value} is wanted: download the whole set again`,
    );
  }
  // Writers of sets do not agree whose alignment the later files have.
  if (alignment !== first.alignment) {
    throw new Error(
      `${metadata.origin}: general.alignment is ${alignment}, and ${first.alignment} in ${first.metadata.origin}: merge the set with llama.cpp's gguf-split`,
    );
  }
}

/** The tensors of all shards. Throws an Error for a name in two of them, and where some are missing. */
function together(shards: readonly GgufHeader[]): Map<string, GgufPlace> {
  const found = new Map<string, GgufPlace>();
  for (const [name, place] of shards.flatMap(({ places }) => [...places])) {
    const other = found.get(name);
    if (other) {
      throw new Error(
        `${place.origin}: tensor ${show(name)} is in ${other.origin} too: download both again`,
      );
    }
    found.set(name, place);
  }
  const [{ metadata }] = shards;
  const wanted = metadata.number("split.tensors.count");
  if (found.size === wanted) return found;
  throw new Error(
    `${metadata.origin}: split.tensors.count is ${wanted}, and the set has ${found.size} tensors: download the whole set again`,
  );
}
