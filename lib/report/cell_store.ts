/**
 * The store of finished cells: a folder `cells` beside the tables, with a file a cell, so that a cell that
 * several tables show is trained once, and a file a data set with the labels that predictions are compared
 * with. Files are named by digests of what decides their content:
 *
 *     cells/<model>/<task>/<method>-<settings' digest>-s<seed>.json
 *     cells/labels/<task>-<data's digest>.json
 */

import * as v from "npm:valibot@1.5.0";
import {
  fitting,
  isFile,
  isFolder,
  jsonFiles,
  makeParents,
  readAnyJson,
  readBytes,
  writeShared,
} from "../files.ts";
import { recordOf } from "../record_schema.ts";
import { packedSchema, packNumbers, unpackNumbers } from "./packed_numbers.ts";
import { type DevLabels, settingsDigest, type StoredCell, storedCellSchema } from "./schema.ts";

const labelsSchema = v.object({
  schemaVersion: v.literal(1),
  task: v.string(),
  dataDigest: v.string(),
  labels: recordOf(packedSchema),
});

const advice = "remove it, and run its table again with --resume";

/** The finished cells of a folder of tables. */
export class CellStore {
  /** Paths by the end of their names. */
  readonly #paths: Map<string, string>;

  private constructor(
    /** Its folder, which may not exist yet. */
    readonly folder: string,
    paths: readonly string[],
  ) {
    this.#paths = new Map(paths.map((path) => [endOf(path), path]));
  }

  /** Opens the store beside the tables in `folder`; it may not exist yet. */
  static async open(folder: string): Promise<CellStore> {
    const cells = `${folder}/cells`;
    return new CellStore(cells, await isFolder(cells) ? await jsonFiles(cells) : []);
  }

  /**
   * The cells with these settings, by seed.
   * @throws Error that names the file when one is damaged, or holds other settings than its name says.
   */
  async cellsOf(settings: string): Promise<StoredCell[]> {
    const start = `${settings.slice(0, 12)}-s`;
    const ends = [...this.#paths.keys()].filter((end) => end.startsWith(start));
    const found = await Promise.all(ends.map((end) => readNamed(this.#paths.get(end)!)));
    const other = found.find((own) => own.settings !== settings);
    if (other) throw otherThanNamed(other.path);
    return found.map(({ cell }) => cell).toSorted((a, b) => a.seed - b.seed);
  }

  /** Writes a cell, in place of an earlier one of the same settings and seed, and the labels of its data. */
  async write(cell: StoredCell, labels: DevLabels): Promise<void> {
    const end = nameEnd(await settingsDigest(cell), cell.seed);
    const path = `${this.folder}/${slug(cell.model)}/${slug(cell.task)}/${slug(cell.method)}-${end}.json`;
    await this.writeLabels(cell, labels);
    await makeParents(path);
    await writeShared(path, jsonOf(cell));
    this.#paths.set(end, path);
  }

  /**
   * Writes the labels of the data that a cell was evaluated on, unless they are there: several runs may have cells of the same data
   * at once.
   */
  async writeLabels({ task, dataDigest }: OfData, labels: DevLabels): Promise<void> {
    const packed = Object.fromEntries(
      Object.entries(labels).map(([part, values]) => [part, packNumbers(values)]),
    );
    const path = this.#labelsPath({ task, dataDigest });
    const text = jsonOf({ schemaVersion: 1, task, dataDigest, labels: packed });
    if (await holds(path, text)) return;
    await makeParents(path);
    await writeShared(path, text);
  }

  /** The labels of a cell's dev sets. Throws an Error when their file is missing or damaged. */
  async labelsOf(cell: OfData): Promise<DevLabels> {
    const path = this.#labelsPath(cell);
    if (!await isFile(path)) {
      throw new Error(
        `there is no file ${path}, which a cell of ${cell.task} is compared with: run its table again with --resume`,
      );
    }
    const found = fitting(path, labelsSchema, await readAnyJson(path, advice));
    if (found.dataDigest !== cell.dataDigest) {
      throw new Error(`${path} is of other data than its name says: ${advice}`);
    }
    try {
      return Object.fromEntries(
        Object.entries(found.labels).map(([part, packed]) => [part, unpackNumbers(packed)]),
      );
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  #labelsPath({ task, dataDigest }: OfData): string {
    return `${this.folder}/labels/${slug(task)}-${dataDigest.slice(0, 12)}.json`;
  }
}

/** What names a data set. */
type OfData = Pick<StoredCell, "task" | "dataDigest">;

/** A cell of the store, with the digest of its settings and its file. */
interface NamedCell {
  readonly settings: string;
  readonly cell: StoredCell;
  readonly path: string;
}

/** Reads a cell whose file's name must be that of its settings and seed. */
async function readNamed(path: string): Promise<NamedCell> {
  const cell = fitting(path, storedCellSchema, await readAnyJson(path, advice));
  const settings = await settingsDigest(cell);
  if (endOf(path) !== nameEnd(settings, cell.seed)) throw otherThanNamed(path);
  return { settings, cell, path };
}

function otherThanNamed(path: string): Error {
  return new Error(`${path} holds other settings than its name says: ${advice}`);
}

/** The end of the name of a cell's file, without `.json`. */
const nameEnd = (settings: string, seed: number) => `${settings.slice(0, 12)}-s${seed}`;

/** Whether the file at `path` is there, and is this text. */
async function holds(path: string, text: string): Promise<boolean> {
  if (!await isFile(path)) return false;
  const [found, wanted] = [await readBytes(path), new TextEncoder().encode(text)];
  return found.length === wanted.length && found.every((byte, i) => byte === wanted[i]);
}

const jsonOf = (record: unknown) => `${JSON.stringify(record, null, 1)}\n`;

/** The part of a file's name that its digest decides: `0123456789ab-s0`. */
function endOf(path: string): string {
  return path.match(/([0-9a-f]{12}(?:-s\d+)?)\.json$/)?.[1] ?? path;
}

/** A name as a part of a path. */
function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^\p{L}\p{N}.]+/gu, "-").replaceAll(/^[-.]+|[-.]+$/g, "") || "-";
}
