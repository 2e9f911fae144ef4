/**
 * The driver behind an adapter. WebGPU does not name it. On Linux it can be found all the same: the drivers
 * that the Vulkan loader has opened are among the files mapped into this process.
 */

import type { AdapterSummary } from "./device.ts";

/** A driver: the adapters it drives, the file it is in, and how to find its version. */
interface Driver {
  readonly drives: (adapter: AdapterSummary) => boolean;
  readonly library: RegExp;
  readonly name: (path: string) => Promise<string>;
}

const vendors = { amd: 0x1002, nvidia: 0x10de, google: 0x1ae0, intel: 0x8086, mesa: 0x10005 };

const of = (vendor: keyof typeof vendors) => (adapter: AdapterSummary) =>
  Number(adapter.vendor) === vendors[vendor];

/** To add a driver, add an entry. */
const drivers: readonly Driver[] = [
  { drives: of("mesa"), library: /\/libvulkan_lvp\.so$/, name: mesaVersion },
  { drives: of("amd"), library: /\/libvulkan_radeon\.so$/, name: mesaVersion },
  { drives: of("intel"), library: /\/libvulkan_intel\.so$/, name: mesaVersion },
  { drives: of("nvidia"), library: /\/libvulkan_nouveau\.so$/, name: mesaVersion },
  { drives: of("nvidia"), library: /\/libGLX_nvidia\.so\.[\d.]+$/, name: nvidiaVersion },
  {
    drives: of("google"),
    library: /\/libvk_swiftshader\.so$/,
    name: (path) => Promise.resolve(fileName(path)),
  },
];

const fileName = (path: string) => path.slice(path.lastIndexOf("/") + 1);

/** Mesa writes its version into each of its libraries. */
async function mesaVersion(path: string): Promise<string> {
  const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
  return text.match(/Mesa \d+\.\d+[.\w-]*/)?.[0] ?? fileName(path);
}

/** The name of NVIDIA's library ends in its version. */
function nvidiaVersion(path: string): Promise<string> {
  return Promise.resolve(`NVIDIA ${path.match(/so\.([\d.]+)$/)![1]}`);
}

/**
 * The driver of an open adapter and its version, such as `Mesa 22.3.6` or `NVIDIA 550.54.14`, or only the
 * name of its file if there is no version. Undefined on systems other than Linux and for unknown drivers.
 * Needs all permissions (--allow-all), which Deno requires for /proc.
 */
export async function readDriver(adapter: AdapterSummary): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  return await driverAmong(mappedFiles(await Deno.readTextFile("/proc/self/maps")), adapter);
}

/** Finds the driver of an adapter among the files at these paths. */
export async function driverAmong(
  paths: readonly string[],
  adapter: AdapterSummary,
): Promise<string | undefined> {
  for (const { drives, library, name } of drivers) {
    const path = drives(adapter) && paths.find((path) => library.test(path));
    if (path) return await name(path);
  }
  return undefined;
}

/** Paths of the files in a /proc/…/maps: the sixth column, which may hold spaces. */
function mappedFiles(maps: string): string[] {
  const paths = maps.split("\n").map((line) => line.match(/^(?:\S+\s+){5}(\/.*)$/)?.[1]);
  return [...new Set(paths)].filter((path) => path !== undefined);
}
