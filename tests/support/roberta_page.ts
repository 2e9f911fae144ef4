/**
 * Measures a training step at RoBERTa's size: results/roberta-base.{md,json}.
 *
 *     deno run -A tests/support/roberta_page.ts [--out DIR] [--checkpoints DIR]
 *
 * runs `roberta_base.ts` in processes of their own, so that each one's memory is its work's alone. Checkpoints (0.8 GB) are
 * kept where `--checkpoints` names a folder, else in a temporary one.
 */

import { parseArgs } from "node:util";
import * as v from "npm:valibot@1.5.0";
import { isFile } from "../../lib/files.ts";
import { figuresSchema, robertaPage, type Sized, titles } from "../../tasks/pages/roberta_base.ts";

/** `roberta_base.ts` with these arguments; what it printed. Throws an Error when it fails. */
async function run(...args: string[]): Promise<string> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", new URL("roberta_base.ts", import.meta.url).pathname, ...args],
    stderr: "inherit",
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (!success) throw new Error(`roberta_base.ts ${args.join(" ")} failed: ${text}`);
  return text;
}

async function figuresOf(size: Sized["size"], folder: string): Promise<Sized> {
  const [loadBefore] = Deno.loadavg();
  if (!await isFile(`${folder}/model.safetensors`)) await run(folder, size);
  const figures = v.parse(figuresSchema, JSON.parse(await run(folder, size)));
  return { size, loadBefore: Number(loadBefore.toFixed(1)), ...figures };
}

async function main(): Promise<void> {
  const { values: { out, checkpoints } } = parseArgs({
    options: { out: { type: "string", default: "results" }, checkpoints: { type: "string" } },
  });
  const folder = checkpoints ?? await Deno.makeTempDir();
  const measured: Sized[] = [];
  for (const size of Object.keys(titles) as Sized["size"][]) {
    measured.push(await figuresOf(size, `${folder}/${size}`));
  }
  if (!checkpoints) await Deno.remove(folder, { recursive: true });
  await robertaPage.write(out, { schemaVersion: 1, measured });
}

await main();
