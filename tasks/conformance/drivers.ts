/** The drivers of `deno task conformance`, and how each is found, had and run. */

import type { AdapterSummary } from "../../lib/gpu/device.ts";
import { isFile } from "../../lib/files.ts";
import type { DriverRecord, DriverRun } from "../../lib/report/conformance_schema.ts";
import { ChromiumPage, executablePath } from "../browser/chromium.ts";
import { runConformance } from "./run.ts";
import { openAtDefaultLimits } from "./default_limits.ts";

/** What a driver's process gives. */
export interface Conformed {
  readonly adapter: AdapterSummary;
  /** What runs the library, and its version. */
  readonly runtime: string;
  readonly run: DriverRun;
}

/** A driver: a Vulkan driver and what speaks WebGPU on top of it. */
export interface Driver {
  /** Name on the command line. */
  readonly id: string;
  /** Name in the page. */
  readonly name: string;
  /** What compiles the WGSL. */
  readonly compiler: "naga" | "Tint";
  /** What to install where it is not here. */
  readonly toGet: string;
  /** The variables that its process wants; undefined where it is not here. */
  find(): Promise<Record<string, string> | undefined>;
  /** Runs everything, in a process that has those variables. */
  run(): Promise<Conformed>;
}

/** The process's variables for the first of these files that there is: the Vulkan loader then knows no other driver. */
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

const chromiumToGet = "Debian: apt-get install chromium, which brings SwiftShader";

async function onAdapter(gpu: GPU, runtime: string): Promise<Conformed> {
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error("its driver is here, but gives no adapter");
  const opened = await openAtDefaultLimits(adapter);
  return { adapter: opened.adapter, runtime, run: await runConformance(opened) };
}

const deno = `Deno ${Deno.version.deno}`;

/** Imported where it is run, and by a name that is no literal: its 130 MB are nothing that a type check should fetch. */
const dawn = "npm:webgpu@0.6.2";

/** Dawn frees what an instance gave when the instance is collected, and the process dies of it: it is held to the end. */
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
    id: "llvmpipe",
    name: "llvmpipe, Deno",
    compiler: "naga",
    toGet: "Debian: apt-get install mesa-vulkan-drivers",
    find: llvmpipe,
    run: () => onAdapter(navigator.gpu, deno),
  },
  {
    id: "swiftshader",
    name: "SwiftShader, Deno",
    compiler: "naga",
    toGet: chromiumToGet,
    find: swiftShader,
    run: () => onAdapter(navigator.gpu, deno),
  },
  {
    id: "dawn",
    name: "SwiftShader, Dawn",
    compiler: "Tint",
    toGet: chromiumToGet,
    find: swiftShader,
    run: inDawn,
  },
  {
    id: "chromium",
    name: "SwiftShader, Chromium",
    compiler: "Tint",
    toGet: chromiumToGet,
    find: () => Promise.resolve(executablePath ? {} : undefined),
    run: inChromium,
  },
];

/** The records of one matrix: `own` in place of what `earlier` has of its driver, in the order of the columns. */
export function recordsWith(own: DriverRecord, earlier: readonly DriverRecord[]): DriverRecord[] {
  return drivers.flatMap(({ name }) =>
    [own, ...earlier].filter((record) => record.name === name).slice(0, 1)
  );
}
