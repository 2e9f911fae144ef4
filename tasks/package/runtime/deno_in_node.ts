/** The part of Deno's API that the library uses, made of Node's: the package gives it to the library in Node. */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync as openNow,
  readSync,
  type Stats,
  writeSync,
} from "node:fs";
import * as fs from "node:fs/promises";
import { freemem } from "node:os";
import process from "node:process";

const SeekMode = { Start: 0 } as const;

/** What Deno says of a path. */
interface Found {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly size: number;
}

function foundOf(stats: Stats): Found {
  return { isFile: stats.isFile(), isDirectory: stats.isDirectory(), size: stats.size };
}

/** An open file. Node has no seek, so this keeps the position. */
class FsFile implements Disposable {
  #at = 0;

  constructor(private readonly descriptor: number) {}

  /** Null at the end, as in Deno. */
  readSync(into: Uint8Array): number | null {
    const count = readSync(this.descriptor, into, 0, into.length, this.#at);
    this.#at += count;
    return count === 0 && into.length > 0 ? null : count;
  }

  read(into: Uint8Array): Promise<number | null> {
    return attempt(() => this.readSync(into));
  }

  write(bytes: Uint8Array): Promise<number> {
    return attempt(() => {
      const count = writeSync(this.descriptor, bytes, 0, bytes.length, this.#at);
      this.#at += count;
      return count;
    });
  }

  /** From the start, the only mode that the library uses. */
  seekSync(at: number, _mode: typeof SeekMode.Start): number {
    return this.#at = at;
  }

  seek(at: number, mode: typeof SeekMode.Start): Promise<number> {
    return attempt(() => this.seekSync(at, mode));
  }

  statSync(): Found {
    return foundOf(fstatSync(this.descriptor));
  }

  sync(): Promise<void> {
    return attempt(() => fsyncSync(this.descriptor));
  }

  syncData(): Promise<void> {
    return attempt(() => fdatasyncSync(this.descriptor));
  }

  /**
   * Node has no locks of files. Two processes that download one model at once write the same bytes to the same places, and the later
   * one fails when it renames them.
   */
  lock(_exclusive: boolean): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    closeSync(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What `body` returns or throws, as a promise. */
// deno-lint-ignore require-await
async function attempt<T>(body: () => T): Promise<T> {
  return body();
}

interface OpenOptions {
  readonly read?: boolean;
  readonly write?: boolean;
  readonly create?: boolean;
}

function openSync(path: string | URL, { read = true, write = false, create = false }: OpenOptions = {}) {
  const access = write ? read ? constants.O_RDWR : constants.O_WRONLY : constants.O_RDONLY;
  return new FsFile(openNow(path, access | (create ? constants.O_CREAT : 0)));
}

/** A class of errors to which Node's errors with `code` belong. */
function errorsOf(code: string) {
  return class extends Error {
    static override [Symbol.hasInstance](error: unknown): boolean {
      return Function.prototype[Symbol.hasInstance].call(this, error) ||
        error instanceof Error && "code" in error && error.code === code;
    }
  };
}

const systems: Readonly<Record<string, string>> = { win32: "windows" };

/** Deno's names. */
export const Deno = {
  SeekMode,
  errors: {
    NotFound: errorsOf("ENOENT"),
    NotADirectory: errorsOf("ENOTDIR"),
    AlreadyExists: errorsOf("EEXIST"),
  },
  build: { os: systems[process.platform] ?? process.platform },
  env: { get: (name: string): string | undefined => process.env[name] },
  /** Node asks for no permissions. */
  permissions: {
    query: () => Promise.resolve({ state: "granted" }),
    querySync: () => ({ state: "granted" }),
  },
  systemMemoryInfo: () => ({ available: freemem() }),
  openSync,
  open: (path: string | URL, options?: OpenOptions) => attempt(() => openSync(path, options)),
  create: (path: string | URL) => attempt(() => new FsFile(openNow(path, "w+"))),
  stat: async (path: string | URL) => foundOf(await fs.stat(path)),
  lstat: async (path: string | URL) => foundOf(await fs.lstat(path)),
  realPath: (path: string | URL) => fs.realpath(path),
  async *readDir(path: string | URL) {
    for (const entry of await fs.readdir(path, { withFileTypes: true })) {
      yield {
        name: entry.name,
        isFile: entry.isFile(),
        isDirectory: entry.isDirectory(),
        isSymlink: entry.isSymbolicLink(),
      };
    }
  },
  /** A copy with a buffer of its own: Node takes those of small files from a pool. */
  readFile: async (path: string | URL) => new Uint8Array(await fs.readFile(path)),
  readTextFile: (path: string | URL) => fs.readFile(path, "utf8"),
  writeTextFile: (path: string | URL, text: string) => fs.writeFile(path, text),
  mkdir: async (path: string | URL, options?: { readonly recursive?: boolean }) => {
    await fs.mkdir(path, options);
  },
  remove: (path: string | URL, options?: { readonly recursive?: boolean }) => fs.rm(path, options),
  rename: fs.rename,
  copyFile: fs.copyFile,
  symlink: (target: string, path: string) => fs.symlink(target, path),
};
