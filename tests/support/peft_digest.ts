/** Digests of adapter folders that PEFT has read. */

/** The bytes without the version of this library that wrote them, which PEFT does not read. */
function withoutVersion(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const length = Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(file.subarray(8, 8 + length)).trimEnd();
  const without = new TextEncoder().encode(header.replace(/,"bora_webgpu_version":"[^"]*"/, ""));
  const at = 8 + Math.ceil(without.length / 8) * 8;
  const bytes = new Uint8Array(at + file.length - 8 - length).fill(" ".charCodeAt(0), 8, at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(at - 8), true);
  bytes.set(without, 8);
  bytes.set(file.subarray(8 + length), at);
  return bytes;
}

/** SHA-256 of a file of an adapter's folder, the same whatever version of this library wrote it. */
export async function digestOfAdapterFile(path: string): Promise<string> {
  const file = await Deno.readFile(path);
  const bytes = path.endsWith(".safetensors") ? withoutVersion(file) : file;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
