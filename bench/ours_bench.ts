/**
 * `deno bench --allow-all bench/`: this library alone, in Deno's own harness. `deno task bench` races the
 * peers.
 */

import "../tasks/vulkan_only.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { groups } from "./groups.ts";
import { own } from "./work.ts";

/** Runs per wait for the GPU. */
const runs = 10;
const gpu = await openGpu();

for (const { name: group, works } of groups) {
  for (const { name, ways } of await works(gpu)) {
    const way = ways[own]!;
    Deno.bench({
      name: `${group}: ${name}, ${runs} runs`,
      n: 5,
      warmup: 1,
      async fn(bench) {
        const runner = await way();
        await runner.lap(1);
        bench.start();
        await runner.lap(runs);
        bench.end();
        runner.dispose();
      },
    });
  }
}
