/**
 * Models from the Hugging Face hub, cached in the same layout as its Python library: `models--OWNER--NAME` in
 * `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`, with blobs named by hash and snapshots that
 * link to them.
 */

import type { Hash } from "node:crypto";
import { downloadFile, HUB_URL, type ListFileEntry, listFiles, modelInfo } from "npm:@huggingface/hub@2.17.5";
import { isFile, makeParents, readText, writeWhole } from "../files.ts";
import { RefusedRequest, request, steadily } from "../network.ts";
import { checkDescription, isDecoderFolder } from "./described_model.ts";
import { describingFiles, isTemplate, templatesFolder } from "./folder_files.ts";
import { filesOfSet } from "./gguf/split_set.ts";
import { hubToken } from "./hub_token.ts";
import { readIndex } from "./hugging_face_weights.ts";
import { packagedModels } from "./packaged_models.ts";
import { modulesFile, poolingFile } from "./sentence_pooling.ts";

/** Where models are downloaded from and where they are cached. */
export interface HubOptions {
  /** URL of the hub. Default: `HF_ENDPOINT` of the environment, or the public hub. */
  readonly hubUrl?: string;
  /**
   * Folder of the cache. Default: that of Hugging Face's Python library (`HF_HUB_CACHE`, `HF_HOME/hub` or
   * `~/.cache/huggingface/hub`).
   */
  readonly cacheFolder?: string;
}

/** Sets of files that each define a tokenizer, most preferred first. */
const tokenizers = [["tokenizer.json"], ["vocab.json", "merges.txt"], ["vocab.txt"]];

/** The folder beside `modules.json` whose `config.json` says how tokens are pooled, as sentence-transformers names it. */
const poolingFolder = /^\d+_Pooling$/;

const weights = "model.safetensors";
const index = `${weights}.index.json`;
const shards = /^model(-\d+-of-\d+\.safetensors|\.safetensors\.index\.json)$/;

/** The hub's URL, without a slash at its end: `HF_ENDPOINT` of the environment, or the public hub's. */
export function hubAddress(): string {
  return (Deno.env.get("HF_ENDPOINT") || HUB_URL).replace(/\/+$/, "");
}

/** True for model ids such as `roberta-base` or `FacebookAI/roberta-base`. */
export function isHubId(text: string): boolean {
  return /^\w[\w.-]*(\/\w[\w.-]*)?$/.test(text);
}

/**
 * The local folder of model `id` at the commit of its main branch when it was first downloaded. A complete
 * cached snapshot is used without contacting the hub; missing files, such as a shard that the index names,
 * are downloaded. Of an encoder that another program cached, the hub is asked once how it pools tokens; where
 * it cannot be asked, a warning says so. Only the weights in safetensors and what describes the model are downloaded
 * (`folder_files.ts`); the weights come last, when the rest is known to be read here, and each file is checked by size
 * and hash. Interrupted downloads are resumed. Set `HF_TOKEN` in the environment for private and gated models.
 * @throws Error that names the model or the file and says what to do.
 */
export function downloadModel(id: string, options: HubOptions = {}): Promise<string> {
  return download(id, transformersFiles, options);
}

/** True for a GGUF file of a model on the hub, OWNER/NAME/FILE.gguf, where the file may lie in folders. */
export function isHubGguf(text: string): boolean {
  return /^\w[\w.-]*\/\w[\w.-]*(\/\w[\w.-]*)+\.gguf$/.test(text);
}

/**
 * The local path of the GGUF file OWNER/NAME/FILE.gguf, which is downloaded as `downloadModel` does; of a set, FILE is the first,
 * and all are.
 * @throws Error as `downloadModel` does, and one that lists the GGUF files there are beside it when there is no such file.
 */
export async function downloadGguf(id: string, options: HubOptions = {}): Promise<string> {
  const [owner, name, ...path] = id.split("/");
  const file = path.join("/");
  return `${await download(`${owner}/${name}`, ggufFiles(file), options)}/${file}`;
}

