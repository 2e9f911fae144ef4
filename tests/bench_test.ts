/**
 * The comparisons with other libraries: what is compared, what is timed, and what the pages say about both.
 */

import assert from "node:assert/strict";
import { Stopwatch } from "../bench/stopwatch.ts";
import { hostPageOf } from "../bench/host_page.ts";
import { markdownOf, ratioTo, ratioToBetter, rooflineOf } from "../bench/page.ts";
import { race, type Row, tooLong } from "../bench/race.ts";
import { groupsOf, worksHolding } from "../bench/choice.ts";
import type { Runner, Work } from "../bench/work.ts";
import { FakeClock } from "./support/fake_clock.ts";

/** A runner that returns `values`; on the fake clock each run takes `milliseconds`. */
function runner(
  clock: FakeClock,
  values: readonly number[],
  milliseconds: number,
  log: string[] = [],
  name = "",
): Runner {
  return {
    results: () => Promise.resolve([Float32Array.from(values)]),
    lap(times) {
      log.push(name);
      clock.pass(times * milliseconds);
      return Promise.resolve();
    },
    dispose: () => log.push(`${name} freed`),
  };
}

Deno.test("libraries run in turn; one with another result is not timed, and every runner is freed", async () => {
  using clock = new FakeClock();
  const log: string[] = [];
  const work: Work = {
    name: "work",
    flops: 1e6,
    bytes: 4e6,
    ways: {
      "this library": () => Promise.resolve(runner(clock, [1, 2], 60, log, "a")),
      "tfjs-webgpu": () => Promise.resolve(runner(clock, [1, 2.0001], 120, log, "b")),
      "jax-js": () => Promise.resolve(runner(clock, [1, 2.1], 60, log, "c")),
    },
  };
  const yardstick = runner(clock, [], 20, log, "y");
  const row = await race({ name: "group", title: "Group" }, work, yardstick);
  const [own, second, third] = row.measured;
  assert.deepEqual(own.milliseconds, [60, 60, 60, 60, 60]);
  assert.equal(ratioTo(row, second), 2);
  assert.deepEqual([third.milliseconds.length, third.cannot], [0, "its result is off by 0.050"]);
  assert.equal(
    log.filter((entry) => entry.length === 1).join("").replace(/^a+b/, ""),
    "yyabyabyabyabyab",
  );
  assert.deepEqual(row.yardstick, [20, 20, 20, 20, 20]);
  assert.equal(row.runs, 1);
  assert.deepEqual(log.slice(-3).toSorted(), ["a freed", "b freed", "c freed"]);
});

Deno.test("a plan's laps and runs are kept, however long a run takes", async () => {
  using clock = new FakeClock();
  const asked: number[] = [];
  const own: Runner = {
    results: () => Promise.resolve([]),
    lap: (times) => Promise.resolve(void asked.push(times)),
    dispose() {},
  };
  const work = { name: "work", flops: 1, bytes: 1, ways: { "this library": () => Promise.resolve(own) } };
  const row = await race({ name: "group", title: "Group" }, work, runner(clock, [], 1), {
    laps: 4,
    runs: 7,
  });
  assert.deepEqual(asked.slice(-4), [7, 7, 7, 7]);
  assert.deepEqual([row.runs, row.yardstick.length, row.measured[0].milliseconds.length], [7, 4, 4]);
});

Deno.test("a GPU's laps are long against the wait for the last run, which counts in no run", async () => {
  using clock = new FakeClock();
  const asked: Record<string, number[]> = { own: [], peer: [] };
  const waiting = (name: string, milliseconds: number): Runner => ({
    results: () => Promise.resolve([]),
    lap(times) {
      asked[name].push(times);
      clock.pass(10 + times * milliseconds);
      return Promise.resolve();
    },
    dispose() {},
  });
  const ways: Work["ways"] = {
    "this library": () => Promise.resolve(waiting("own", 0.5)),
    "PyTorch CUDA": () => Promise.resolve(waiting("peer", 5)),
  };
  const work = { name: "work", flops: 1, bytes: 1, ways };
  for (const [on, runs] of [["hardware", 600], ["software", 120]] as const) {
    const row = await race({ name: "group", title: "Group" }, work, runner(clock, [], 1), { on });
    assert.deepEqual([row.runs, asked.own.at(-1), asked.peer.at(-1)], [runs, runs, 100]);
  }
});

Deno.test("results of another size, or not finite, are other results", async () => {
  using clock = new FakeClock();
  for (const values of [[1], [1, NaN]]) {
    const row = await race({ name: "group", title: "Group" }, {
      name: "work",
      flops: 1,
      bytes: 1,
      ways: {
        "this library": () => Promise.resolve(runner(clock, [1, 2], 600)),
        "jax-js": () => Promise.resolve(runner(clock, values, 1)),
        "tfjs-webgpu": () => Promise.reject(new Error("no room")),
      },
    }, runner(clock, [], 1));
    assert.equal(row.measured[0].milliseconds.length, 3, "a slow work is run fewer times");
    assert.deepEqual(row.measured.slice(1).map(({ cannot }) => cannot), [
      "its result is off by Infinity",
      "fails: no room",
    ]);
  }
});

