/** The drivers of `deno task conformance`: how to find, install and run each. */

import type { AdapterSummary } from "../../lib/gpu/device.ts";
import { isFile } from "../../lib/files.ts";
import type { DriverRecord, DriverRun } from "../../lib/report/conformance_schema.ts";
import { ChromiumPage, executablePath } from "../browser/chromium.ts";
import { runConformance } from "./run.ts";
import { openAtDefaultLimits } from "./default_limits.ts";

/** The result of a driver's process. */
export interface Conformed {
  readonly adapter: AdapterSummary;
  /** The runtime that runs the library, and its version. */
  readonly runtime: string;
  readonly run: DriverRun;
}

/** A driver: a Vulkan driver with a WebGPU implementation on top. */
export interface Driver {
  /** Name on the command line. */
  readonly id: string;
  /** Name on the page. */
  readonly name: string;
  /** The WGSL compiler. */
  readonly compiler: "naga" | "Tint";
  /** What to install if it is missing. */
  readonly toGet: string;
  /**
   * Whether all that it imports is in the lock file. Dawn is not, because Deno downloads everything in it as soon as
   * it downloads anything, and Dawn is 130 MB.
   */
  readonly isLocked: boolean;
  /** The environment variables that its process needs; undefined if the driver is not installed. */
  find(): Promise<Record<string, string> | undefined>;
  /** Runs everything, in a process with those variables. */
  run(): Promise<Conformed>;
}

/**
 * The environment variables for the first of these files that exists. They make the Vulkan loader ignore
 * other drivers.
 */
async function onVulkanDriver(places: readonly string[]): Promise<Record<string, string> | undefined> {
  for (const path of places) {
    if (await isFile(path)) return { VK_DRIVER_FILES: path };
  }
  return undefined;
}

const llvmpipe = () =>
  onVulkanDriver(
    ["/usr/share", "/usr/local/share", "/etc"].flatMap((folder) =>
      ["lvp_icd.json", `lvp_icd.${Deno.build.arch}.json`].map((name) => `${folder}/vulkan/icd.d/${name}`)
    ),
  );

const swiftShader = () =>
  onVulkanDriver(
    ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"].map((folder) =>
      `${folder}/vk_swiftshader_icd.json`
    ),
  );

const chromiumToGet =
  "Debian: apt-get install chromium, which brings SwiftShader; Ubuntu: Google Chrome's own package";

/** The adapter of a GPU, if that is what Deno finds. */
async function hardware(): Promise<Record<string, string> | undefined> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  return adapter && !adapter.info.isFallbackAdapter ? {} : undefined;
}

async function onAdapter(gpu: GPU, runtime: string): Promise<Conformed> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("its driver is here, but gives no adapter");
  const opened = await openAtDefaultLimits(adapter);
  return { adapter: opened.adapter, runtime, run: await runConformance(opened) };
}

const deno = `Deno ${Deno.version.deno}`;

/** Imported at run time under a computed name, so that type-checking does not fetch its 130 MB. */
const dawn = "npm:webgpu@0.6.2";

/**
 * Keeps the instances alive until the end: when an instance is garbage-collected, Dawn frees its objects and
 * the process crashes.
 */
const held: GPU[] = [];

async function inDawn(): Promise<Conformed> {
  const { create }: { create(flags: readonly string[]): GPU } = await import(dawn);
  held.push(create([]));
  return await onAdapter(held[0], `Dawn (${dawn}) in ${deno}`);
}

async function inChromium(): Promise<Conformed> {
  const entry = new URL("./in_browser.ts", import.meta.url);
  await using chromium = await ChromiumPage.open({ entry });
  const conformed = await chromium.call<Omit<Conformed, "runtime">>("conform");
  return { ...conformed, runtime: `Chromium ${chromium.page.context().browser()!.version()}` };
}

/** Every driver, in the order of the page's columns. */
export const drivers: readonly Driver[] = [
  {
    id: "gpu",
    name: "GPU, Deno",
    compiler: "naga",
    toGet: "a machine with a GPU, its Vulkan driver and the loader (Debian: apt-get install libvulkan1)",
    isLocked: true,
    find: hardware,
    run: () => onAdapter(navigator.gpu, deno),
  },
  {
    id: "llvmpipe",
    name: "llvmpipe, Deno",
    compiler: "naga",
    toGet: "Debian: apt-get install mesa-vulkan-drivers",
    isLocked: true,
    find: llvmpipe,
    run: () => onAdapter(navigator.gpu, deno),
  },
  {
    id: "swiftshader",
    name: "SwiftShader, Deno",
    compiler: "naga",
    toGet: chromiumToGet,
    isLocked: true,
    find: swiftShader,
    run: () => onAdapter(navigator.gpu, deno),
  },
  {
    id: "dawn",
    name: "SwiftShader, Dawn",
    compiler: "Tint",
    toGet: chromiumToGet,
    isLocked: false,
    find: swiftShader,
    run: inDawn,
  },
  {
    id: "chromium",
    name: "SwiftShader, Chromium",
    compiler: "Tint",
    toGet: chromiumToGet,
    isLocked: true,
    find: () => Promise.resolve(executablePath ? {} : undefined),
    run: inChromium,
  },
];

/** Merges records: `own` replaces the record of its driver in `earlier`, in the order of the columns. */
export function recordsWith(own: DriverRecord, earlier: readonly DriverRecord[]): DriverRecord[] {
  return drivers.flatMap(({ name }) =>
    [own, ...earlier].filter((record) => record.name === name).slice(0, 1)
  );
}
