/** Files written so that a reader, or a run cut short, never meets half of one. */

/** Writes `content` beside `path` and renames it, so a crash or a full disk leaves the old file whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  await Deno.writeFile(`${path}.part`, bytes);
  await Deno.rename(`${path}.part`, path);
}
