/** Whether a folder has the adapter already that is about to be saved there. */

import { isFile, readBytes } from "../files.ts";

/** The files of an adapter, by name. */
type Files = Readonly<Record<string, Uint8Array<ArrayBuffer> | string>>;

/**
 * True when the folder has these files and no others of these names. Of `adapter_model.safetensors` the tensors' values count and not
 * what is said beside them, such as the version that wrote it.
 */
export async function isSavedIn(folder: string, files: Files, absent: readonly string[]): Promise<boolean> {
  for (const name of absent) if (await isFile(`${folder}/${name}`)) return false;
  for (const [name, content] of Object.entries(files)) {
    if (!await isFile(`${folder}/${name}`)) return false;
    const [own, there] = [bytesOf(content), await readBytes(`${folder}/${name}`)];
    const isSame = name.endsWith(".safetensors")
      ? areEqual(valuesIn(own), valuesIn(there))
      : areEqual(own, there);
    if (!isSame) return false;
  }
  return true;
}

function bytesOf(content: Uint8Array<ArrayBuffer> | string): Uint8Array<ArrayBuffer> {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}

/** The bytes after the header of a safetensors file, or none of a file that is damaged. */
function valuesIn(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes.length < 8) return new Uint8Array();
  return bytes.subarray(8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)));
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