/** The ids that stand for models without the hub. */
const known = packagedModels.map(({ id }) => id).join(" or ");

/** The error when the hub does not say which files a model has: there is no such model, or no way to the hub. */
class NotGiven extends Error {}

/** Which files of a model are wanted. */
interface Wanted {
  /** The first file that a snapshot's folder lacks. */
  lackedBy(folder: string): Promise<string | undefined>;
  /** Those to download of the hub's. Throws an Error when one is not there. */
  among(list: Lister, remote: Remote): Promise<WantedEntries>;
  /** Throws an Error when what is described in the folder is not read here. */
  checkDescription(folder: string): Promise<void>;
  /** True when it is not known whether the model of a whole snapshot says how tokens are pooled. */
  isUnsure(snapshot: Place): Promise<boolean>;
}

/** Files to download, in order: those that describe the model, and its weights, which are much larger. */
interface WantedEntries {
  readonly describing: readonly ListFileEntry[];
  readonly weights: readonly ListFileEntry[];
}

/** The error when a model that the hub gives is not read here. */
class NotRead extends Error {}

/** What lies in a folder of the hub's; by default in the model's own. */
type Lister = (folder?: string) => Promise<ListFileEntry[]>;

/** Where the cache has a commit of a model. */
interface Place {
  readonly storage: string;
  readonly commit: string;
  /** The snapshot's folder. */
  readonly folder: string;
}

/** The folder of a snapshot of model `id` that has the wanted files. */
async function download(
  id: string,
  wanted: Wanted,
  { hubUrl, cacheFolder }: HubOptions,
): Promise<string> {
  const storage = `${cacheFolder ?? pythonsCache()}/models--${id.replaceAll("/", "--")}`;
  const url = hubUrl ?? hubAddress();
  const before = await cachedSnapshot(storage, wanted);
  if (before?.isWhole) {
    if (await wanted.isUnsure(before)) await askForPooling(id, before, url);
    return before.folder;
  }
  using _ = await lockFor(storage);
  // Another process may have downloaded it while this one waited for the lock.
  const cached = await cachedSnapshot(storage, wanted);
  if (cached?.isWhole) return cached.folder;
  try {
    return await fetchSnapshot(id, wanted, url, storage);
  } catch (error) {
    const { message } = error as Error;
    if (cached && !(error instanceof NotRead)) {
      throw new Error(`${cached.folder} lacks ${cached.lacks}, and the hub does not give it: ${message}`, {
        cause: error,
      });
    }
    if (!(error instanceof NotGiven)) throw error;
    throw new Error(
      `there is no model "${id}" here: no folder, no .gguf file, and not ${known} (deno task models)\n` +
        `${url} does not give it either: ${message}`,
      { cause: error },
    );
  }
}

/**
 * Lets one process at a time download a model. The lock lies beside those of Python's library, which takes a folder of a model for
 * damaged while it has no snapshots.
 */
async function lockFor(storage: string): Promise<Disposable> {
  const folder = storage.replace(/[^/]+$/, ".locks/$&");
  await Deno.mkdir(folder, { recursive: true });
  const lock = await Deno.create(`${folder}/bora-webgpu.lock`);
  await lock.lock(true);
  return lock;
}

/** Downloads the missing files of the model and links to them. */
async function fetchSnapshot(id: string, wanted: Wanted, hubUrl: string, storage: string): Promise<string> {
  const remote = remoteOf(id, hubUrl);
  const { commit, entries } = await listing(remote, wanted);
  const place = { storage, commit, folder: `${storage}/snapshots/${commit}` };
  await Deno.mkdir(`${storage}/refs`, { recursive: true });
  await writeWhole(`${storage}/refs/main`, commit);
  await fetchEntries(remote, place, entries.describing);
  if (wanted === transformersFiles) await noteAbsence(place, entries.describing);
  await checkBeforeWeights(wanted, place.folder);
  await fetchEntries(remote, place, entries.weights);
  return place.folder;
}

