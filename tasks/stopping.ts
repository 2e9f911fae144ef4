/** Ends a command that is asked to stop, by Ctrl-C or SIGTERM, with a line that says what is kept. */

import { removeLeftover } from "../lib/files.ts";

/** The signals, and the exit codes that shells give them. */
const codes = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Until it is disposed of, a signal ends the process, with what `lastWords` returns on standard error. Deno takes signals only
 * while the process waits for something.
 */
export function endingOnSignal(lastWords: () => string): Disposable {
  const listeners = new DisposableStack();
  for (const [name, code] of Object.entries(codes)) {
    const signal = name as keyof typeof codes;
    const end = () => {
      console.error(`\n${lastWords()}`);
      Deno.exit(code);
    };
    Deno.addSignalListener(signal, end);
    listeners.defer(() => Deno.removeSignalListener(signal, end));
  }
  return listeners;
}

/**
 * The same for a command that makes the folder `out` in one go: what it has begun of it is removed, and then the lock on it, so
 * that nothing is left in a parent folder that was made for it.
 */
export function leavingNothingOf(
  out: string,
  lock: Disposable,
  lastWords = () => `Stopped. Nothing is written to ${out}.`,
): Disposable {
  return endingOnSignal(() => {
    removeLeftover(out);
    lock[Symbol.dispose]();
    return lastWords();
  });
}
