/** The races: what is compared, what is timed, and what the page says of both. */

import assert from "node:assert/strict";
import { pageOf, ratioTo, rooflineOf } from "../bench/page.ts";
import { race, type Row } from "../bench/race.ts";
import type { Runner, Work } from "../bench/work.ts";

/** A runner that gives `values` and takes `milliseconds` a run. */
function runner(values: readonly number[], milliseconds: number, log: string[], name: string): Runner {
  return {
    results: () => Promise.resolve([Float32Array.from(values)]),
    lap: (times) => {
      log.push(name);
      return new Promise((resolve) => setTimeout(resolve, times * milliseconds));
    },
    dispose: () => log.push(`${name} freed`),
  };
}

Deno.test("libraries run in turn; one with another result is not timed, and every runner is freed", async () => {
  const log: string[] = [];
  const work: Work = {
    name: "work",
    flops: 1e6,
    bytes: 4e6,
    ways: {
      "this library": () => Promise.resolve(runner([1, 2], 60, log, "a")),
      "tfjs-webgpu": () => Promise.resolve(runner([1, 2.0001], 120, log, "b")),
      "jax-js": () => Promise.resolve(runner([1, 2.1], 60, log, "c")),
    },
  };
  const yardstick = runner([], 20, log, "y");
  const row = await race({ name: "group", title: "Group" }, work, yardstick);
  const [own, second, third] = row.measured;
  assert.equal(own.milliseconds.length, 5);
  assert.ok(Math.abs(ratioTo(row, second) - 2) < 0.4, `${ratioTo(row, second)}`);
  assert.deepEqual([third.milliseconds.length, third.cannot], [0, "its result is off by 0.050"]);
  assert.equal(
    log.filter((entry) => entry.length === 1).join("").replace(/^a+/, ""),
    "yyabyabyabyabyab",
  );
  assert.equal(row.yardstick.length, 5);
  assert.equal(row.runs, 1);
  assert.deepEqual(log.slice(-3).toSorted(), ["a freed", "b freed", "c freed"]);
});

Deno.test("a plan's laps and runs are kept, however long a run takes", async () => {
  const asked: number[] = [];
  const own: Runner = {
    results: () => Promise.resolve([]),
    lap: (times) => Promise.resolve(void asked.push(times)),
    dispose() {},
  };
  const work = { name: "work", flops: 1, bytes: 1, ways: { "this library": () => Promise.resolve(own) } };
  const row = await race({ name: "group", title: "Group" }, work, runner([], 1, [], "y"), {
    laps: 4,
    runs: 7,
  });
  assert.deepEqual(asked.slice(-4), [7, 7, 7, 7]);
  assert.deepEqual([row.runs, row.yardstick.length, row.measured[0].milliseconds.length], [7, 4, 4]);
});

Deno.test("results of another size, or not finite, are other results", async () => {
  for (const values of [[1], [1, NaN]]) {
    const row = await race({ name: "group", title: "Group" }, {
      name: "work",
      flops: 1,
      bytes: 1,
      ways: {
        "this library": () => Promise.resolve(runner([1, 2], 600, [], "a")),
        "jax-js": () => Promise.resolve(runner(values, 1, [], "b")),
        "tfjs-webgpu": () => Promise.reject(new Error("no room")),
      },
    }, runner([], 1, [], "y"));
    assert.equal(row.measured[0].milliseconds.length, 3, "a slow work is run fewer times");
    assert.deepEqual(row.measured.slice(1).map(({ cannot }) => cannot), [
      "its result is off by Infinity",
      "fails: no room",
    ]);
  }
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
  const page = pageOf(rows, "Peers: two", environment).replaceAll(/ +/g, " ");
  assert.match(
    page,
    /\| NT \| 50\.0 \(40\.0–100\) \| 40\.0 \| 80 % \| 200 \| 4\.0× \| its result is off by 0\.75 \| – \|/,
  );
  // 1e7 bytes at 5 GB/s are 2 ms.
  assert.match(page, /\| norm \| 5\.00 \(4\.00–8\.00\) \| 0\.200 \| 40 % \|/);
  assert.match(page, /## The layer-norm/);
  assert.match(page, /Roofline: 50\.0 GFLOP\/s, the best product here, and 5\.0 GB\/s/);
});
