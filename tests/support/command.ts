/** The command lines as users run them. */

import { existsSync } from "node:fs";

const root = new URL("../..", import.meta.url);

/** An environment in which Deno finds no adapter. */
export const noAdapter = { VK_DRIVER_FILES: "/nowhere.json", DENO_WEBGPU_BACKEND: "vulkan" };

/** What surrounds a command. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  /** A module of `tests/support/faults` that is run before the command. */
  readonly preload?: string;
  /** What its standard input says; by default it has none. */
  readonly input?: string;
}

/** Starts `tasks/<name>.ts` from the repository's root. */
export function startTask(
  name: string,
  args: readonly string[],
  { env, preload, input }: Surroundings = {},
): Deno.ChildProcess {
  const before = preload ? ["--preload", `tests/support/faults/${preload}.ts`] : [];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", ...before, `tasks/${name}.ts`, ...args],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) ReadableStream.from([new TextEncoder().encode(input)]).pipeTo(child.stdin);
  return child;
}

/** What a command printed, and how it ended. */
export async function outputOf(child: Deno.ChildProcess) {
  const { code, signal, stdout, stderr } = await child.output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, signal, stdout: decode(stdout), stderr: decode(stderr) };
}

/** Runs `tasks/<name>.ts` from the repository's root and gives what it printed. */
export function runTask(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return outputOf(startTask(name, args, { env }));
}

/** Waits until `path` has been replaced or removed `times` times. */
export async function changes(path: string, times: number): Promise<void> {
  const present = () => existsSync(path) ? Deno.statSync(path).ino : null;
  for (let seen = 0, last = present(); seen < times;) {
    await new Promise((done) => setTimeout(done, 1));
    const now = present();
    if (now !== last) seen++;
    last = now;
  }
}
