/**
 * What users see when something goes wrong, and that nothing already written is lost. With `-- --update` the messages go to
 * results/faults.{md,json}.
 */

import assert from "node:assert/strict";
import { readJson, writeWhole } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { faultsPage, faultsSchema, type Seen } from "../tasks/pages/faults.ts";
import { appendLog } from "../tasks/step_log.ts";
import { type Fault, faults } from "./support/faults/registry.ts";
import { type Ended, Scene } from "./support/faults/scene.ts";

const results = new URL("../results", import.meta.url).pathname;
const update = Deno.args.includes("--update");

/** Faults that are provoked at a time. */
const atOnce = 3;

/** What does not differ from one run to the next. */
function settled(text: string, root: string): string {
  return text.replaceAll(root, "…").replace(/process \d+ on \S+\)/, "process 4711 on HOST)").trim();
}

/** Provokes the fault, and checks what was printed and how the command ended. */
async function see({ message, provoke, ...fault }: Fault, scene: Scene, place: number): Promise<Seen> {
  const { code, stderr }: Ended = await provoke(scene, `fault-${place}`);
  const seen = settled(stderr, scene.root);
  assert.equal(code, fault.code, seen);
  if (message) assert.match(seen, message);
  else assert.equal(seen, "");
  assert.doesNotMatch(seen, /^ +at .*:\d+:\d+|Uncaught|panicked/m, "a message, not a stack trace");
  return { ...fault, message: seen };
}

Deno.test("every fault ends in its message and exit code, and loses nothing that was written", async (t) => {
  const scene = await Scene.create();
  const waiting = [...faults.entries()];
  const seen: Seen[] = [];
  const work = async () => {
    for (let next; (next = waiting.shift());) {
      const [place, fault] = next;
      const sanitizers = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
      const fn = async () => void (seen[place] = await see(fault, scene, place));
      await t.step({ name: fault.name, fn, ...sanitizers });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await Deno.remove(scene.root, { recursive: true });
  if (!update || faults.some((_, place) => !seen[place])) return;
  using gpu = await openGpu();
  const environment = await describeEnvironment(gpu);
  await faultsPage.write(results, { schemaVersion: 1, environment, faults: seen });
});

Deno.test("results/faults.json is of these faults (deno test -A tests/faults_test.ts -- --update)", async () => {
  const written = await readJson(`${results}/faults.json`, faultsSchema);
  const known = ({ name, provoked, code, after }: Omit<Seen, "message">) => ({ name, provoked, code, after });
  assert.deepEqual(written.faults.map(known), faults.map(known));
  for (const [i, { message }] of faults.entries()) {
    if (message) assert.match(written.faults[i].message, message);
  }
});

Deno.test("a file is on the disk before it is renamed, and its name thereafter", async () => {
  const folder = await Deno.makeTempDir();
  const done: string[] = [];
  const { syncData, sync } = Deno.FsFile.prototype;
  const { rename } = Deno;
  Deno.FsFile.prototype.syncData = function () {
    done.push("content");
    return syncData.call(this);
  };
  Deno.FsFile.prototype.sync = function () {
    done.push("folder");
    return sync.call(this);
  };
  Deno.rename = (from, to) => {
    done.push("rename");
    return rename(from, to);
  };
  try {
    await writeWhole(`${folder}/file`, "text");
  } finally {
    Object.assign(Deno.FsFile.prototype, { syncData, sync });
    Deno.rename = rename;
  }
  assert.deepEqual(done, ["content", "rename", "folder"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a log cut off between or within an epoch's lines gets what is missing and no line twice", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/log.jsonl`;
  const epoch = (first: number) =>
    Array.from({ length: 4 }, (_, i) => ({ step: first + i, loss: 0.5, gradientNorm: 1 }));
  appendLog(path, "σ", epoch(0));
  appendLog(path, "σ", epoch(4));
  const whole = await Deno.readFile(path);
  const end = whole.length;
  const secondEpoch = end / 2;
  for (let bytes = secondEpoch; bytes <= end; bytes++) {
    await Deno.writeFile(path, whole.subarray(0, bytes));
    appendLog(path, "σ", epoch(4));
    assert.deepEqual(await Deno.readFile(path), whole, `cut after ${bytes} bytes`);
  }
  await Deno.remove(folder, { recursive: true });
});
