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

  /**
   * Holds `files`, bytes or texts by name, without copying bytes: do not change them. A name may lead through folders, such as
   * `1_Pooling/config.json`.
   * @throws Error that names a file that is neither.
   */
  constructor(
    name: string,
    private readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer> | string>>,
  ) {
    const all = Object.entries(files).map(([own, content]) => [own, bytesOf(own, content)] as const);
    this.path = `${scheme}${made++}/${name}`;
    folders.add(this.path);
    for (const [own, bytes] of all) contents.set(`${this.path}/${own}`, bytes);
  }

  /** Forgets the files. */
  [Symbol.dispose](): void {
    folders.delete(this.path);
    for (const own of Object.keys(this.files)) contents.delete(`${this.path}/${own}`);
  }
}

function bytesOf(name: string, content: Uint8Array<ArrayBuffer> | string): Uint8Array<ArrayBuffer> {
  if (typeof content === "string") return new TextEncoder().encode(content);
  if (content instanceof Uint8Array) return content;
  throw new Error(`${name} is neither bytes nor a text: give a Uint8Array, such as new Uint8Array(buffer)`);
}

/** True for a path of a file or folder in memory, whether it is there or not. */
export function isInMemory(path: string): boolean {
  return path.startsWith(scheme);
}

/** The bytes of the file at `path`, if it is in memory. */
export function bytesInMemory(path: string): Uint8Array<ArrayBuffer> | undefined {
  return contents.get(path);
}

/** True for a folder in memory, and for one within that files lie in. */
export function isFolderInMemory(path: string): boolean {
  return folders.has(path) || namesInMemory(path).length > 0;
}

/** Names of what is in a folder in memory: its files, and the folders that others lie in. */
export function namesInMemory(folder: string): string[] {
  const begin = `${folder}/`;
  const within = [...contents.keys()].filter((path) => path.startsWith(begin));
  return [...new Set(within.map((path) => path.slice(begin.length).split("/", 1)[0]))];
}
