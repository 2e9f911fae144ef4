/** Mistakes on a command line, told from everything else that can go wrong. */

import "./quiet_driver.ts";

/** A mistake on the command line. */
export class UsageError extends Error {}

/** `body`'s result; what it throws is a mistake on the command line. */
export function asUsage<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** The same for a body that waits. */
export async function asUsageAsync<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** `text` without what a terminal takes for orders, but for line feeds and tabs: it may quote a stranger's file. */
export function printable(text: string): string {
  return text.replaceAll(/(?![\n\t])\p{Cc}/gu, "\ufffd");
}

/** Runs a command; ends the process with 2 after a mistake on the command line, with 1 after another error. */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(printable((error as Error).message));
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}
