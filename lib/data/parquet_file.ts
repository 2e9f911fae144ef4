/** Parquet files of strangers, unpacked in a thread that a bound on time and one on memory end: the library can be led to hang. */

/** What the thread is given. */
export interface ParquetRequest {
  readonly file: ArrayBuffer;
  readonly columns: readonly string[];
}

/** What is in a file. */
export interface ParquetAnswer {
  /** Names of all its columns. */
  readonly present: readonly string[];
  /** The columns that were asked for; no rows where one of them is not present. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/** The most bytes of a file, its footer, and the thread's heap: far beyond GLUE's, so that no file asks for all of the memory. */
const most = { file: 2 ** 30, footer: 2 ** 24, heap: 2 ** 32 };

/** Seconds that a file of so many bytes may take: some hundred times what GLUE's take on two cores, which read 100 MB in seconds. */
function secondsFor(bytes: number): number {
  return 30 + bytes / 1e6;
}

/**
 * Reads `columns` of the file at `path`. Takes `seconds` at most: by default 30, and one more for each MB of the file.
 * @throws Error naming the file when it is damaged, beyond the bounds, or takes longer.
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

/** Throws for a file, or a footer by what the file's end says, that is beyond the bounds. */
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

async function readInThread(request: ParquetRequest, seconds: number): Promise<ParquetAnswer> {
  const { Worker } = await import("node:worker_threads");
  const { promise, resolve, reject } = Promise.withResolvers<ParquetAnswer | { failure: string }>();
  const thread = new Worker(threadModule(), {
    workerData: request,
    transferList: [request.file],
    resourceLimits: { maxOldGenerationSizeMb: most.heap / 2 ** 20 },
  });
  const took = `it takes longer than ${
    Math.round(seconds)
  } seconds, as one does that was made to hang its reader`;
  const timer = setTimeout(() => reject(new Error(took)), 1000 * seconds);
  try {
    thread.once("message", (answer) => resolve(answer as ParquetAnswer));
    thread.once("error", (error) =>
      reject(
        "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY"
          ? new Error(`it unpacks to more than ${most.heap} bytes, which are the most`)
          : error,
      ));
    thread.once("exit", () => reject(new Error("its thread ended without an answer")));
    const answer = await promise;
    if ("failure" in answer) throw new Error(answer.failure);
    return answer;
  } finally {
    clearTimeout(timer);
    await thread.terminate();
  }
}

/** Threads begin with a file or a data URL: where the library is imported over HTTP, a line that imports the module. */
function threadModule(): URL {
  const { href, protocol } = new URL("./parquet_worker.ts", import.meta.url);
  if (protocol === "file:") return new URL(href);
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(href)};`)}`);
}
