/** The command lines as users run them. */

const root = new URL("../..", import.meta.url);

/** An environment in which Deno finds no adapter. */
export const noAdapter = { VK_ICD_FILENAMES: "/nowhere.json", DENO_WEBGPU_BACKEND: "vulkan" };

/** Runs `tasks/<name>.ts` from the repository's root and gives what it printed. */
export async function runTask(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", `tasks/${name}.ts`, ...args],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: decode(stdout), stderr: decode(stderr) };
}
