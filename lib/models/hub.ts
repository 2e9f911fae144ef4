/**
 * Models of the Hugging Face hub, kept where its Python library keeps them: `models--OWNER--NAME` in `HF_HUB_CACHE`,
 * `HF_HOME/hub` or `~/.cache/huggingface/hub`, blobs by their hash and links to them by snapshot.
 */

import type { Hash } from "node:crypto";
import { downloadFile, HUB_URL, type ListFileEntry, listFiles, modelInfo } from "npm:@huggingface/hub@2.17.5";
import { isFile, readText, writeWhole } from "../files.ts";

/** Where models come from and where they are kept. */
export interface HubOptions {
  /** Default: the public hub. */
  readonly hubUrl?: string;
  /** Default: the Python library's (see above). */
  readonly cacheFolder?: string;
}

/** What an encoder's folder may hold beside its weights. */
const descriptions = [
  "config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
];

const weights = "model.safetensors";
const shards = /^model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/;

/** Ids such as `roberta-base` or `FacebookAI/roberta-base`. */
export function isHubId(text: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(text);
}

/**
 * The folder of model `id`, as its main branch was when it was first fetched: a snapshot that is in the cache whole is used
 * without asking the hub. Only the files that an encoder needs are fetched, the weights last, each checked by size and hash. A
 * download that breaks off goes on from there the next time. `HF_TOKEN` in the environment opens private and gated models.
 * @throws Error naming the model or the file and what to do.
 */
export async function downloadModel(
  id: string,
  { hubUrl = HUB_URL, cacheFolder }: HubOptions = {},
): Promise<string> {
  const storage = `${cacheFolder ?? pythonsCache()}/models--${id.replaceAll("/", "--")}`;
  const cached = await cachedSnapshot(storage);
  if (cached) return cached;
  await Deno.mkdir(storage, { recursive: true });
  using lock = await Deno.create(`${storage}/.lock`);
  await lock.lock(true);
  // Another process may have fetched it while this one waited.
  return await cachedSnapshot(storage) ?? await fetchSnapshot(id, hubUrl, storage);
}

/** Fetches what of the model's files is not there yet, and links to them. */
async function fetchSnapshot(id: string, hubUrl: string, storage: string): Promise<string> {
  const remote = { repo: id, hubUrl, accessToken: Deno.env.get("HF_TOKEN") };
  const { commit, entries } = await listing(remote);
  const snapshot = `${storage}/snapshots/${commit}`;
  for (const folder of [snapshot, `${storage}/blobs`, `${storage}/refs`]) {
    await Deno.mkdir(folder, { recursive: true });
  }
  await writeWhole(`${storage}/refs/main`, commit);
  for (const entry of entries) {
    const hash = hashOf(entry);
    await fetchBlob({ ...remote, revision: commit }, entry, `${storage}/blobs/${hash}`);
    const link = `${snapshot}/${entry.path}`;
    if (!await isFile(link)) await Deno.symlink(`../../blobs/${hash}`, link);
  }
  return snapshot;
}

/** What may name a snapshot's folder. */
function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** Where the Python library keeps models. */
function pythonsCache(): string {
  const env = (name: string) => Deno.env.get(name);
  const home = env("HF_HOME") ??
    `${env("XDG_CACHE_HOME") ?? `${env("HOME") ?? env("USERPROFILE")}/.cache`}/huggingface`;
  return env("HF_HUB_CACHE") ?? `${home}/hub`;
}

/** The snapshot in the cache, if there is one with weights: they come last. */
async function cachedSnapshot(storage: string): Promise<string | undefined> {
  if (!await isFile(`${storage}/refs/main`)) return undefined;
  const commit = (await readText(`${storage}/refs/main`, 1000)).trim();
  if (!isCommit(commit)) return undefined;
  const snapshot = `${storage}/snapshots/${commit}`;
  const has = async (names: readonly string[]) =>
    (await Promise.all(names.map((name) => isFile(`${snapshot}/${name}`)))).includes(true);
  const described = await has(["config.json"]) && await has(["tokenizer.json", "merges.txt", "vocab.txt"]);
  return described && await has([weights, `${weights}.index.json`]) ? snapshot : undefined;
}

interface Remote {
  readonly repo: string;
  readonly hubUrl: string;
  readonly accessToken: string | undefined;
  readonly revision?: string;
}

