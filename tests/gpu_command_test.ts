/** `deno task gpu`: its parts and their time limits, what is kept of them, the page, and a pack that needs no network. */

import assert from "node:assert/strict";
import { msText } from "../bench/page.ts";
import { peerNames } from "../bench/peers.ts";
import configuration from "../deno.json" with { type: "json" };
import { writeWhole } from "../lib/files.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import {
  benchFigures,
  conformanceFigures,
  costsFigures,
  doctorFigures,
  tableFigures,
} from "../tasks/gpu/figures.ts";
import { copyPackages, writeSources } from "../tasks/gpu/pack.ts";
import { type Part, parts, type Place } from "../tasks/gpu/parts.ts";
import { measurePeaks, readPeaks } from "../tasks/gpu/peaks.ts";
import { earlierParts, folderNameOf, limitOf, runPart } from "../tasks/gpu/run_parts.ts";
import { runTimed } from "../tasks/gpu/timed_process.ts";
import { lockFor } from "../tasks/lock.ts";
import { type GpuRecord, renderGpu } from "../tasks/pages/gpu.ts";
import { benchGroups } from "./support/bench_groups.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";

const results = new URL("../results", import.meta.url).pathname;

/** Whether a process is there and not only waited for. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    return !/^State:\s+Z/m.test(await Deno.readTextFile(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

Deno.test("a program that runs out of time ends with all that it started, and what it printed is kept", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(
      `${folder}/slow.ts`,
      `const child = new Deno.Command("sleep", { args: ["30"] }).spawn();
      console.log(child.pid);
      console.error("beginning");
      await child.status;`,
    );
    const { outcome, seconds, stdout, stderr } = await runTimed(["run", "-A", `${folder}/slow.ts`], 2);
    assert.equal(outcome, "timed out");
    assert.ok(seconds >= 2 && seconds < 25, `${seconds} s`);
    assert.equal(stderr, "beginning\n");
    const pid = Number(stdout);
    assert.ok(pid > 1);
    for (let i = 0; i < 50 && await isAlive(pid); i++) await new Promise((done) => setTimeout(done, 100));
    assert.equal(await isAlive(pid), false, "what it started still runs");
  });
});

Deno.test("Ctrl-C and SIGTERM end a timed program, with all that it started", async () => {
  await withFolder(async (folder) => {
    const timed = new URL("../tasks/gpu/timed_process.ts", import.meta.url);
    await Deno.writeTextFile(
      `${folder}/slow.ts`,
      `const child = new Deno.Command("sleep", { args: ["30"] }).spawn();
      console.error(child.pid);
      await child.status;`,
    );
    await Deno.writeTextFile(
      `${folder}/outer.ts`,
      `import { runTimed } from ${JSON.stringify(timed)};
      await runTimed(["run", "-A", ${JSON.stringify(`${folder}/slow.ts`)}], 20);`,
    );
    for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      const outer = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", `${folder}/outer.ts`],
        stdout: "null",
        stderr: "piped",
      }).spawn();
      let said = "";
      for await (const text of outer.stderr.pipeThrough(new TextDecoderStream())) {
        if (said === "") outer.kill(signal);
        said += text;
      }
      assert.match(said, /^(\d+)\n\nStopped\. What was written before is kept\.\n$/);
      assert.equal((await outer.status).code, code);
      const pid = parseInt(said);
      for (let i = 0; i < 50 && await isAlive(pid); i++) await new Promise((done) => setTimeout(done, 100));
      assert.equal(await isAlive(pid), false, "what it started still runs");
    }
  });
});

/** A part that is the script `code`, which finds its record's path in `Deno.args[0]`. */
async function partOf(folder: string, code: string): Promise<Part> {
  await Deno.writeTextFile(`${folder}/part.ts`, code);
  return {
    name: "made",
    title: "A part",
    seconds: 60,
    record: "made",
    hasPage: true,
    command: () => ["run", "-A", `${folder}/part.ts`, `${folder}/made.json`],
    figures: async (path) => ({ figures: { header: ["value"], rows: [[await Deno.readTextFile(path)]] } }),
  };
}

const placeIn = (folder: string): Place => ({ adapter: "made-up", software: true, folder });

