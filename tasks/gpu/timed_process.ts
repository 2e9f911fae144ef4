/** A program with a time limit. It has a process group of its own, so that what it started ends with it. */

import { endingOnSignal } from "../stopping.ts";

/** How a program ended, and what it printed. */
export interface Ended {
  readonly outcome: "done" | "failed" | "timed out";
  readonly seconds: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Milliseconds that a program has to end by itself once it is told to. */
const grace = 3000;

/**
 * Runs Deno with `args` in `cwd` for at most `seconds`. What it prints as errors and progress is shown as it comes. Ctrl-C and
 * SIGTERM, which do not reach another group, end it with this process.
 * Linux and macOS only: elsewhere a program that it started may go on.
 */
export async function runTimed(args: readonly string[], seconds: number, cwd?: URL): Promise<Ended> {
  const start = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  using _ = endingOnSignal(() => {
    signalGroup(child.pid, "SIGTERM");
    return "Stopped. What was written before is kept.";
  });
  let isLate = false;
  const timers = [
    setTimeout(() => {
      isLate = true;
      signalGroup(child.pid, "SIGTERM");
    }, 1000 * seconds),
    setTimeout(() => signalGroup(child.pid, "SIGKILL"), 1000 * seconds + grace),
  ];
  const [{ success }, stdout, stderr] = await Promise.all([
    child.status,
    textOf(child.stdout),
    textOf(child.stderr, Deno.stderr),
  ]);
  timers.forEach(clearTimeout);
  return {
    outcome: isLate ? "timed out" : success ? "done" : "failed",
    seconds: (performance.now() - start) / 1000,
    stdout,
    stderr,
  };
}

/** All that a stream says, which is also written to `shown` as it comes. */
async function textOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  shown?: { write(bytes: Uint8Array): Promise<number> },
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    await shown?.write(bytes);
    text += decoder.decode(bytes, { stream: true });
  }
  return text + decoder.decode();
}

/** Signals a process and all that it started; nothing if they have ended. */
function signalGroup(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
