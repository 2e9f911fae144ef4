/**
 * `deno task conformance`: what it checks on a driver, that it finds a faulty one, the record, the page and
 * the command line.
 */

import assert from "node:assert/strict";
import { writeWhole } from "../lib/files.ts";
import { failuresOf, renderConformance } from "../lib/report/conformance_page.ts";
import {
  type ConformanceRecord,
  type DriverRecord,
  type DriverRun,
  readConformance,
} from "../lib/report/conformance_schema.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { drivers, recordsWith } from "../tasks/conformance/drivers.ts";
import { runTask } from "./support/command.ts";
import { runCase } from "../tasks/conformance/run.ts";
import { defaultLimits } from "../tasks/conformance/default_limits.ts";
import type { OpCase } from "../tasks/conformance/op_cases.ts";
import { testGpu } from "./support/ops.ts";

const double: OpCase = {
  family: "add",
  name: "double",
  tolerance: 1e-6,
  values: { x: [1, 2, 3] },
  trace: (graph) => add(graph.weight("x", [3], true), graph.weight("x", [3], true)),
};

Deno.test("a case's worst tensor is named; values that are not finite and errors of the driver are failures", async () => {
  const gpu = await testGpu();
  const right = await runCase(gpu, double);
  assert.ok("error" in right && right.error <= 1e-6 && right.tensor.endsWith("[3]"));
  const infinite = await runCase(gpu, { ...double, values: { x: [3e38, 2, 3] } });
  assert.match("failure" in infinite ? infinite.failure : "", /value 0 is Infinity, expected 6\d*/);
  const wrong = await runCase(gpu, { ...double, values: { x: [1] } });
  assert.match("failure" in wrong ? wrong.failure : "", /holds 1 values; its shape \[3\] wants 3/);
});

const environment = {
  adapter: "made-up GPU",
  software: true,
  runtime: "Deno 0",
  system: "linux x86_64",
  cpus: 2,
  commit: "0123456789abcdef",
  dirty: false,
};

const passing: DriverRun = {
  limits: { ...defaultLimits },
  subgroupSize: 8,
  seconds: 12.3,
  cases: [
    { family: "matmul", name: "matmul 1", tolerance: 2e-5, tensor: "forward [1]", error: 1e-5 },
    { family: "matmul", name: "matmul 2", tolerance: 2e-6, tensor: "forward [1]", error: 1e-6 / 2 },
    { family: "softmaxRows", name: "exact", tolerance: 0, tensor: "forward [2]", error: 0 },
  ],
  training: [{ name: "LoRA", tolerance: 1e-5, losses: [0.75, 0.5], error: 1e-6 }],
};

const failing: DriverRun = {
  ...passing,
  subgroupSize: 0,
  cases: [
    { ...passing.cases[0], error: 1e-2 },
    { family: "matmul", name: "matmul 2", tolerance: 2e-6, failure: "does not compile:\n  | line 3 | *" },
    { ...passing.cases[2], error: 1e-9 },
  ],
  training: [{ name: "LoRA", tolerance: 1e-5, failure: "the device was lost" }],
};

const record: ConformanceRecord = {
  schemaVersion: 1,
  reference: { LoRA: [0.75, 0.5] },
  drivers: [
    { name: "good", compiler: "naga", environment, run: passing },
    { name: "bad", compiler: "Tint", environment: { ...environment, dirty: true }, run: failing },
    { name: "absent", compiler: "Tint", missing: "Install it." },
    { name: "crashed", compiler: "Tint", broken: "exit code 139" },
  ],
};

const cellsOf = (page: string, head: string) =>
  page.split("\n").find((line) => line.startsWith(`| ${head} `))!.split("|").map((cell) => cell.trim()).slice(
    2,
    -1,
  );

