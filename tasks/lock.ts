/** One run at a time writes a result: a lock that the system lets go of with its process, however that ends. */

import { makeParents, naming, readText, writeAll } from "../lib/files.ts";

/**
 * Takes the lock of what is about to be written at `path`: the file `<path>.lock`, which says who holds it. A file that a killed
 * run left behind is taken over, folders that are not there are made; it is removed when the lock is disposed of.
 * @throws Error naming the process and the host when another run holds it, and when the file cannot be made.
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
    // The holder before may have removed the file between its opening and its locking here.
    if ((await file.stat()).ino !== await inodeOf(lock)) continue;
    await file.truncate();
    const holder = new TextEncoder().encode(`process ${Deno.pid} on ${Deno.hostname()}`);
    await naming(lock, () => writeAll(file, holder));
    const remove = () => Deno.removeSync(lock);
    // What is disposed of by scope is not when Deno.exit ends the process.
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
