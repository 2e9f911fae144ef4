/** Folders as sentence-transformers writes them: a checkpoint with `modules.json` and what it names. */

import { withFolder } from "./files.ts";
import { type CheckpointOptions, writeCheckpoint } from "./seeded_checkpoint.ts";

/** `modules.json` of a transformer, a pooling and what follows them. */
export function modulesJson(...more: string[]): string {
  const types = ["Transformer", "Pooling", ...more];
  return JSON.stringify(
    types.map((type, idx) => ({
      idx,
      name: `${idx}`,
      path: idx === 0 ? "" : `${idx}_${type}`,
      type: `sentence_transformers.models.${type}`,
    })),
  );
}

/** `1_Pooling/config.json` with these modes. */
export function poolingJson(...modes: string[]): string {
  const known = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"].map((mode) =>
    `pooling_mode_${mode}`
  );
  const flags = [...new Set([...known, ...modes])].map((mode) => [mode, modes.includes(mode)]);
  return JSON.stringify({ word_embedding_dimension: 32, ...Object.fromEntries(flags), include_prompt: true });
}

/** Writes the two files into a checkpoint's folder. */
export async function writePooling(
  folder: string,
  pooling: string,
  modules = modulesJson("Normalize"),
): Promise<void> {
  await Deno.mkdir(`${folder}/1_Pooling`, { recursive: true });
  await Deno.writeTextFile(`${folder}/1_Pooling/config.json`, pooling);
  await Deno.writeTextFile(`${folder}/modules.json`, modules);
}

/** What `use` makes of a checkpoint's folder that pools by `mode`. The checkpoint has its family's pooler, as MiniLM's has. */
export function withPooled<T>(
  config: Readonly<Record<string, unknown>>,
  mode: string,
  use: (folder: string) => Promise<T>,
  options: CheckpointOptions = {},
): Promise<T> {
  return withFolder(async (parent) => {
    const folder = `${parent}/encoder`;
    await writeCheckpoint(folder, config, options);
    await writePooling(folder, poolingJson(mode));
    return await use(folder);
  });
}