/** The commit of the main branch, and the files to fetch from it in their order. */
async function listing(remote: Remote): Promise<{ commit: string; entries: ListFileEntry[] }> {
  const { repo, hubUrl } = remote;
  const asked = async <T>(answer: () => Promise<T>): Promise<T> => {
    try {
      return await answer();
    } catch (error) {
      throw new Error(
        `cannot find "${repo}", which is no folder here, on ${hubUrl}: ${
          (error as Error).message
        }. Check the name; ` +
          `for a private or gated model set HF_TOKEN`,
        { cause: error },
      );
    }
  };
  const { sha: commit } = await asked(() => modelInfo({ ...remote, name: repo, additionalFields: ["sha"] }));
  if (!isCommit(commit)) {
    throw new Error(`${hubUrl} says that "${repo}" is at commit "${commit}": that is none`);
  }
  const listed = await asked(() => Array.fromAsync(listFiles({ ...remote, revision: commit })));
  const files = new Map(listed.map((file) => [file.path, file]));
  // "model-…" sorts before "model.…": the index comes after its shards.
  const needed = files.has(weights)
    ? [weights]
    : [...files.keys()].filter((path) => shards.test(path)).toSorted();
  if (needed.length === 0) {
    throw new Error(
      `"${repo}" on ${hubUrl} has no ${weights}: convert it with save_pretrained(…, safe_serialization=True)`,
    );
  }
  return { commit, entries: [...descriptions, ...needed].flatMap((path) => files.get(path) ?? []) };
}

/** A file's name among the blobs: the SHA-256 of a large file, git's SHA-1 of a small one. */
function hashOf({ path, lfs, oid }: ListFileEntry): string {
  const hash = lfs?.oid ?? oid ?? "";
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) return hash;
  throw new Error(`the hub gives ${path} the hash "${hash}", and that is none`);
}

/** Fetches what of the blob is not there yet. */
async function fetchBlob(remote: Remote, entry: ListFileEntry, blob: string): Promise<void> {
  if (await isFile(blob)) return;
  const part = `${blob}.incomplete`;
  using file = await Deno.open(part, { create: true, read: true, write: true });
  const size = entry.lfs?.size ?? entry.size;
  const where = `"${entry.path}" of "${remote.repo}"`;
  // Imported here so that a bundle for browsers, which have no such module, loads.
  const { createHash } = await import("node:crypto");
  const hash = entry.lfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  let at = await hashSoFar(file, hash);
  try {
    for await (const chunk of await chunksFrom(remote, entry.path, at, size)) {
      hash.update(chunk);
      for (let written = 0; written < chunk.length;) written += await file.write(chunk.subarray(written));
      at += chunk.length;
      // A server may send without end.
      if (at > size) break;
    }
  } catch (error) {
    const what = `broke off at byte ${at} of ${size}: run again to go on from there`;
    throw new Error(`the download of ${where} ${what} (${(error as Error).message ?? error})`, {
      cause: error,
    });
  }
  if (at < size) {
    throw new Error(
      `the download of ${where} broke off at byte ${at} of ${size}: run again to go on from there`,
    );
  }
  if (at > size || hash.digest("hex") !== hashOf(entry)) {
    await Deno.remove(part);
    throw new Error(
      `the download of ${where} has not the size and hash that the hub announced: run again to begin anew`,
    );
  }
  await Deno.rename(part, blob);
}

/** Hashes what is in the file, and stands at its end. */
async function hashSoFar(file: Deno.FsFile, hash: Hash): Promise<number> {
  const buffer = new Uint8Array(2 ** 20);
  let at = 0;
  for (let count; (count = await file.read(buffer)) !== null; at += count) {
    hash.update(buffer.subarray(0, count));
  }
  return at;
}

/** The bytes of a remote file from `at` on. */
async function chunksFrom(
  remote: Remote,
  path: string,
  at: number,
  size: number,
): Promise<AsyncIterable<Uint8Array>> {
  if (at >= size) return ReadableStream.from([]);
  // Over plain HTTP: byte ranges are all that going on takes.
  const blob = await downloadFile({ ...remote, path, xet: false });
  if (!blob) throw new Error("the file is gone");
  return blob.slice(at).stream();
}
