/**
 * File locks, so that only one run at a time writes a result. The system releases a lock when its process
 * ends, however it ends.
 */

import { existsSync } from "node:fs";
import { makeParents, naming, readText, writeAll } from "../lib/files.ts";

/**
 * Takes the lock for writing `path`: the file `<path>.lock`, which says who holds it. A lock file that a
 * killed run left behind is taken over, and missing folders are created. Disposing of the lock removes the
 * file, if it is still there.
 * @throws Error that names the process and the host when another run holds the lock, and when the file cannot
 * be created or is one of the user's own, which is left as it is.
 */
export async function lockFor(path: string): Promise<Disposable> {
  const lock = `${path}.lock`;
  await makeParents(lock);
  while (true) {
    using opened = new DisposableStack();
    const file = opened.use(
      await naming(lock, () => Deno.open(lock, { create: true, read: true, write: true })),
    );
    if (!await file.tryLock(true)) {
      const holder = await readText(lock) || "it has just begun";
      throw new Error(
        `another run is writing ${path} (${holder}): wait until it has ended, or write to another folder`,
      );
    }
    // The previous holder may have removed the file between opening and locking it here.
    if ((await file.stat()).ino !== await inodeOf(lock)) continue;
    if (!/^(process \d+ on .*)?$/.test(await readText(lock))) {
      throw new Error(`${lock} is no lock of this command: move it away, or write to another folder`);
    }
    await file.truncate();
    const holder = new TextEncoder().encode(`process ${Deno.pid} on ${Deno.hostname()}`);
    await naming(lock, () => writeAll(file, holder));
    const { ino } = await file.stat();
    // Someone may have removed it, and then another run has made its own.
    const remove = () => {
      if (existsSync(lock) && Deno.statSync(lock).ino === ino) Deno.removeSync(lock);
    };
    // Deno.exit ends the process without disposing of what is in scope.
    globalThis.addEventListener("unload", remove);
    opened.defer(() => {
      globalThis.removeEventListener("unload", remove);
      remove();
    });
    return opened.move();
  }
}

async function inodeOf(path: string): Promise<number | null | undefined> {
  try {
    return (await Deno.stat(path)).ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
