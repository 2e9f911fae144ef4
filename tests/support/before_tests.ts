/** What is done before the tests of a file: Vulkan's drivers alone are looked for, and temporary folders are removed after them. */

import "../../tasks/vulkan_only.ts";

const { makeTempDir, makeTempDirSync } = Deno;
const made: string[] = [];

function noted(folder: string): string {
  made.push(folder);
  return folder;
}

Deno.makeTempDir = async (options) => noted(await makeTempDir(options));
Deno.makeTempDirSync = (options) => noted(makeTempDirSync(options));

globalThis.addEventListener("unload", () => {
  for (const folder of made) {
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch (error) {
      // Its test has removed it.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
});
