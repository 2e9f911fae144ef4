/** Pushes a folder to the Hugging Face hub: large files first, and then all of them in one commit. */

import { pathToFileURL } from "node:url";
import { commit, type CommitOperation, createRepo } from "npm:@huggingface/hub@2.17.5";
import { cardFile, isUnedited } from "../../lib/adapters/card/card.ts";
import { isFile } from "../../lib/files.ts";
import { RefusedRequest } from "../../lib/network.ts";
import { bytesText } from "../../lib/show.ts";
import { endingOnSignal } from "../stopping.ts";
import { UsageError } from "../usage.ts";
import { type Destination, filesOf, outdated, refuseOthersFiles } from "./destination.ts";
import { cardOf } from "./earlier_push.ts";

/** What is on the hub so far, in words. */
interface Arrived {
  words: string;
}

/** Files of which a folder that is pushed has one: by them it is an adapter's or a model's. */
const marks = ["adapter_config.json", "adapter.gguf", "config.json", "model.gguf"];

/** Throws a UsageError unless `folder` is an adapter's or a model's. */
export async function checkPushable(folder: string): Promise<void> {
  for (const name of marks) if (await isFile(`${folder}/${name}`)) return;
  throw new UsageError(
    `${folder} holds no adapter and no model (none of ${
      marks.join(", ")
    }): give a folder that finetune, export or merge wrote`,
  );
}

/**
 * Uploads the folder's files, but no hidden ones, as one commit on the repository's main branch, which is made, private, if there
 * is none. A model card there that somebody wrote or edited stays. `say` receives what is done, and every name.
 * @throws Error that says what did and what did not arrive, and how to push again.
 */
export async function pushFolder(
  folder: string,
  destination: Destination,
  say: (line: string) => void,
): Promise<void> {
  const { repo, hubUrl } = destination;
  const arrived: Arrived = { words: "nothing of it is on the hub" };
  const rest = () => `${folder} is whole; ${arrived.words}. To push again: deno task push ${folder} ${repo}`;
  using _ = endingOnSignal(() => `${repo} was not pushed: stopped\n${rest()}`);
  try {
    const { names: all, hidden } = await filesIn(folder);
    const before = await filesOf(destination) ?? new Map<string, number>();
    await refuseOthersFiles(destination, before, all);
    const card = await cardOf(destination, before);
    const keepsCard = card !== undefined && !isUnedited(card);
    const names = all.filter((name) => !(keepsCard && name === cardFile));
    const old = outdated(before, names);
    if (before.size === 0 && await makeRepository(destination)) {
      arrived.words = "the repository was made, and is empty";
    }
    if (keepsCard) say(`${cardFile} on the hub was written or edited by somebody: it stays`);
    if (hidden.length > 0) say(`not pushed, as hidden files are not: ${hidden.join(", ")}`);
    if (old.length > 0) say(`to be deleted on the hub, of an earlier push: ${old.join(", ")}`);
    const bytes = bytesText(await sizeOf(folder, names));
    say(`pushing ${names.length} files, ${bytes}, to ${repo}: ${names.join(", ")}`);
    await commit({
      ...destination,
      fetch: watched(destination, arrived),
      title: `Upload ${
        names.includes("adapter_config.json") || names.includes("adapter.gguf") ? "an adapter" : "a model"
      }`,
      operations: operationsOf(folder, names, old),
      // Plain uploads are named by their SHA-256, and need no chunking in WebAssembly.
      useXet: false,
    });
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${repo} was not pushed: ${message}\n${rest()}`, { cause: error });
  }
  say(`pushed: ${hubUrl}/${repo}`);
}

/**
 * Paths in a folder and its subfolders: of the files to push, and of what is hidden, which may be keys or a history of Git's. Links
 * to files are files. Throws an Error that names a link to a folder, in which anything may lie, or to nothing.
 */
async function filesIn(folder: string, path = ""): Promise<{ names: string[]; hidden: string[] }> {
  const [names, hidden]: string[][] = [[], []];
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(`${folder}/${path}`)) {
    if (name.startsWith(".")) hidden.push(path + name);
    else if (isSymlink && !await isFile(`${folder}/${path}${name}`)) {
      throw new Error(
        `${path}${name} in it is a link, and not to a file: take it away, or put there what it leads to`,
      );
    } else if (isDirectory) {
      const inside = await filesIn(folder, `${path}${name}/`);
      names.push(...inside.names);
      hidden.push(...inside.hidden);
    } else names.push(path + name);
  }
  return { names: names.toSorted(), hidden: hidden.toSorted() };
}

async function sizeOf(folder: string, names: Iterable<string>): Promise<number> {
  let bytes = 0;
  for (const name of names) bytes += (await Deno.stat(`${folder}/${name}`)).size;
  return bytes;
}

/** Makes the repository. Returns false when there is one that has no files to list. */
async function makeRepository(destination: Destination): Promise<boolean> {
  try {
    await createRepo({ ...destination, visibility: "private" });
    return true;
  } catch (error) {
    const { cause } = error as Error;
    if (cause instanceof RefusedRequest && cause.status === 409) return false;
    throw error;
  }
}

function operationsOf(
  folder: string,
  names: Iterable<string>,
  old: readonly string[],
): CommitOperation[] {
  return [
    ...[...names].map((path): CommitOperation => ({
      operation: "addOrUpdate",
      path,
      content: pathToFileURL(`${folder}/${path}`),
    })),
    ...old.map((path): CommitOperation => ({ operation: "delete", path })),
  ];
}

/** `fetch` that says in `arrived` what is on the hub once the commit itself is sent, before which nothing is in the repository. */
function watched({ fetch, hubUrl, repo }: Destination, arrived: Arrived): typeof globalThis.fetch {
  return async (url, init) => {
    const isCommit = /\/commit\/[^/]+$/.test(new URL(String(url)).pathname);
    const before = arrived.words;
    if (isCommit) {
      arrived.words = `whether the hub has taken its files is not known: look at ${hubUrl}/${repo}`;
    }
    try {
      return await fetch(url, init);
    } catch (error) {
      const { cause } = error as Error;
      if (cause instanceof RefusedRequest && cause.status < 500) arrived.words = before;
      throw error;
    }
  };
}
