/** Files written so that a reader, or a run cut short, never meets half of one. */

/** Writes `content` beside `path` and renames it, so a crash or a full disk leaves the old file whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await writeTogether({ [path]: content });
}

/** The same for files that belong together: none is renamed before all are written. */
export async function writeTogether(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(`${path}.part`, bytes);
  }
  for (const path of Object.keys(files)) await Deno.rename(`${path}.part`, path);
}
