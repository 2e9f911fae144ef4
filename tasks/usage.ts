/** Separates mistakes on a command line from all other errors. */

import "./vulkan_only.ts";

/** A mistake on the command line. */
export class UsageError extends Error {}

/** Runs `body`; any error becomes a UsageError. */
export function asUsage<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** The same for an asynchronous `body`. */
export async function asUsageAsync<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** The number that an option's text is. Throws a UsageError for another text. */
export function numberIn(name: string, text: string): number {
  if (text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  throw new UsageError(`--${name} wants a number, not "${text}"`);
}

/** The whole number from `least` that an option's text is. Throws a UsageError for another text. */
export function countIn(name: string, text: string, least: number): number {
  const value = numberIn(name, text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`--${name} wants a whole number from ${least}, not ${value}`);
}

/** The port that `--port` names; 0 is a free one. Throws a UsageError for another text. */
export function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new UsageError(`--port wants a number up to 65535, not "${text}"`);
}

/**
 * `text` without control characters other than line feeds and tabs. A terminal would execute them, and the
 * text may quote a stranger's file.
 */
export function printable(text: string): string {
  return text.replaceAll(/(?![\n\t])\p{Cc}/gu, "\ufffd");
}

/**
 * Runs a command. The process exits with 2 after a mistake on the command line, and with 1 after any other
 * error.
 */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(printable((error as Error).message));
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}
