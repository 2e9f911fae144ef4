/** Compiles this folder's C sources. */

import { fileURLToPath } from "node:url";

/** Compiles `NAME.c` of this folder to `out`. Throws an Error with the compiler's words. */
export async function compileC(name: string, out: string, flags: readonly string[]): Promise<void> {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const { success, stderr } = await new Deno.Command("cc", {
    args: ["-O1", "-o", out, source, ...flags],
    stdout: "null",
  }).output();
  if (!success) throw new Error(`${name}.c cannot be compiled: ${new TextDecoder().decode(stderr).trim()}`);
}