Deno.test("a slow peer has fewer runs a lap, one that is too slow or cannot do the work none, and its own times count", async () => {
  using clock = new FakeClock();
  const asked: Record<string, number[]> = { own: [], slow: [], timed: [] };
  /** Takes `milliseconds` per run and `first` for the results; reports its own times if `own` is given. */
  const peer = (
    name: string,
    milliseconds: number,
    { first = 0, own }: { first?: number; own?: number } = {},
  ) => ({
    results() {
      clock.pass(first);
      return Promise.resolve([Float32Array.of(1)]);
    },
    lap(times: number) {
      asked[name]?.push(times);
      clock.pass(times * milliseconds);
      return Promise.resolve(own && own * times);
    },
    dispose() {},
  });
  const row = await race(
    { name: "group", title: "Group" },
    {
      name: "work",
      flops: 1,
      bytes: 1,
      ways: {
        "this library": () => Promise.resolve(peer("own", 1)),
        "jax-js": () => Promise.resolve(peer("slow", 100)),
        "PyTorch": () => Promise.resolve(peer("timed", 2, { own: 7 })),
        "tfjs-wasm": () => Promise.resolve(peer("impatient", 2100, { first: 2200 })),
      },
      cannot: { "onnxruntime-node": "forward only" },
    },
    runner(clock, [], 1),
    { laps: 2, runs: 20 },
  );
  assert.deepEqual(asked.own.slice(-2), [20, 20]);
  // Runs of 100 ms fill a lap of 500 ms five times.
  assert.equal(asked.slow.at(-1), 5);
  assert.deepEqual(asked.timed, [1, 20, 20]);
  const found = Object.fromEntries(row.measured.map((entry) => [entry.library, entry]));
  assert.deepEqual(found["PyTorch"].milliseconds, [7, 7]);
  assert.equal(found["tfjs-wasm"].cannot, "not timed: one run took 2.1 s");
  assert.equal(found["tfjs-wasm"].once, 2100);
  assert.equal(found["onnxruntime-node"].cannot, "forward only");
});

Deno.test("a peer is not tried where it would take long, unless it is the quickest of its place", () => {
  const row = (flops: number, times: Record<string, number>, once: Record<string, number> = {}): Row => ({
    group: "group",
    title: "Group",
    name: "work",
    flops,
    bytes: 1,
    runs: 1,
    yardstick: [1],
    measured: [
      ...Object.entries({ "this library": 1e6, ...times }).map(([library, time]) => ({
        library: library as "jax-js",
        milliseconds: [time, 2 * time],
      })),
      ...Object.entries(once).map(([library, time]) => ({
        library: library as "jax-js",
        milliseconds: [],
        cannot: "not timed",
        once: time,
      })),
    ],
  });
  const rows = [
    row(1e9, { "tfjs-webgpu": 600, "jax-js": 500, "tfjs-wasm": 550, "PyTorch": 100 }),
    row(2e9, { "tfjs-webgpu": 700, "jax-js": 900 }, { "doppler-gpu": 3000 }),
  ];
  assert.deepEqual([...tooLong(rows, { flops: 4e10 })], [
    // tfjs-webgpu would take 14 s, but it is the fastest on WebGPU.
    ["jax-js", "not tried: a run would take about 18 s"],
    ["tfjs-wasm", "not tried: a run would take about 22 s"],
    ["doppler-gpu", "not tried: a run would take about 60 s"],
  ]);
  assert.deepEqual([...tooLong([], { flops: 2e10 })], []);
});