Deno.test("the page: one row per op with its worst share, one column per driver, and what failed in full", () => {
  const page = renderConformance(record);
  assert.deepEqual(cellsOf(page, "matmul"), ["2", "2e-5, 2e-6", "0.500", "**2 failed**", "–", "–"]);
  assert.deepEqual(cellsOf(page, "softmaxRows"), ["1", "0", "0.000", "**1 failed**", "–", "–"]);
  assert.deepEqual(cellsOf(page, "LoRA"), ["2", "1e-5", "0.100", "**1 failed**", "–", "–"]);
  assert.deepEqual(cellsOf(page, "1"), ["0.5000000", "0.5000000", "–", "–", "–"]);
  assert.deepEqual(cellsOf(page, "commit"), ["0123456789", "0123456789 with uncommitted changes", "–", "–"]);
  assert.deepEqual(cellsOf(page, "`maxStorageBuffersPerShaderStage`"), ["8", "8", "–", "–"]);
  assert.match(page, /^ {4}matmul 1: forward \[1\] off by 1\.0e-2, allowed 0\.00002$/m);
  assert.match(page, /^ {4}matmul 2: does not compile:\n {6}\| line 3 \| \*$/m);
  assert.match(page, /absent was not here\. Install it\./);
  assert.match(page, /crashed broke off:\n\n {4}exit code 139/);
  assert.equal(failuresOf(passing).length, 0);
  assert.equal(failuresOf(failing).length, 4);
});

Deno.test("a driver's record that is older than an op and a run has neither of them on the page", () => {
  const cases = passing.cases.filter(({ family }) => family !== "softmaxRows");
  const older = { ...record.drivers[0], name: "older", run: { ...passing, cases, training: [] } };
  const page = renderConformance({ ...record, drivers: [record.drivers[0], older] });
  assert.deepEqual(cellsOf(page, "softmaxRows"), ["1", "0", "0.000", "–"]);
  assert.deepEqual(cellsOf(page, "LoRA"), ["2", "1e-5", "0.100", "–"]);
  assert.deepEqual(cellsOf(page, "1"), ["0.5000000", "0.5000000", "–"]);
});

Deno.test("a run without any driver still gives a page that says how to get one", () => {
  const page = renderConformance({ ...record, drivers: record.drivers.slice(2, 3) });
  assert.match(page, /absent was not here\. Install it\./);
});

Deno.test("the record survives its file, and a damaged one is refused by the field", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/conformance.json`;
  await writeWhole(path, JSON.stringify(record));
  assert.deepEqual(await readConformance(path), record);
  await writeWhole(path, JSON.stringify({ ...record, reference: { LoRA: ["much"] } }));
  await assert.rejects(() => readConformance(path), /conformance\.json: reference\.LoRA\.0: .*number/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("results/conformance.md is what its JSON renders to", async () => {
  const results = new URL("../results/", import.meta.url).pathname;
  const page = await Deno.readTextFile(`${results}/conformance.md`);
  assert.equal(renderConformance(await readConformance(`${results}/conformance.json`)), page);
});

Deno.test("a driver that is run again takes the place of its record, and the others stay, in the columns' order", () => {
  const recordFor = (index: number, missing: string): DriverRecord => ({
    name: drivers[index].name,
    compiler: drivers[index].compiler,
    missing,
  });
  const earlier = [recordFor(0, "old"), recordFor(3, "old")];
  assert.deepEqual(recordsWith(recordFor(3, "new"), earlier), [recordFor(0, "old"), recordFor(3, "new")]);
  assert.deepEqual(recordsWith(recordFor(1, "new"), earlier).map(({ name }) => name), [
    drivers[0].name,
    drivers[1].name,
    drivers[3].name,
  ]);
});

Deno.test("an unknown driver is a mistake on the command line, which names the known ones", async () => {
  const { code, stderr } = await runTask("conformance", ["--driver", "metal"]);
  assert.equal(code, 2);
  assert.match(stderr, /no driver "metal"; have gpu, llvmpipe, swiftshader, dawn, chromium/);
});