Deno.test("of a part that fails, what it wrote before is shown, with the end of what it printed", async () => {
  await withFolder(async (folder) => {
    const part = await partOf(
      folder,
      `Deno.writeTextFileSync(Deno.args[0], "7"); console.log("x".repeat(9999)); throw new Error("no | room");`,
    );
    const record = await runPart(part, placeIn(folder), 60);
    assert.equal(record.outcome, "failed");
    assert.deepEqual(record.figures?.rows, [["7"]]);
    assert.equal(record.page, "made.md");
    assert.equal(record.command, "deno run -A DIR/part.ts DIR/made.json");
    assert.ok(record.output!.length <= 3001);
    assert.match(record.output!, /^…x+[^]*no \| room/);
  });
});

Deno.test("what an earlier run wrote does not pass for a part's own; without time a part is not begun", async () => {
  await withFolder(async (folder) => {
    const silent = await partOf(folder, "");
    await writeWhole(`${folder}/made.json`, "old");
    await writeWhole(`${folder}/made.md`, "old");
    const done = await runPart(silent, placeIn(folder), 60);
    assert.deepEqual([done.outcome, done.figures, done.page], ["done", undefined, undefined]);
    const late = await runPart(silent, placeIn(folder), 1);
    assert.deepEqual([late.outcome, late.seconds, late.limit], ["not run", 0, 60]);
  });
});

Deno.test("a record that cannot be read is said to be, and a record that a part prints is kept", async () => {
  await withFolder(async (folder) => {
    const printing = { ...await partOf(folder, `console.log("{}");`), printsRecord: true };
    const record = await runPart({ ...printing, figures: doctorFigures }, placeIn(folder), 60);
    assert.equal(record.outcome, "done");
    assert.match(record.note!, /^Its record cannot be read: .*made\.json: rates: /);
    assert.equal(await Deno.readTextFile(`${folder}/made.json`), "{}\n");
  });
});

Deno.test("the parts: eight minutes in all, by programs that are there", async () => {
  assert.ok(parts.reduce((sum, { seconds }) => sum + seconds, 0) <= 480);
  const [hardware, software] = [["NVIDIA H200", false], ["llvmpipe (LLVM 15.0.6, 256 bits)", true]] as const;
  for (const [adapter, isSoftware] of [hardware, software]) {
    const place = { adapter, software: isSoftware, folder: "/out" };
    const commands = parts.map((part) => part.command(place));
    for (const command of commands) {
      const module = command.find((word) => word.endsWith(".ts"))!;
      assert.ok((await Deno.stat(new URL(`../${module}`, import.meta.url))).isFile, module);
      assert.equal(command[0], "run");
    }
    const [, conformance, , bench] = commands;
    const words = bench.slice(bench.indexOf("bench/main.ts") + 1);
    const groups = words.slice(0, words.findIndex((word) => word.startsWith("--")));
    assert.ok(groups.length >= 2);
    for (const group of groups) assert.ok(benchGroups().includes(group), `no group "${group}"`);
    assert.ok((peerNames as readonly string[]).includes(bench[bench.indexOf("--peer") + 1]));
    assert.equal(conformance[conformance.indexOf("--driver") + 1], isSoftware ? "llvmpipe" : "gpu");
  }
});

Deno.test("a part has its share of the time, and what those before it left", () => {
  const [costs, table] = [{ seconds: 100 }, { seconds: 75 }];
  assert.equal(limitOf(costs, [table], { left: 175, scale: 1 }), 100);
  assert.equal(limitOf(costs, [table], { left: 428, scale: 1 }), 353);
  assert.equal(limitOf(costs, [table], { left: 120, scale: 1 }), 100);
  assert.equal(limitOf(costs, [table], { left: 40, scale: 1 }), 40);
  assert.equal(limitOf(costs, [table], { left: 960, scale: 2 }), 810);
  assert.equal(limitOf(table, [], { left: 300, scale: 1 }), 300);
});

Deno.test("an adapter's name as a folder's", () => {
  assert.equal(folderNameOf("NVIDIA H200"), "nvidia-h200");
  assert.equal(folderNameOf("AMD Radeon™ RX 7900 (RADV NAVI31)/../x"), "amd-radeon-rx-7900-radv-navi31-x");
  assert.equal(folderNameOf("…"), "unnamed");
});

