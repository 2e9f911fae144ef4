/**
 * A fixed piece of work that is timed beside every lap. On a busy machine, a lap's time divided by the
 * yardstick's time says more about the code than the time alone. It does not use the library, so changes to
 * the library do not affect it.
 */

import type { Gpu } from "../lib/gpu/device.ts";
import code from "./yardstick.wgsl" with { type: "text" };
import { randomInput, type Runner } from "./work.ts";

const width = 256;
/** Dispatches per lap. They are fixed, so that laps from different runs of the bench can be compared. */
const dispatches = { software: 2, hardware: 1000 };

/** The yardstick on `gpu`'s device. */
export async function yardstickRunner(gpu: Gpu): Promise<Runner> {
  const { device } = gpu;
  const count = dispatches[gpu.adapter.software ? "software" : "hardware"];
  const pipeline = await device.createComputePipelineAsync({
    label: "yardstick",
    layout: "auto",
    compute: { module: device.createShaderModule({ label: "yardstick", code }) },
  });
  const bytes = width * width * 4;
  const [a, b, out] = ["a", "b", "out"].map((name) => gpu.createBuffer(`yardstick ${name}`, bytes));
  for (const [name, buffer] of Object.entries({ a, b })) {
    gpu.upload(buffer, randomInput(`yardstick ${name}`, [width, width]).data);
  }
  const bindings = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [a, b, out].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const submit = () => {
    const encoder = device.createCommandEncoder({ label: "yardstick" });
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindings);
    for (let i = 0; i < count; i++) pass.dispatchWorkgroups(width / 8, width / 8);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
  return {
    async results() {
      submit();
      return [new Float32Array(await gpu.read(out, bytes))];
    },
    async lap(times) {
      for (let i = 0; i < times; i++) submit();
      await gpu.read(out, 4);
    },
    dispose: () => [a, b, out].forEach((buffer) => gpu.destroyBuffer(buffer)),
  };
}
