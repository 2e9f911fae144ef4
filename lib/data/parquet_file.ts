/**
 * Reads untrusted parquet files in a worker thread with time and memory limits: a crafted file can make the
 * library hang.
 */

import { inBoundedThread } from "../bounded_thread.ts";

/** The request to the thread. */
export interface ParquetRequest {
  readonly file: ArrayBuffer;
  readonly columns: readonly string[];
}

/** The content of a file. */
export interface ParquetAnswer {
  /** Names of all its columns. */
  readonly present: readonly string[];
  /** The rows with the requested columns; empty if one of the columns is missing. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/**
 * Limits in bytes for a file, its footer and the thread's heap. They are far above what GLUE needs, and keep
 * a file from exhausting the memory.
 */
const most = { file: 2 ** 30, footer: 2 ** 24, heap: 2 ** 32 };

/**
 * Time limit in seconds for a file of this size: about a hundred times what GLUE's files take on two cores,
 * which read 100 MB in seconds.
 */
function secondsFor(bytes: number): number {
  return 30 + bytes / 1e6;
}

/**
 * Reads `columns` of the file at `path`. `seconds` is the time limit: by default 30, plus one per MB of the
 * file.
 * @throws Error that names the file when it is damaged, exceeds a limit, or takes too long.
 */
export async function readParquet(
  path: string,
  columns: readonly string[],
  seconds?: number,
): Promise<ParquetAnswer> {
  try {
    const file = await readBounded(path);
    return await readInThread({ file, columns }, seconds ?? secondsFor(file.byteLength));
  } catch (cause) {
    throw new Error(`${path} is not readable as parquet: ${(cause as Error).message}: download it again`, {
      cause,
    });
  }
}

/**
 * Throws an Error when the file, or its footer by the length stated at the file's end, exceeds the limits.
 */
async function readBounded(path: string): Promise<ArrayBuffer> {
  const { size } = await Deno.stat(path);
  if (size > most.file) throw new Error(`it has ${size} bytes, and ${most.file} are the most`);
  const { buffer } = await Deno.readFile(path);
  const footer = size < 8 ? 0 : new DataView(buffer).getUint32(size - 8, true);
  if (footer > most.footer) {
    throw new Error(`its footer has ${footer} bytes, and ${most.footer} are the most`);
  }
  return buffer;
}

function readInThread(request: ParquetRequest, seconds: number): Promise<ParquetAnswer> {
  const bounds = {
    seconds,
    heap: most.heap,
    tooLong: `it takes longer than ${
      Math.round(seconds)
    } seconds, as one does that was made to hang its reader`,
    tooLarge: `it unpacks to more than ${most.heap} bytes, which are the most`,
  };
  return inBoundedThread(new URL("./parquet_worker.ts", import.meta.url), request, bounds, [request.file]);
}
