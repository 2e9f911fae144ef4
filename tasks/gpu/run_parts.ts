/** Runs the parts one after the other, and keeps what each of them found. */

import { isFile, readJson, removeFile, writeWhole } from "../../lib/files.ts";
import { originText } from "../../lib/report/markdown.ts";
import type { Environment } from "../../lib/report/schema.ts";
import { gpuSchema, type PartRecord } from "../pages/gpu.ts";
import type { Figures } from "./figures.ts";
import { type Part, parts, type Place } from "./parts.ts";
import { runTimed } from "./timed_process.ts";

const root = new URL("../..", import.meta.url);

/** Seconds in which no part is worth beginning. */
const tooFew = 3;

/** Characters of the end of what a part printed. */
const shownOutput = 3000;

/** A folder's name from an adapter's. */
export function folderNameOf(adapter: string): string {
  return adapter.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "") || "unnamed";
}

/** The command as one would type it, which writes to DIR. */
function commandText(args: readonly string[], { folder }: Place): string {
  const words = ["deno", ...args].map((word) => word.replace(folder, "DIR"));
  return words.map((word) => /[\s"'()]/.test(word) ? `"${word}"` : word).join(" ");
}

/** Seconds in which a slow network fetches the bench's libraries. */
const fetchSeconds = 1200;

/**
 * Fetches what a part imports and set-up does not fetch, which is what has a lock of its own: that is not to take of
 * the part's time.
 */
export async function fetchImports(part: Part, place: Place): Promise<void> {
  const args = part.command(place);
  if (!args.some((word) => word.startsWith("--lock="))) return;
  const module = args.findIndex((word) => word.endsWith(".ts"));
  await runTimed([...args.slice(0, module + 1), "--help"], fetchSeconds, root);
}

/** What the record at `path` keeps of the parts that are not run again, with its origin where that is not this run's `environment`. */
export async function earlierParts(
  path: string,
  chosen: readonly Pick<Part, "name">[],
  environment: Environment,
): Promise<PartRecord[]> {
  if (chosen.length === parts.length || !await isFile(path)) return [];
  const earlier = await readJson(path, gpuSchema);
  const [before, now] = [earlier.environment, environment].map(originText);
  return earlier.parts.filter(({ name }) => chosen.every((part) => part.name !== name))
    .map(({ origin = before, ...part }) => origin === now ? part : { ...part, origin });
}

/** Runs a part that has `seconds` at most, and keeps how it ended and what it wrote. */
export async function runPart(part: Part, place: Place, seconds: number): Promise<PartRecord> {
  const { name, title, record, hasPage, printsRecord } = part;
  const path = `${place.folder}/${record}.json`;
  const args = part.command(place);
  const known = { name, title, command: commandText(args, place), limit: seconds };
  // What an earlier run wrote must not pass for what this one did.
  for (const end of ["json", "md", "svg"]) await removeFile(`${place.folder}/${record}.${end}`);
  if (seconds < tooFew) {
    return { ...known, limit: part.seconds, outcome: "not run", seconds: 0 };
  }
  const { outcome, seconds: taken, stdout, stderr } = await runTimed(args, seconds, root);
  if (printsRecord && outcome === "done") await writeWhole(path, stdout);
  const hasRecord = await isFile(path);
  return {
    ...known,
    outcome,
    seconds: taken,
    ...hasRecord ? await figuresOf(part, path, place) : {},
    ...hasPage && hasRecord ? { page: `${record}.md` } : {},
    ...outcome === "done" ? {} : { output: endOf(`${stdout}\n${stderr}`) },
  };
}

/** A record that cannot be read is the part's fault, and must not end the others. */
async function figuresOf(part: Part, path: string, place: Place): Promise<Figures> {
  try {
    return await part.figures(path, place);
  } catch (error) {
    return { note: `Its record cannot be read: ${(error as Error).message}` };
  }
}

function endOf(output: string): string {
  const text = output.trim();
  return text.length > shownOutput ? `…${text.slice(-shownOutput)}` : text;
}

/** Seconds for a part: of those that are left all but the shares of later parts, and its own share if there are as many. */
export function limitOf(
  { seconds }: Pick<Part, "seconds">,
  later: readonly Pick<Part, "seconds">[],
  { left, scale }: { readonly left: number; readonly scale: number },
): number {
  const kept = later.reduce((sum, { seconds }) => sum + seconds * scale, 0);
  return Math.min(Math.max(seconds * scale, left - kept), left);
}