Deno.test("the main figures of the records that the commands write", async () => {
  await withFolder(async (folder) => {
    const peaks = {
      flopsPerSecond: 1e12,
      bytesPerSecond: 1e11,
      dispatchMicroseconds: 2,
      readMilliseconds: 11,
    };
    await writeWhole(`${folder}/peaks.json`, JSON.stringify(peaks));
    const bench = await benchFigures(`${results}/bench.json`, `${folder}/peaks.json`);
    const { rows } = JSON.parse(await Deno.readTextFile(`${results}/bench.json`));
    assert.equal(bench.figures!.rows.length, rows.length);
    const [{ group, name, flops, bytes, measured: [{ milliseconds }] }] = rows;
    const middle = milliseconds.toSorted((a: number, b: number) =>
      a - b
    )[Math.floor(milliseconds.length / 2)];
    const share = 100 * Math.max(flops / 1e12, bytes / 1e11) / (middle / 1000);
    assert.deepEqual(bench.figures!.rows[0].slice(0, 4), [
      `${group}: ${name}`,
      msText(middle),
      (flops / middle / 1e6).toPrecision(3),
      `${share.toFixed(0)} %`,
    ]);
    assert.equal((await benchFigures(`${results}/bench.json`, `${folder}/none`)).figures!.rows[0][3], "–");
  });
  const conformance = await conformanceFigures(`${results}/conformance.json`);
  assert.ok(conformance.figures!.rows.every((row) => row.at(-1) === "0"));
  assert.ok((await costsFigures(`${results}/costs.json`)).figures!.rows.length >= 10);
  const table = await tableFigures(`${results}/first-table.json`);
  assert.match(table.figures!.rows.find(([label]) => label === "BoRA r 8 b 16")![1], /^accuracy \d\d\.\d %$/);
});

Deno.test("the peaks are measured, and none is nothing", async () => {
  await withFolder(async (folder) => {
    using gpu = await openGpu({ autotune: false });
    await writeWhole(`${folder}/peaks.json`, JSON.stringify(await measurePeaks(gpu)));
    for (const [name, value] of Object.entries(await readPeaks(`${folder}/peaks.json`))) {
      assert.ok(value > 0, name);
    }
    assert.equal(gpu.memory.buffers, 0);
  });
});

const record: GpuRecord = {
  schemaVersion: 1,
  environment: {
    adapter: "made-up | GPU",
    software: false,
    runtime: "Deno 0",
    system: "linux x86_64",
    cpus: 2,
    commit: "0123456789abcdef",
    dirty: false,
  },
  limits: { maxBufferSize: 2 ** 31, maxComputeWorkgroupStorageSize: 32768 },
  subgroupSize: 32,
  parts: [
    {
      name: "doctor",
      title: "Doctor",
      command: "deno run tasks/doctor.ts",
      outcome: "done",
      seconds: 3.2,
      limit: 30,
      figures: { header: ["figure", "value"], rows: [["products", "1 | 2"]] },
    },
    {
      name: "bench",
      title: "Bench",
      command: "deno run bench/main.ts",
      outcome: "timed out",
      seconds: 165,
      limit: 165,
      page: "bench.md",
      output: "line | one\n*two*",
    },
  ],
};