/** Throws an Error when the model is not read here, before its weights are downloaded in vain. */
async function checkBeforeWeights(wanted: Wanted, folder: string): Promise<void> {
  try {
    await wanted.checkDescription(folder);
  } catch (error) {
    throw new NotRead(`${(error as Error).message} (its weights were not downloaded)`, { cause: error });
  }
}

/** The model on the hub. Throws an Error when the hub's URL is none. */
function remoteOf(repo: string, hubUrl: string, seconds?: number): Remote {
  if (!/^https?:\/\/[^/]/.test(hubUrl)) {
    throw new Error(
      `the hub's URL is "${hubUrl}": write it with https:// before it (HF_ENDPOINT, or hubUrl)`,
    );
  }
  const accessToken = hubToken(hubUrl);
  return { repo, hubUrl, accessToken, fetch: hubRequest(Boolean(accessToken), seconds) };
}

/** Downloads those of the files that are not there, and links to them. */
async function fetchEntries(
  remote: Remote,
  { storage, commit, folder }: Place,
  entries: readonly ListFileEntry[],
): Promise<void> {
  for (const needed of [folder, `${storage}/blobs`]) await Deno.mkdir(needed, { recursive: true });
  for (const entry of entries) {
    const hash = hashOf(entry);
    const path = `${folder}/${entry.path}`;
    if (await isFile(path)) continue;
    const blob = `${storage}/blobs/${hash}`;
    await fetchBlob({ ...remote, revision: commit }, entry, blob);
    await removeLink(path);
    await makeParents(path);
    await placeBlob(blob, `${"../".repeat(entry.path.split("/").length + 1)}blobs/${hash}`, path);
  }
}

/**
 * Makes the file at `path` a link to a blob; or the blob itself where links cannot be made, as Python's library does: Windows wants a
 * right for them, and Deno permissions for all paths.
 */
async function placeBlob(blob: string, target: string, path: string): Promise<void> {
  try {
    await Deno.symlink(target, path);
  } catch {
    await Deno.rename(blob, path);
  }
}

/** Notes that the model has no `modules.json` if the hub's files have none. */
async function noteAbsence(place: Place, entries: readonly ListFileEntry[]): Promise<void> {
  if (entries.some(({ path }) => path === modulesFile)) return;
  await makeParents(absenceNote(place));
  await writeWhole(absenceNote(place), "");
}

/** The empty file by which Python's library notes that a commit has no `modules.json`. */
function absenceNote({ storage, commit }: Place): string {
  return `${storage}/.no_exist/${commit}/${modulesFile}`;
}

/**
 * Asks the hub how the model of a whole snapshot pools tokens, once. Where it cannot be asked, a warning says so, and the snapshot is
 * used as it is.
 */
async function askForPooling(id: string, place: Place, hubUrl: string): Promise<void> {
  try {
    using _ = await lockFor(place.storage);
    const remote = remoteOf(id, hubUrl, 10);
    const list = lister(remote, place.commit);
    const files = new Map((await list()).map((file) => [file.path, file]));
    const ofModules = files.get(modulesFile);
    const entries = [...await poolersAmong(list, files), ...ofModules ? [ofModules] : []];
    await fetchEntries(remote, place, entries);
    await noteAbsence(place, entries);
  } catch (error) {
    console.warn(
      `${place.folder}: another program cached "${id}", perhaps without ${modulesFile}, which says how tokens are pooled, and the ` +
        `hub cannot be asked: they are pooled as its class does it (${(error as Error).message})`,
    );
  }
}

