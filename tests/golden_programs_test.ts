/**
 * The golden of programs: for every model family, method, fusion and storage, on each device class, the kernels that are
 * chosen (text, grid, parameters, bindings) and the bits that come out. Software's stay as they are while the engine changes.
 *
 *     deno test -A tests/golden_programs_test.ts -- --update       records the kernels, and the bits on this driver
 *     deno test -A tests/golden_programs_test.ts -- --dump FOLDER  writes each program's launches, to compare two commits
 */

import assert from "node:assert/strict";
import { digestOf } from "../lib/digest.ts";
import { Gpu } from "../lib/gpu/device.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import { bitsOf, goldenPrograms, launchesOf, roundsFmaOnce } from "./support/golden_programs.ts";
import { testGpu } from "./support/ops.ts";

/** What is recorded of a program on a device class. */
interface Recorded {
  launches: number;
  /** Digest of all launches. */
  kernels: string;
  /** Digests of all outputs by driver, of which only the recorded ones are checked; absent for programs that are not run. */
  bits?: Record<string, string>;
}

/** The device classes: those of llvmpipe and SwiftShader, and GPUs. The last cannot be forced on a software driver, so it has no bits. */
const classes: Readonly<Record<string, DeviceTraits>> = {
  software: { subgroupSize: 8, software: true },
  "software of four lanes": { subgroupSize: 4, software: true },
  hardware: { subgroupSize: 0, software: false },
  "hardware with subgroups of 32 and f16": { subgroupSize: 32, software: false, f16: true },
};

const path = new URL("golden/programs.json", import.meta.url);
const updates = Deno.args.includes("--update");
const folder = Deno.args.includes("--dump") ? Deno.args[Deno.args.indexOf("--dump") + 1] : undefined;

const golden: Record<string, Record<string, Recorded>> = JSON.parse(await Deno.readTextFile(path));
const programs = await goldenPrograms();

for (const [name, traits] of Object.entries(classes)) {
  Deno.test(`golden: the kernels of every program, ${name}`, async () => {
    const changed: string[] = [];
    for (const { name: program, outputs } of programs) {
      const launches = launchesOf(outputs, traits);
      if (folder) {
        await Deno.mkdir(`${folder}/${name}`, { recursive: true });
        const file = `${folder}/${name}/${program.replaceAll(/[^\w×]+/g, "-")}.json`;
        await Deno.writeTextFile(file, JSON.stringify(launches, undefined, 1));
      }
      const kernels = await digestOf(launches);
      const own = golden[program]?.[name];
      if (updates) (golden[program] ??= {})[name] = { ...own, launches: launches.length, kernels };
      else if (own?.kernels !== kernels) changed.push(program);
    }
    assert.deepEqual(changed, [], "use --dump at both commits and compare the folders");
  });
}

for (const name of ["software", "hardware"]) {
  Deno.test(`golden: the bits of every program, ${name}`, async () => {
    const gpu = await testGpu();
    const [known] = gpu.adapter.name.toLowerCase().match(/llvmpipe|swiftshader/) ?? ["another"];
    const driver = `${known}, ${gpu.traits.subgroupSize} lanes${await roundsFmaOnce(gpu) ? ", fused" : ""}`;
    if (!updates && !(driver in Object.values(golden)[0].software.bits!)) return;
    const device = name === "software"
      ? gpu
      : new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, ...classes[name] });
    const changed: string[] = [];
    for (const { name: program, outputs } of programs.filter(({ runs }) => runs.includes(name))) {
      const bits = await bitsOf(device, outputs);
      const own = golden[program]?.[name];
      if (updates) golden[program][name] = { ...own, bits: { ...own.bits, [driver]: bits } };
      else if (own?.bits?.[driver] !== bits) changed.push(program);
    }
    assert.deepEqual(changed, []);
  });
}

Deno.test("golden: what is recorded is here", async () => {
  const names = new Set(programs.map(({ name }) => name));
  if (updates) {
    const kept = Object.entries(golden).filter(([name]) => names.has(name));
    await Deno.writeTextFile(path, JSON.stringify(Object.fromEntries(kept), undefined, 1) + "\n");
  }
  const recorded = Object.keys(updates ? {} : golden);
  assert.deepEqual(recorded.filter((name) => !names.has(name)), []);
});