Deno.test("the page: how each part ended, its figures, and what those that did not end well printed", () => {
  const page = renderGpu(record);
  assert.match(page, /^# made-up \\\| GPU$/m);
  assert.match(page, /^\| Doctor +\| +done \| +3 \| +30 \| +\|$/m);
  assert.match(page, /^\| Bench +\| +\*\*timed out\*\* \| +165 \| +165 \| \[bench\.md\]\(bench\.md\) \|$/m);
  assert.match(page, /^\| products \| +1 \\\| 2 \|$/m);
  assert.match(page, /It ran out of time\. The end of what it printed:\n\n {4}line \| one\n {4}\*two\*$/m);
  assert.match(page, /^\| `maxBufferSize` +\| +2\.00 GiB \|$/m);
  assert.match(page, /^\| `maxComputeWorkgroupStorageSize` +\| +32,768 \|$/m);
  assert.doesNotMatch(page, /software driver/);
  const [doctor] = record.parts;
  const unrun = renderGpu({ ...record, parts: [{ ...doctor, outcome: "not run", figures: undefined }] });
  assert.match(unrun, /^ {4}deno run tasks\/doctor\.ts\n\nNot run: too little time was left\.$/m);
  const soft = { ...record, environment: { ...record.environment, software: true } };
  assert.match(renderGpu(soft), /no figure here is a GPU's/);
});

Deno.test("parts that an earlier run made keep its machine and commit, where a later one has others", () =>
  withFolder(async (folder) => {
    const path = `${folder}/gpu.json`;
    await writeWhole(path, JSON.stringify(record));
    const [doctor, bench] = record.parts;
    const same = await earlierParts(path, [{ name: "bench" }], record.environment);
    assert.deepEqual(same, [doctor]);
    const later = { ...record.environment, commit: "fedcba9876543210" };
    const [kept] = await earlierParts(path, [{ name: "bench" }], later);
    assert.match(kept.origin!, /^Machine: made-up \| GPU, .* Commit 0123456789\.$/);
    const page = renderGpu({ ...record, environment: later, parts: [kept, bench] });
    assert.match(page, /^Of an earlier run\. Machine: made-up \\\| GPU, .* Commit 0123456789\.$/m);
    // Again later, and then at the first commit again.
    await writeWhole(path, JSON.stringify({ ...record, environment: later, parts: [kept, bench] }));
    assert.deepEqual(await earlierParts(path, [{ name: "bench" }], later), [kept]);
    assert.deepEqual(await earlierParts(path, [{ name: "bench" }], record.environment), [doctor]);
  }));

Deno.test("an unknown part, no folder, and options that a pack has no use for are mistakes on the command line", async () => {
  for (
    const [args, message] of [
      [["--part", "magic"], /no part "magic"; have doctor, conformance, peaks, bench, costs, table/],
      [["--part", "doctor", "--minutes", "0.01", "--out", ""], /^--out is empty: name where to write$/m],
      [["--pack", "nowhere", "--minutes", "3"], /--pack runs nothing: give --minutes to its run\.sh/],
    ] as const
  ) {
    const { code, stderr } = await runTask("gpu", args);
    assert.match(stderr, message);
    assert.equal(code, 2);
  }
});

Deno.test("two runs at a time for one GPU would mix their figures: the second is refused", () =>
  withFolder(async (folder) => {
    const gpu = await openGpu({ autotune: false });
    const { adapter } = await describeEnvironment(gpu);
    gpu[Symbol.dispose]();
    using _ = await lockFor(`${folder}/${folderNameOf(adapter)}/gpu`);
    const { code, stderr } = await runTask("gpu", ["--part", "doctor", "--out", folder]);
    assert.match(stderr, /another run is writing .*\/gpu \(process \d+ on /);
    assert.equal(code, 1);
  }));

Deno.test("what is packed runs without a network, and knows its commit", async () => {
  await withFolder(async (folder) => {
    await writeSources(`${folder}/source`);
    await copyPackages(folder);
    const packed = JSON.parse(await Deno.readTextFile(`${folder}/source/deno.json`));
    // Nothing but what the pack brings, and every request fails at once.
    const env = {
      DENO_DIR: `${folder}/cache`,
      HTTPS_PROXY: "http://127.0.0.1:9",
      HOME: folder,
      PATH: "/usr/bin:/bin",
    };
    const run = async (args: readonly string[]) => {
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [...args],
        cwd: `${folder}/source`,
        clearEnv: true,
        env,
      }).output();
      const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      assert.ok(success, decode(stderr));
      return decode(stdout);
    };
    for (const name of ["gpu", "conformance", "bench"] as const) {
      const program = packed.tasks[name].command.split(" ").slice(1);
      assert.match(await run([...program, "--help"]), new RegExp(`^deno task ${name} `));
      assert.ok(configuration.tasks[name].command.endsWith(program.at(-1)));
    }
    const asked = await run([
      "eval",
      "--cached-only",
      `
      import { describeMachine } from './lib/report/environment.ts';
      import { loadUseLite } from './lib/models/use_lite.ts';
      import { taskByName } from './lib/data/registry.ts';
      const { train } = await taskByName("supersense").load();
      console.log((await describeMachine()).commit, (await loadUseLite()).name, train.length > 1000);
    `,
    ]);
    const { stdout } = await new Deno.Command("git", { args: ["rev-parse", "HEAD"] }).output();
    const head = new TextDecoder().decode(stdout).trim();
    assert.equal(asked, `${head === "" ? "unknown (git finds none here)" : head} USE-lite true\n`);
  });
});
