/**
 * The worker thread that reads a parquet file for `parquet_file.ts`, which terminates it if it exceeds its
 * time or memory.
 */

import { parquetMetadata, parquetReadObjects, parquetSchema } from "npm:hyparquet@1.31.5";
import { compressors } from "npm:hyparquet-compressors@1.1.2";
import type { ParquetAnswer, ParquetRequest } from "./parquet_file.ts";
import { parentPort, workerData } from "node:worker_threads";

/** Limits in bytes for one unpacked page and for all of them together, far above what GLUE needs. */
const most = { page: 2 ** 28, all: 2 ** 31 };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The library's decompressors with limits; on their own they unpack as much as a page's header states. */
function boundedCompressors() {
  let all = 0;
  return Object.fromEntries(
    Object.entries(compressors).map(([codec, unpack]) => [
      codec,
      (bytes: Uint8Array, size: number) => {
        if (size > most.page) {
          throw new Error(`a page unpacks to ${size} bytes, and ${most.page} are the most`);
        }
        all += size;
        if (all > most.all) throw new Error(`its pages unpack to over ${most.all} bytes, which are the most`);
        return unpack(bytes, size);
      },
    ]),
  );
}

async function read({ file, columns }: ParquetRequest): Promise<ParquetAnswer> {
  const metadata = parquetMetadata(file);
  const present = parquetSchema(metadata).children.map(({ element }) => element.name);
  if (!columns.every((name) => present.includes(name))) return { present, rows: [] };
  const parsers = { stringFromBytes: (bytes: Uint8Array) => bytes && utf8.decode(bytes) };
  const rows = await parquetReadObjects({
    file,
    metadata,
    columns: [...columns],
    compressors: boundedCompressors(),
    parsers,
  });
  return { present, rows };
}

try {
  parentPort!.postMessage(await read(workerData as ParquetRequest));
} catch (error) {
  parentPort!.postMessage({ failure: (error as Error).message });
}