/** Removes a dangling link to a blob, if there is one. */
async function removeLink(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** True for a commit hash, which names a snapshot's folder. */
function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/**
 * The cache folder of Hugging Face's Python library, which also reads `~` and `$NAME` in its variables. One that is empty is as if it
 * were not set.
 */
function pythonsCache(): string {
  const env = (name: string) => Deno.env.get(name) || undefined;
  const home = env("HOME") ?? env("USERPROFILE");
  const expanded = (path: string) =>
    path.replace(/^~(?=[/\\]|$)/, (tilde) => home ?? tilde)
      .replace(/\$(?:(\w+)|\{(\w+)\})/g, (written, bare, braced) => env(bare ?? braced) ?? written);
  const hub = env("HF_HUB_CACHE") ?? env("HUGGINGFACE_HUB_CACHE");
  if (hub) return expanded(hub);
  const cache = env("XDG_CACHE_HOME") ?? (home && `${home}/.cache`);
  const ofLibrary = env("HF_HOME") ?? (cache && `${cache}/huggingface`);
  if (ofLibrary) return expanded(`${ofLibrary}/hub`);
  throw new Error("there is no folder to keep models of the hub in: set HF_HOME, or HOME");
}

/** A cached snapshot: complete, or with the first file that is missing. */
type Snapshot =
  & Place
  & ({ readonly isWhole: true } | { readonly isWhole: false; readonly lacks: string });

/** The cached snapshot of the main branch, if there is one. */
async function cachedSnapshot(storage: string, wanted: Wanted): Promise<Snapshot | undefined> {
  if (!await isFile(`${storage}/refs/main`)) return undefined;
  const commit = (await readText(`${storage}/refs/main`, 1000)).trim();
  if (!isCommit(commit)) return undefined;
  const folder = `${storage}/snapshots/${commit}`;
  const place = { storage, commit, folder };
  const lacks = await wanted.lackedBy(folder);
  return lacks === undefined ? { ...place, isWhole: true } : { ...place, isWhole: false, lacks };
}

/** Those of the files that a folder lacks. isFile is false for links to missing blobs. */
async function lackingIn(folder: string, names: readonly string[]): Promise<string[]> {
  const found = await Promise.all(names.map((name) => isFile(`${folder}/${name}`)));
  return names.filter((_, i) => !found[i]);
}

async function lackedByTransformers(folder: string): Promise<string | undefined> {
  const lacking = (names: readonly string[]) => lackingIn(folder, names);
  const inShards = (await lacking([weights])).length > 0 && (await lacking([index])).length === 0;
  const ofWeights = inShards ? [...(await readIndex(`${folder}/${index}`)).keys()] : [weights];
  const ofTokenizers = await Promise.all(tokenizers.map(lacking));
  const ofTokenizer = ofTokenizers.some((own) => own.length === 0)
    ? []
    : ofTokenizers.find((own, i) => own.length < tokenizers[i].length) ?? tokenizers[0];
  const ofPooling = await poolingFile(folder);
  const described = ["config.json", ...ofPooling ? [ofPooling] : []];
  const [lacks] = [...await lacking(described), ...ofTokenizer, ...await lacking(ofWeights)];
  return lacks;
}

interface Remote {
  readonly repo: string;
  readonly hubUrl: string;
  readonly accessToken: string | undefined;
  readonly fetch: typeof fetch;
  readonly revision?: string;
}

/**
 * `request` with advice for the hub's error statuses, depending on whether a token was sent. An answer that stops coming fails: what
 * the library reads of it has no time limit of its own.
 */
function hubRequest(hasToken: boolean, seconds?: number): typeof fetch {
  return async (url, init) => {
    try {
      const response = await request(url, init, seconds);
      const { body, status, statusText, headers, url: redirected } = response;
      if (!body) return response;
      const steady = ReadableStream.from(steadily(body, seconds));
      // A new Response does not say where the request was redirected to, which the library reads.
      return Object.defineProperty(new Response(steady, { status, statusText, headers }), "url", {
        value: redirected,
      });
    } catch (error) {
      const advice = error instanceof RefusedRequest ? adviceOn(error.status, hasToken) : undefined;
      if (!(error instanceof RefusedRequest) || !advice) throw error;
      throw new Error(`${error.answer}: ${advice}`, { cause: error });
    }
  };
}

/** Advice for the hub's statuses that depend on who asks. */
function adviceOn(status: number, hasToken: boolean): string | undefined {
  switch (status) {
    case 401:
      return hasToken
        ? "it does not take the token in HF_TOKEN: make a new one, or take it away for a public model"
        : "there is no public model of this name: check it; for a private or gated model set HF_TOKEN";
    case 403:
      return hasToken
        ? "the account of HF_TOKEN may not read this model: ask for access on its page, with a token that may read gated models"
        : "the model is gated: ask for access on its page, and set HF_TOKEN";
    case 404:
      return "there is no such model or file: check the name; for a private model set HF_TOKEN";
    case 429:
      return hasToken
        ? undefined
        : "too many requests came from here: wait some minutes, or set HF_TOKEN, which is allowed more";
  }
}

/** The commit of the main branch and the files to download, in order. */
async function listing(
  remote: Remote,
  wanted: Wanted,
): Promise<{ commit: string; entries: WantedEntries }> {
  const { repo, hubUrl } = remote;
  const { sha: commit } = await asked(() => modelInfo({ ...remote, name: repo, additionalFields: ["sha"] }));
  if (!isCommit(commit)) {
    throw new Error(`${hubUrl} says that "${repo}" is at commit "${commit}": that is none`);
  }
  return { commit, entries: await wanted.among(lister(remote, commit), remote) };
}

function lister(remote: Remote, commit: string): Lister {
  return (path) => asked(() => Array.fromAsync(listFiles({ ...remote, revision: commit, path })));
}

/** What the hub answers. Throws a NotGiven that says why it does not. */
async function asked<T>(answer: () => Promise<T>): Promise<T> {
  try {
    return await answer();
  } catch (error) {
    const message = error instanceof SyntaxError
      ? `it answers with something else than a hub does, such as a page of a proxy's or one to log in on: open it in a browser`
      : (error as Error).message;
    throw new NotGiven(message, { cause: error });
  }
}

async function transformersAmong(list: Lister, { repo, hubUrl }: Remote): Promise<WantedEntries> {
  const files = new Map((await list()).map((file) => [file.path, file]));
  // "model-…" sorts before "model.…", so the index is downloaded after its shards.
  const needed = files.has(weights)
    ? [weights]
    : [...files.keys()].filter((path) => shards.test(path)).toSorted();
  if (needed.length === 0) {
    const [gguf] = [...files.keys()].filter((path) => path.endsWith(".gguf"));
    throw new Error(
      `"${repo}" on ${hubUrl} has no ${weights}: ` +
        (gguf
          ? `name a GGUF file of it, such as ${repo}/${gguf}`
          : "convert it with save_pretrained(…, safe_serialization=True)"),
    );
  }
  const ofPooling = await poolersAmong(list, files);
  const templates = files.has(templatesFolder) ? await list(templatesFolder) : [];
  const entries = describingFiles.flatMap((path) => files.get(path) ?? []);
  return {
    describing: [...ofPooling, ...templates.filter(({ path }) => isTemplate(path)), ...entries],
    weights: needed.map((path) => files.get(path)!),
  };
}

/** The files in the folders beside `modules.json` that say how tokens are pooled. */
async function poolersAmong(
  list: Lister,
  files: ReadonlyMap<string, ListFileEntry>,
): Promise<ListFileEntry[]> {
  const folders = files.has(modulesFile) ? [...files.keys()].filter((path) => poolingFolder.test(path)) : [];
  return (await Promise.all(folders.map(list))).flat().filter(({ path }) => path.endsWith("/config.json"));
}

/**
 * True of an encoder where neither the snapshot nor a note says whether the model has `modules.json`: transformers' classes do not
 * ask for it, and fill the cache without.
 */
async function isUnsureOfPooling(place: Place): Promise<boolean> {
  const { folder } = place;
  const isSaid = await isFile(`${folder}/${modulesFile}`) || await poolingFile(folder) !== undefined;
  if (isSaid || await isFile(absenceNote(place))) return false;
  return !await isDecoderFolder(folder);
}

/** What transformers writes. */
const transformersFiles: Wanted = {
  lackedBy: lackedByTransformers,
  among: transformersAmong,
  checkDescription,
  isUnsure: isUnsureOfPooling,
};

/** A GGUF file, and those that belong to its set. */
function ggufFiles(file: string): Wanted {
  const names = filesOfSet(file);
  return {
    lackedBy: async (folder) => (await lackingIn(folder, names))[0],
    // A GGUF file describes itself.
    checkDescription: () => Promise.resolve(),
    isUnsure: () => Promise.resolve(false),
    async among(list, { repo, hubUrl }) {
      const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/")) : undefined;
      const files = new Map((await list(folder)).map((entry) => [entry.path, entry]));
      const missing = names.find((name) => !files.has(name));
      if (missing === undefined) return { describing: [], weights: names.map((name) => files.get(name)!) };
      const there = [...files.keys()].filter((path) => path.endsWith(".gguf"));
      throw new Error(
        `"${repo}" on ${hubUrl} has no ${missing}: ${
          there.length === 0 ? "it has no GGUF files there" : `there are ${there.join(", ")}`
        }`,
      );
    },
  };
}

/** The name of a file's blob: the SHA-256 of a large file (LFS), git's SHA-1 of a small one. */
function hashOf({ path, lfs, oid }: ListFileEntry): string {
  const hash = lfs?.oid ?? oid ?? "";
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) return hash;
  throw new Error(`the hub gives ${path} the hash "${hash}", and that is none`);
}

