/** How every op is tested: GPU against the float64 interpreter, the interpreter's gradients against finite differences. */

import { Gpu, openGpu } from "../../lib/gpu/device.ts";
import type { Tensor } from "../../lib/graph/graph.ts";
import { detachedValues, interpret } from "../../lib/graph/interpret.ts";
import { plan } from "../../lib/graph/plan.ts";
import type { OpCase } from "../../tasks/conformance/op_cases.ts";
import { opErrors, traceCase, type Values } from "../../tasks/conformance/op_errors.ts";

let shared: Promise<Gpu> | undefined;

/** One device per test process: opening one costs more than most tests. Tests are of the usual kernels, on a GPU too. */
export function testGpu(): Promise<Gpu> {
  return shared ??= openGpu({ autotune: false });
}

let hardware: Promise<Gpu> | undefined;

/** The device of `testGpu` with the kernels that a GPU gets. */
export function hardwareGpu(): Promise<Gpu> {
  return hardware ??= testGpu().then((gpu) =>
    new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, subgroupSize: 0, software: false })
  );
}

/** True for the cases of attention, with a cache or without. */
export function isAttention({ family }: OpCase): boolean {
  return family === "attention" || family === "cachedAttention";
}

/** The texts of the kernels that compute `outputs` on a device. */
function kernelsOn({ traits }: Gpu, outputs: readonly Tensor[]): string {
  const { nodes, inPlace } = plan(outputs);
  return nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), traits))
    .map(({ kernel }) => kernel.code).join();
}

/**
 * Checks a case three ways: forward and every gradient on the GPU against the interpreter (to the case's tolerance), with
 * this device's kernels and, where they are others, with those of a GPU; and the interpreter's gradients against central
 * differences (to 1e-6).
 */
export async function checkOp(op: OpCase): Promise<void> {
  const traced = traceCase(op);
  const { loss, targets, outputs, values } = traced;
  const [own, other] = [await testGpu(), await hardwareGpu()];
  const devices = kernelsOn(own, outputs) === kernelsOn(other, outputs) ? [own] : [own, other];
  for (const device of devices) {
    for (const { tensor, error } of await opErrors(device, traced)) {
      const kind = device === own ? "this device's" : "a GPU's";
      if (error > op.tolerance) throw new Error(`${tensor}, ${kind} kernels: relative error ${error}`);
    }
  }
  const gradients = interpret(outputs.slice(1), values);
  targets.forEach((target, i) => checkByDifferences(loss, target, gradients[i], values));
}

/** Central differences of `loss` along up to 12 entries of `target`, against its gradient; `floor` as in `relativeError`. */
export function checkByDifferences(
  loss: Tensor,
  target: Tensor,
  gradient: Float64Array,
  values: Values,
  floor = 1e-30,
): void {
  const name = target.node.name;
  const base = values.get(name)!;
  const scale = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), floor);
  const stride = Math.max(1, Math.floor(base.length / 12));
  const held = detachedValues([loss], values);
  for (let i = 0; i < base.length; i += stride) {
    const at = (delta: number) => {
      const shifted = base.slice();
      shifted[i] += delta;
      return interpret([loss], new Map(values).set(name, shifted), held)[0][0];
    };
    // Fourth-order stencil: its error is far below the tolerance even where the function bends.
    const slopeBy = (h: number) => (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    let slope = slopeBy(1e-4);
    // A ReLU's corner inside the stencil has no slope; a stencil too small to hold it does.
    if (Math.abs(slope - gradient[i]) / scale > 1e-6) slope = slopeBy(1e-6);
    const error = Math.abs(slope - gradient[i]) / scale;
    if (error <= 1e-6) continue;
    throw new Error(`∂loss/∂${name}[${i}]: ${gradient[i]} against ${slope} by differences (${error})`);
  }
}
