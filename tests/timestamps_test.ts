/** How long a tick of the device's timestamps is, and that times are in milliseconds whatever it is. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { Profile } from "../lib/gpu/profiler.ts";
import { nanosecondsPerTick, tickBetween } from "../lib/gpu/timestamps.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph } from "../lib/graph/graph.ts";
import { matmul } from "../lib/graph/ops/product/product.ts";
import { testGpu } from "./support/ops.ts";

/** Stamps of a GPU of so many nanoseconds a tick: taken `late` ms after the submit, of which the clock hears 10 ms after that. */
function stampsAt(milliseconds: number, nanoseconds: number, late = 0.1) {
  const ticks = BigUint64Array.of(BigInt(Math.round((milliseconds + late) * 1e6 / nanoseconds)));
  return { submitted: milliseconds, done: milliseconds + late + 10, ticks };
}

Deno.test("a tick's length: by the clock, and 1 where that can be", () => {
  for (const nanoseconds of [10, 1e9 / 27e6, 1e9 / 19.2e6, 1e9 / 12e6]) {
    const tick = tickBetween(stampsAt(70, nanoseconds), stampsAt(320, nanoseconds, 0.2))!;
    assert.ok(Math.abs(tick / nanoseconds - 1) < 1e-3, `${tick} for ${nanoseconds}`);
  }
  // A machine that is busy hears late of it.
  assert.equal(tickBetween(stampsAt(70, 1), stampsAt(320, 1, 40)), 1);
  assert.equal(tickBetween(stampsAt(70, 1, 40), stampsAt(320, 1)), 1);
  assert.equal(tickBetween(stampsAt(70, 1e12), stampsAt(320, 1e12)), undefined);
});

/** The test's GPU as Deno shows one whose ticks are so many nanoseconds long. */
class CoarseGpu extends Gpu {
  constructor({ device, traits }: Gpu, private readonly nanoseconds: number) {
    super(device, device.adapterInfo, traits);
  }

  override async read(buffer: GPUBuffer, bytes: number, offset = 0): Promise<ArrayBuffer> {
    const read = await super.read(buffer, bytes, offset);
    if (!buffer.label.endsWith(" timestamps")) return read;
    return new BigUint64Array(read).map((stamp) => stamp / BigInt(this.nanoseconds)).buffer;
  }
}

/** The milliseconds of a product, the least of twenty profiles, and the clock that told them. */
async function profiled(gpu: Gpu) {
  const graph = new Graph();
  const y = matmul(graph.input("a", [256, 256]), graph.input("b", [256, 256]));
  using compiled = await compile(gpu, [y], { label: "product", weights: () => ({}) as never });
  const times: number[] = [];
  let clock = "";
  for (let run = 0; run < 20; run++) {
    const profile = new Profile();
    await compiled.program.profile(profile);
    clock = profile.clock;
    assert.equal(profile.timings.length, 1);
    times.push(profile.timings[0].milliseconds);
  }
  return { milliseconds: Math.min(...times), clock };
}

Deno.test("a profile is in milliseconds, on a GPU of 1 ns a tick and of 40", async () => {
  const gpu = await testGpu();
  const coarse = new CoarseGpu(gpu, 40);
  assert.equal(await nanosecondsPerTick(gpu), 1);
  assert.ok(Math.abs(await nanosecondsPerTick(coarse) as number / 40 - 1) < 0.05);
  const [own, other] = [await profiled(gpu), await profiled(coarse)];
  assert.deepEqual([own.clock, other.clock], ["timestamps", "timestamps"]);
  assert.ok(own.milliseconds > 0);
  const ratio = other.milliseconds / own.milliseconds;
  assert.ok(ratio > 0.2 && ratio < 5, `${other.milliseconds} ms against ${own.milliseconds}`);
});

Deno.test("timestamps that stand still are not used", async () => {
  const still = new CoarseGpu(await testGpu(), 1e18);
  assert.equal(await nanosecondsPerTick(still), undefined);
  const { milliseconds, clock } = await profiled(still);
  assert.equal(clock, "wall");
  assert.ok(milliseconds > 0);
});
