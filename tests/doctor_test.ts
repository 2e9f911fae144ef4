/**
 * What `deno task doctor` reports about a machine: its driver, its rates, what fits, and what to do if there
 * is no adapter.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { driverAmong, readDriver } from "../lib/gpu/driver.ts";
import { publishedEncoder } from "../lib/models/published_configs.ts";
import { unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { classification } from "../lib/objectives/classification.ts";
import { readCells } from "../lib/report/cell_table.ts";
import { compareCells } from "../lib/report/compare_cells.ts";
import { comparePage } from "../lib/report/compare_page.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { renderMarkdown } from "../lib/report/markdown.ts";
import type { Cell } from "../lib/report/schema.ts";
import { estimateTraining } from "../lib/train/estimate.ts";
import { batches, largestThatFits, type ModelFit } from "../tasks/fits.ts";
import { madeUpCell, writeCellsTable } from "./support/cells.ts";
import { noAdapter, runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";
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
  const cells = [madeUpCell(), madeUpCell({ label: "BoRA r 8 b 16" })];
  const driven = (driver?: string): Cell[] =>
    cells.map((cell) => ({ ...cell, environment: { ...cell.environment, adapter: "llvmpipe", driver } }));
  const old = await withFolder(async (folder) => {
    await writeCellsTable(`${folder}/first-table.json`, driven());
    return await readCells(`${folder}/first-table.json`);
  });
  assert.match(
    renderMarkdown("T", driven("Mesa 1.2"), "Rates.", []),
    /Machine: llvmpipe, Mesa 1\.2, \d+ CPUs/,
  );
  const compared = (base: Cell[], head: Cell[]) => comparePage([compareCells(base, head)], "a", "b");
  assert.match(compared(old, driven("Mesa 1.2")), /\| driver +\| +not recorded \| +Mesa 1\.2 \|/);
  assert.doesNotMatch(compared(old, driven("Mesa 1.2")), /environments differ/);
  assert.match(compared(driven("Mesa 1.1"), driven("Mesa 1.2")), /environments differ/);
  assert.doesNotMatch(compared(old, old), /driver/);
});

Deno.test("the largest batch that fits is the last one before too little room, wherever that is", async () => {
  for (const most of [0, 1, 2, 100, 128, 300]) {
    const estimate = (batch: number) =>
      Promise.resolve({ steps: 1, flops: 1, peakBytes: batch, largestBuffer: { label: "", bytes: batch } });
    const expected = batches.findLast((batch) => batch <= most);
    assert.deepEqual((await largestThatFits(estimate, { memoryBytes: most })).batch, expected, `${most}`);
    assert.deepEqual((await largestThatFits(estimate, { bufferBytes: most })).batch, expected, `${most}`);
  }
});

Deno.test("deno task doctor: this adapter with its limits and rates, and batches that fit where the next larger does not", async () => {
  const { code, stdout, stderr } = await runTask("doctor", ["--json", "--memory", "1"]);
  assert.equal(code, 0, stderr);
  const found = JSON.parse(stdout);
  const gpu = await testGpu();
  assert.equal(found.adapter, gpu.adapter.name);
  assert.equal(found.driver, await readDriver(gpu.adapter));
  assert.equal(found.limits.maxBufferSize, gpu.device.limits.maxBufferSize);
  assert.equal(found.room.memoryBytes, 2 ** 30);
  assert.ok(found.rates.flopsPerSecond > 1e7 && found.rates.bytesPerSecond > 1e7);
  const [useLite, miniLm, base, large, smolLm2, llama] = found.models as ModelFit[];
  assert.deepEqual([useLite.model, miniLm.model], ["USE-lite", "minilm"]);
  assert.deepEqual([base.model, large.model], ["roberta-base", "roberta-large"]);
  assert.deepEqual(
    large.fits,
    [{ length: 64 }, { length: 128 }, { length: 512 }],
    "its weights alone are 1.4 GB",
  );
  assert.deepEqual([smolLm2.model, llama.model], ["smollm2", "LLaMA-3-8B, int4"]);
  assert.ok(llama.fits.every(({ batch }) => batch === undefined), "its weights alone are 4.7 GiB");
  for (const { batch, peakBytes } of smolLm2.fits) {
    assert.ok(batch !== undefined && peakBytes! > 90e6 && peakBytes! <= 2 ** 30);
  }
  const model = unloadedEncoder("roberta-base", publishedEncoder("roberta-base")!);
  const adapter = attach(model, lora, { r: 8, target: ["query", "value"], dropout: 0.05 });
  for (const { length, batch } of base.fits.slice(0, 2)) {
    const example = { texts: [Array<number>(length).fill(0)], label: 0 };
    const peakOf = async (batchSize: number) => {
      const options = { learningRate: 1e-4, epochs: 1, batchSize, warmupRatio: 0, seed: 0 };
      const objective = classification.of(model, { texts: 1, classes: 2 });
      const parts = { model, adapter, objective, train: [example], dev: [] };
      return (await estimateTraining({ ...parts, ...options })).peakBytes;
    };
    assert.ok(batch !== undefined && await peakOf(batch) <= 2 ** 30 && await peakOf(2 * batch) > 2 ** 30);
  }
});

Deno.test("deno task doctor: text for people; with no adapter what to install, and exit 1", async () => {
  const { stdout } = await runTask("doctor", ["--memory", "1"]);
  const { adapter } = await testGpu();
  assert.ok(stdout.startsWith(`Adapter     ${adapter.name}`), stdout);
  assert.match(stdout, /^Memory +1\.00 GiB, --memory$/m);
  assert.match(stdout, /^roberta-large +none +none +none$/m);
  assert.match(stdout, /^smollm2 +\d+ .*MiB$/m);
  assert.match(stdout, /^LLaMA-3-8B, int4 +none +none +none$/m);
  assert.match(stdout, /^Next: deno task reproduce/m);
  const none = await runTask("doctor", [], noAdapter);
  assert.deepEqual([none.code, none.stdout], [1, ""]);
  assert.match(none.stderr, /No WebGPU adapter.*\n.*apt-get install libvulkan1/);
  const wrong = await runTask("doctor", ["--memory", "0"]);
  assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
  assert.match(wrong.stderr, /--memory wants a number above 0, not "0"/);
});

Deno.test("a run where git fails, or is not installed, says so in the commit's place", async () => {
  const folder = await Deno.makeTempDir();
  const module = import.meta.resolve("../lib/report/environment.ts");
  const commitHere = async () => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "eval",
        `import { describeEnvironment } from "${module}";
         const { commit, dirty } = await describeEnvironment({ adapter: { name: "a", vendor: "0", software: false } });
         console.log(commit, dirty);`,
      ],
      env: { PATH: folder },
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  try {
    assert.equal(await commitHere(), "unknown (no git) false");
    await Deno.writeTextFile(`${folder}/git`, "#!/bin/sh\nexit 128\n", { mode: 0o755 });
    assert.equal(await commitHere(), "unknown (git finds none here) false");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
