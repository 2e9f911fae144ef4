/** Runs a module of the library in a worker thread of its own that is ended when it exceeds its time or memory. */

/** Limits of a thread, and what is said when it exceeds them. */
export interface ThreadBounds {
  readonly seconds: number;
  /** Of the heap, in bytes. */
  readonly heap: number;
  readonly tooLong: string;
  readonly tooLarge: string;
}

/**
 * Starts `module` (`new URL("./x_worker.ts", import.meta.url)`) with `request` as its `workerData`, and resolves with the first
 * message it posts. `transfer` moves buffers instead of copying them.
 * @throws Error with `bounds.tooLong` or `bounds.tooLarge`, with the `failure` that the thread posts instead of an answer, or what
 * it ends with; in a browser, always.
 */
export async function inBoundedThread<Answer extends object>(
  module: URL,
  request: unknown,
  bounds: ThreadBounds,
  transfer: ArrayBuffer[] = [],
): Promise<Answer> {
  if (typeof Deno === "undefined") {
    throw new Error(
      "it runs in a thread with bounds, which a browser does not have: do this in Deno or Node",
    );
  }
  const { Worker } = await import("node:worker_threads");
  const { promise, resolve, reject } = Promise.withResolvers<Answer | { failure: string }>();
  const thread = new Worker(startable(module), {
    workerData: request,
    transferList: transfer,
    resourceLimits: { maxOldGenerationSizeMb: bounds.heap / 2 ** 20 },
  });
  const timer = setTimeout(() => reject(new Error(bounds.tooLong)), 1000 * bounds.seconds);
  try {
    thread.once("message", (answer) => resolve(answer as Answer));
    thread.once("error", (error) => {
      const isLarge = "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
      reject(isLarge ? new Error(bounds.tooLarge) : error);
    });
    thread.once("exit", () => reject(new Error("its thread ended without an answer")));
    const answer = await promise;
    if ("failure" in answer) throw new Error(answer.failure);
    return answer;
  } finally {
    clearTimeout(timer);
    await thread.terminate();
  }
}

/**
 * A worker thread can only start from a file or data URL. If the library is imported over HTTP, this is a
 * data URL that imports the module.
 */
function startable({ href, protocol }: URL): URL {
  if (protocol === "file:") return new URL(href);
  return new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(href)};`)}`);
}
