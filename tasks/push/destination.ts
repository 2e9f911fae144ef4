/** Where a folder is pushed to, and whether it can be: asked before anything is computed for it. */

import { listFiles, whoAmI } from "npm:@huggingface/hub@2.17.5";
import { cardFile } from "../../lib/adapters/card/card.ts";
import { hubAddress, isHubId } from "../../lib/models/hub.ts";
import { hubToken } from "../../lib/models/hub_token.ts";
import { RefusedRequest } from "../../lib/network.ts";
import { asUsage, UsageError } from "../usage.ts";
import { isEarlierPush } from "./earlier_push.ts";
import { pushRequest } from "./push_request.ts";

/** A repository on the hub, which need not be there yet. */
export interface Destination {
  /** OWNER/NAME. */
  readonly repo: string;
  readonly hubUrl: string;
  readonly accessToken: string;
  readonly fetch: typeof fetch;
}

/** What every repository may have: the hub's own file, and a card, which is never replaced where somebody has edited it. */
const common = [".gitattributes", cardFile];

/** Files by which a folder is an adapter's. */
const adapterMarks = ["adapter_config.json", "adapter_model.safetensors", "adapter.gguf"];

/** What lies beside these in some adapters' folders. */
const besideAdapters = ["export.json", "labels.json"];

/**
 * The repository `id`, with the token in HF_TOKEN. Throws a UsageError for what cannot be an id, and for a token that is missing, no
 * token or may only read; and an Error when the hub does not take it, or is not there.
 */
export async function destinationOf(id: string): Promise<Destination> {
  const hubUrl = hubAddress();
  if (!isHubId(id) || !id.includes("/")) {
    throw new UsageError(
      `"${id}" is no id of a repository: it is the name of a user or an organisation, a slash and a name`,
    );
  }
  const where = `${hubUrl}/settings/tokens`;
  const accessToken = asUsage(() => hubToken(hubUrl));
  if (!accessToken) {
    throw new UsageError(`to push, set HF_TOKEN to a token that may write: ${where} makes one`);
  }
  const destination = { repo: id, hubUrl, accessToken, fetch: pushRequest(id, hubUrl) };
  const { auth } = await whoAmI(destination);
  if (auth.accessToken?.role === "read") {
    throw new UsageError(`the token in HF_TOKEN may only read: make one that may write at ${where}`);
  }
  return destination;
}

/** The files that a repository has, by path, and their bytes. */
export type RepositoryFiles = ReadonlyMap<string, number>;

/** What the repository has; undefined where there is none that the token may read. Throws an Error when the hub does not say. */
export async function filesOf(destination: Destination): Promise<RepositoryFiles | undefined> {
  try {
    const entries = await Array.fromAsync(listFiles({ ...destination, recursive: true }));
    return new Map(entries.flatMap(({ type, path, size }) => type === "file" ? [[path, size]] : []));
  } catch (error) {
    const { cause } = error as Error;
    if (cause instanceof RefusedRequest && cause.status === 404) return undefined;
    throw error;
  }
}

/**
 * Throws an Error when a repository has files that did not come from an earlier push, or that a push of `names` would leave beside
 * the new ones: those of another model, or of another form of this one. By default the names are those of all forms of an adapter.
 */
export async function refuseOthersFiles(
  destination: Destination,
  files: RepositoryFiles,
  names: readonly string[] = adapterMarks,
): Promise<void> {
  const own = [...files.keys()].filter((path) => !common.includes(path));
  if (own.length === 0) return;
  if (!await isEarlierPush(destination, files)) {
    refuse(destination, "that @bora/webgpu did not push", own);
  }
  const known = [...names, ...isAdapter(names) ? besideAdapters : []];
  const others = own.filter((path) => !known.includes(path));
  if (others.length > 0) refuse(destination, "that are not of what is pushed", others);
}

function refuse({ repo }: Destination, what: string, files: readonly string[]): never {
  const shown = files.slice(0, 5).join(", ") + (files.length > 5 ? `, … (${files.length})` : "");
  throw new Error(
    `${repo} is on the hub already, with files ${what}: ${shown}. Push to another name, or take them away there`,
  );
}

function isAdapter(names: readonly string[]): boolean {
  return names.some((name) => adapterMarks.includes(name));
}

/** Those of a repository's files that an earlier push of the adapter wrote beside it and that are not among the new ones. */
export function outdated(files: RepositoryFiles, names: readonly string[]): string[] {
  return isAdapter(names) ? besideAdapters.filter((name) => files.has(name) && !names.includes(name)) : [];
}