Deno.test("the page: medians, ratios within laps, the roofline, and why a peer is missing", () => {
  const rowOf = (group: string, name: string, flops: number, bytes: number, own: number[]): Row => ({
    group,
    title: `The ${group}`,
    name,
    flops,
    bytes,
    runs: 1,
    yardstick: own.map(() => 50),
    measured: [
      { library: "this library", milliseconds: own },
      { library: "tfjs-webgpu", milliseconds: own.map((time) => 4 * time) },
      { library: "jax-js", milliseconds: [], cannot: "its result is off by 0.75" },
      { library: "PyTorch", milliseconds: own.map((time) => time / 2) },
    ],
  });
  const rows = [
    rowOf("products", "NT", 2e9, 1e6, [100, 50, 40]),
    rowOf("bandwidth", "add", 1e6, 5e6, [1, 2, 4]),
    rowOf("layer-norm", "norm", 1e6, 1e7, [4, 5, 8]),
  ];
  assert.deepEqual(rooflineOf(rows), { gflops: 50, gigabytes: 5 });
  assert.equal(rooflineOf(rows.slice(1)), undefined);
  const environment = {
    adapter: "llvmpipe",
    software: true,
    runtime: "Deno",
    system: "linux",
    cpus: 2,
    commit: "0123456789abcdef",
    dirty: false,
  };
  const page = markdownOf({ schemaVersion: 1, rows, about: "Peers: three.", environment }).replaceAll(
    / +/g,
    " ",
  );
  assert.match(
    page,
    /\| NT \| 50\.0 \(40\.0–100\) \| 40\.0 \| 80 % \| 4\.0× \| 200 \(4\.0×\) \| its result is off by 0\.75 \| 25\.0 \(0\.50×\) \|/,
  );
  // 1e7 bytes at 5 GB/s are 2 ms.
  assert.match(page, /\| norm \| 5\.00 \(4\.00–8\.00\) \| 0\.200 \| 40 % \|/);
  assert.match(page, /## The layer-norm/);
  assert.match(page, /Roofline: 50\.0 GFLOP\/s, the best product here, and 5\.0 GB\/s/);
  assert.match(
    page,
    /\| ÷ the better WebGPU peer \| tfjs-webgpu, ms \(÷\) \| jax-js, ms \(÷\) \| PyTorch, on the CPU, ms \(÷\) \|/,
  );
});

Deno.test("the better WebGPU peer is the one that takes the least, and never one on the CPU", () => {
  const rowOf = (ratios: Record<string, number>): Row => ({
    group: "group",
    title: "Group",
    name: "work",
    flops: 1,
    bytes: 1,
    runs: 1,
    yardstick: [1, 1, 1],
    measured: [["this library", 1] as const, ...Object.entries(ratios)].map(([library, ratio]) => ({
      library: library as Row["measured"][number]["library"],
      milliseconds: [ratio, ratio, ratio],
    })),
  });
  const onCpu = { "tfjs-wasm": 0.5, "onnxruntime-node": 0.2, "PyTorch": 0.1 };
  assert.equal(ratioToBetter(rowOf({ "tfjs-webgpu": 6, "jax-js": 4, "doppler-gpu": 5, ...onCpu })), 4);
  assert.equal(ratioToBetter(rowOf(onCpu)), undefined);
});

Deno.test("a stopwatch adds up what a call takes, and lets go of the queue", () => {
  using clock = new FakeClock();
  const calls: unknown[][] = [];
  class Queue {
    submit(...all: unknown[]) {
      clock.pass(5);
      calls.push(all);
    }
    writeBuffer() {}
  }
  const queue = new Queue();
  {
    using stopwatch = new Stopwatch(queue, "submit");
    queue.submit(1);
    queue.submit(2);
    queue.writeBuffer();
    assert.equal(stopwatch.take(), 10);
    assert.equal(stopwatch.take(), 0);
  }
  assert.equal(queue.submit, Queue.prototype.submit);
  assert.ok(!Object.hasOwn(queue, "submit"));
  const { submit } = Queue.prototype;
  {
    using stopwatch = new Stopwatch(Queue.prototype, "submit");
    new Queue().submit(3);
    assert.equal(stopwatch.take(), 5);
  }
  assert.equal(Queue.prototype.submit, submit);
  assert.deepEqual(calls, [[1], [2], [3]]);
});

Deno.test("the host's page: medians, what is neither uploading nor submitting, and dispatches that differ", () => {
  const page = hostPageOf({
    schemaVersion: 1,
    environment: {
      adapter: "llvmpipe",
      software: true,
      runtime: "Deno",
      system: "linux",
      cpus: 2,
      commit: "0123456789abcdef",
      dirty: false,
    },
    narrow: 48,
    figures: [{
      label: "LoRA",
      build: { trace: 10, differentiate: 20, planning: 30, total: 1500, dispatches: 300, pipelines: 17 },
      replay: {
        dispatches: 290,
        step: [4, 2, 3],
        upload: [0.5, 0.25, 0.25],
        finish: [0.25, 0.25, 0.25],
        submit: [1, 1, 0.5],
        heapGrowth: 2048,
      },
    }],
  }).replaceAll(/ +/g, " ");
  assert.match(
    page,
    /\| LoRA \| 290 \(300 at full width\) \| 3\.00 \(3\.00\) \| 2\.00 \(2\.00\) \| 0\.25 \(0\.25\) \| 0\.25 \(0\.25\) \| 1\.00 \(1\.00\) \| 2 KiB \|/,
  );
  assert.match(page, /\| LoRA \| 1\.50 \| 10 \| 20 \| 30 \| 17 \|/);
});

Deno.test("an unknown group or work is a mistake on the command line", () => {
  const groups = ["skinny", "wide"].map((name) => ({ name, title: name, works: () => [] }));
  const work = (name: string) => ({ name, flops: 1, bytes: 1, ways: {} });
  assert.deepEqual(groupsOf(groups, []), groups);
  assert.deepEqual(groupsOf(groups, ["wide"]), [groups[1]]);
  assert.throws(() => groupsOf(groups, ["narrow"]), /no group "narrow"; have skinny, wide/);
  const [skinny, wide] = groups;
  const chosen = [{ group: skinny, works: [work("NT 4"), work("NN 4")] }, {
    group: wide,
    works: [work("NN 8")],
  }];
  assert.deepEqual(worksHolding(chosen, "NN").map(({ works }) => works.map(({ name }) => name)), [["NN 4"], [
    "NN 8",
  ]]);
  assert.deepEqual(worksHolding(chosen, "NT").map(({ works }) => works.length), [1, 0]);
  assert.throws(() => worksHolding(chosen, "nothing"), /no work of skinny, wide holds "nothing"/);
});