/** Downloads a blob, or the rest of it. */
async function fetchBlob(remote: Remote, entry: ListFileEntry, blob: string): Promise<void> {
  if (await isFile(blob)) return;
  const part = `${blob}.incomplete`;
  using file = await Deno.open(part, { create: true, read: true, write: true });
  const size = entry.lfs?.size ?? entry.size;
  const where = `"${entry.path}" of "${remote.repo}"`;
  // Imported dynamically so that a bundle for browsers, which lack this module, still loads.
  const { createHash } = await import("node:crypto");
  const hash = entry.lfs ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  const begin = await hashSoFar(file, hash);
  let at = begin;
  try {
    for await (const chunk of await chunksFrom(remote, entry.path, at, size)) {
      hash.update(chunk);
      for (let written = 0; written < chunk.length;) written += await file.write(chunk.subarray(written));
      at += chunk.length;
      // A server may send more than it announced.
      if (at > size) break;
    }
  } catch (error) {
    const message = (error as Error).message ?? error;
    const what = at === begin
      ? `${where} cannot be fetched: ${message}`
      : `the download of ${where} broke off at byte ${at} of ${size}: run again to go on from there (${message})`;
    throw new Error(what, { cause: error });
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
  // A blob has its hash as its name, and is not checked again: after a power loss it must not be there in part.
  await file.syncData();
  await Deno.rename(part, blob);
}

/** Hashes the file's content so far, which leaves the position at its end, and returns its size. */
async function hashSoFar(file: Deno.FsFile, hash: Hash): Promise<number> {
  const buffer = new Uint8Array(2 ** 20);
  let at = 0;
  for (let count; (count = await file.read(buffer)) !== null; at += count) {
    hash.update(buffer.subarray(0, count));
  }
  return at;
}

/** The bytes of a remote file, starting at `at`. */
async function chunksFrom(
  remote: Remote,
  path: string,
  at: number,
  size: number,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  if (at >= size) return ReadableStream.from([]);
  // Plain HTTP instead of Xet: resuming only needs byte ranges.
  const blob = await downloadFile({ ...remote, path, xet: false });
  if (!blob) throw new Error("the file is gone");
  return blob.slice(at).stream();
}
