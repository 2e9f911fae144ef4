/** The entry of the page that `deno task conformance` opens in Chromium. */

import type { AdapterSummary } from "../../lib/gpu/device.ts";
import type { DriverRun } from "../../lib/report/conformance_schema.ts";
import { runConformance } from "./run.ts";
import { openAtDefaultLimits } from "./default_limits.ts";

/** Runs everything on the browser's adapter. */
export async function conform(): Promise<{ adapter: AdapterSummary; run: DriverRun }> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("the browser has WebGPU and no adapter");
  const gpu = await openAtDefaultLimits(adapter);
  return { adapter: gpu.adapter, run: await runConformance(gpu) };
}
