/** What is said of a machine: its driver, its rates, what fits, and what to do where there is no adapter. */

import assert from "node:assert/strict";
import { driverAmong, readDriver } from "../lib/gpu/driver.ts";
import { type Cell, readCells, writeCells } from "../lib/report/schema.ts";
import { compareCells } from "../lib/report/compare_cells.ts";
import { comparePage } from "../lib/report/compare_page.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { renderMarkdown } from "../lib/report/markdown.ts";
import { testGpu } from "./support/ops.ts";

const adapter = (vendor: number) => ({ name: "a", vendor: String(vendor), software: false });

Deno.test("the driver is the one of the adapter's vendor among those that the loader opened", async () => {
  const folder = await Deno.makeTempDir({ prefix: "with space " });
  const mesa = `${folder}/libvulkan_radeon.so`;
  await Deno.writeFile(mesa, new TextEncoder().encode("\0\xffMesa mesa25\0Mesa 25.1.0-devel (git-0)\0"));
  const nvidia = "/usr/lib/libGLX_nvidia.so.550.54.14";
  const paths = ["/usr/lib/libvulkan.so.1", nvidia, mesa, "/opt/libvk_swiftshader.so"];
  assert.equal(await driverAmong(paths, adapter(0x1002)), "Mesa 25.1.0-devel");
  assert.equal(await driverAmong(paths, adapter(0x10de)), "NVIDIA 550.54.14");
  assert.equal(await driverAmong(paths, adapter(0x1ae0)), "libvk_swiftshader.so");
  assert.equal(await driverAmong(paths, adapter(0x8086)), undefined, "another vendor's is not taken for it");
});

Deno.test("results name the driver of this machine's adapter; records without one load, and are no difference", async () => {
  const gpu = await testGpu();
  const { driver } = await describeEnvironment(gpu);
  assert.equal(driver, await readDriver(gpu.adapter));
  if (gpu.adapter.name.startsWith("llvmpipe")) assert.match(driver!, /^Mesa \d+\.\d+/);
  const cells = await readCells(new URL("../results/first-table.json", import.meta.url).pathname);
  const driven = (driver?: string): Cell[] =>
    cells.map((cell) => ({ ...cell, environment: { ...cell.environment, adapter: "llvmpipe", driver } }));
  const path = await Deno.makeTempFile();
  await writeCells(path, driven());
  const old = await readCells(path);
  assert.match(
    renderMarkdown("T", driven("Mesa 1.2"), "LoRA r 8", []),
    /Machine: llvmpipe, Mesa 1\.2, \d+ CPUs/,
  );
  const compared = (base: Cell[], head: Cell[]) => comparePage([compareCells(base, head)], "a", "b");
  assert.match(compared(old, driven("Mesa 1.2")), /\| driver +\| +not recorded \| +Mesa 1\.2 \|/);
  assert.doesNotMatch(compared(old, driven("Mesa 1.2")), /environments differ/);
  assert.match(compared(driven("Mesa 1.1"), driven("Mesa 1.2")), /environments differ/);
  assert.doesNotMatch(compared(old, old), /driver/);
});
