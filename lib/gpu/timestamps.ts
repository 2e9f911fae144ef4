/**
 * A device's timestamps, and how long their ticks are. WebGPU's are in nanoseconds, but wgpu outside of browsers, so Deno,
 * hands out the GPU's own ticks and not their length (gfx-rs/wgpu issue 6719): 10 ns on AMD's GPUs, 52 or 83 on Intel's.
 */

import type { Gpu } from "./device.ts";
import { encodePass, type Pass, passesInSubmits } from "./passes.ts";

/** The timestamps of passes that were submitted and done at these milliseconds of the clock. */
export interface Stamps {
  readonly submitted: number;
  readonly done: number;
  /** Two a pass, at its beginning and at its end, in ticks. */
  readonly ticks: BigUint64Array;
}

/** Runs the passes in order, 2048 at most: WebGPU's limit is 4096 timestamps. */
export async function stampsOf(gpu: Gpu, label: string, passes: readonly Pass[]): Promise<Stamps> {
  const queries = gpu.device.createQuerySet({ label, type: "timestamp", count: passes.length * 2 });
  const bytes = passes.length * 16;
  const resolved = gpu.createBuffer(
    `${label} timestamps`,
    bytes,
    GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  );
  let stamp = 0;
  const commands = passesInSubmits(passes).map((some) => {
    const encoder = gpu.device.createCommandEncoder({ label });
    for (const { label, dispatches } of some) {
      const timestampWrites = {
        querySet: queries,
        beginningOfPassWriteIndex: stamp++,
        endOfPassWriteIndex: stamp++,
      };
      encodePass(encoder.beginComputePass({ label, timestampWrites }), dispatches);
    }
    return encoder.finish();
  });
  const encoder = gpu.device.createCommandEncoder({ label });
  encoder.resolveQuerySet(queries, 0, stamp, resolved, 0);
  const submitted = performance.now();
  for (const own of [...commands, encoder.finish()]) gpu.device.queue.submit([own]);
  const ticks = new BigUint64Array(await gpu.read(resolved, bytes));
  const done = performance.now();
  queries.destroy();
  gpu.destroyBuffer(resolved);
  return { submitted, done, ticks };
}

/** Milliseconds for which a device's ticks are counted. */
const counted = 250;

const known = new WeakMap<Gpu, Promise<number | undefined>>();

/**
 * Nanoseconds of a tick of the device's timestamps, by the clock; undefined if it has none, or they do not go on. A Gpu is
 * asked once, which takes a quarter of a second.
 */
export async function nanosecondsPerTick(gpu: Gpu): Promise<number | undefined> {
  if (!gpu.device.features.has("timestamp-query")) return undefined;
  const asked = known.get(gpu) ?? countTicks(gpu);
  known.set(gpu, asked);
  return await asked;
}

async function countTicks(gpu: Gpu): Promise<number | undefined> {
  const module = gpu.device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() {}" });
  const pipeline = gpu.device.createComputePipeline({ layout: "auto", compute: { module } });
  const group = gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [] });
  const passes = [{
    label: "tick",
    dispatches: [{ label: "tick", pipeline, group, grid: [1, 1, 1] as const }],
  }];
  const stamp = () => stampsOf(gpu, "tick", passes);
  // The first run makes what the others have.
  await stamp();
  const stamps = [await stamp()];
  const since = ({ submitted }: Stamps) => submitted - stamps[0].submitted;
  // The GPU is kept awake: it is slow to answer after a rest.
  while (since(stamps.at(-1)!) < counted) stamps.push(await stamp());
  return tickBetween(
    quickest(stamps.filter((own) => since(own) < counted / 4)),
    quickest(stamps.filter((own) => since(own) > counted * 3 / 4)),
  );
}

/** Of stamps the one whose time is known best: a busy machine interrupts others. */
function quickest(stamps: readonly Stamps[]): Stamps {
  return stamps.reduce((best, own) => own.done - own.submitted < best.done - best.submitted ? own : best);
}

/**
 * Nanoseconds of a tick from what was stamped at two times: 1 if that can be, since a stamp is taken between the submit and
 * the end of the wait; else by the time between the submits.
 */
export function tickBetween(first: Stamps, last: Stamps): number | undefined {
  const ticks = Number(last.ticks[0] - first.ticks[0]) / 1e6;
  if (ticks <= 0) return undefined;
  const [least, most] = [last.submitted - first.done, last.done - first.submitted];
  return ticks >= least && ticks <= most ? 1 : (last.submitted - first.submitted) / ticks;
}
