/**
 * Preloaded into a command: kill -9 just before the $KILL_AT-th step that changes something outside the
 * process, on the GPU or on disk. The same number kills at the same place on every machine.
 */

let left = Number(Deno.env.get("KILL_AT"));

/** Counts the calls of a method of `owner`. */
function count<Owner>(owner: Owner, name: keyof Owner): void {
  const original = owner[name] as (...all: unknown[]) => unknown;
  const counted = function (this: unknown, ...all: unknown[]) {
    if (--left === 0) Deno.kill(Deno.pid, "SIGKILL");
    return original.apply(this, all);
  };
  Object.assign(owner as object, { [name]: counted });
}

count(GPUQueue.prototype, "submit");
count(Deno.FsFile.prototype, "write");
for (const name of ["create", "open", "rename", "remove"] as const) count(Deno, name);
