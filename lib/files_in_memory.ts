/** Files that are held in memory under paths of their own, so that what reads files from a disk reads these too. */

/** With which their paths begin, and no path of a disk does. */
const scheme = "memory:";

const contents = new Map<string, Uint8Array<ArrayBuffer>>();
const folders = new Set<string>();
let made = 0;

/**
 * A folder in memory: for a browser, which has no others. Everything that reads a folder takes its `path`, until it is disposed of.
 *
 * @example
 * ```ts ignore
 * import { FilesInMemory, loadDecoder } from "@bora/webgpu";
 *
 * const response = await fetch("https://…/model.gguf");
 * using files = new FilesInMemory("my-model", { "model.gguf": new Uint8Array(await response.arrayBuffer()) });
 * const model = await loadDecoder(files.path);
 * ```
 */
export class FilesInMemory implements Disposable {
  /** The folder's path; its last part is the name. */
  readonly path: string;

  /** Holds `files`, bytes or texts by name, without copying bytes: do not change them. */
  constructor(
    name: string,
    private readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer> | string>>,
  ) {
    this.path = `${scheme}${made++}/${name}`;
    folders.add(this.path);
    for (const [own, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      contents.set(`${this.path}/${own}`, bytes);
    }
  }

  /** Forgets the files. */
  [Symbol.dispose](): void {
    folders.delete(this.path);
    for (const own of Object.keys(this.files)) contents.delete(`${this.path}/${own}`);
  }
}

/** True for a path of a file or folder in memory, whether it is there or not. */
export function isInMemory(path: string): boolean {
  return path.startsWith(scheme);
}

/** The bytes of the file at `path`, if it is in memory. */
export function bytesInMemory(path: string): Uint8Array<ArrayBuffer> | undefined {
  return contents.get(path);
}

/** True for a folder in memory. */
export function isFolderInMemory(path: string): boolean {
  return folders.has(path);
}

/** Names of the files of a folder in memory. */
export function namesInMemory(folder: string): string[] {
  const begin = `${folder}/`;
  return [...contents.keys()].filter((path) => path.startsWith(begin)).map((path) =>
    path.slice(begin.length)
  );
}
