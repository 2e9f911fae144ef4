/**
 * The launches of large models' programs, as a GPU gets them, keep to the limits of every device: what they are is known without
 * a GPU and without weights. The sizes of their tensors are left out: what is too large to be bound is refused when it is made.
 */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { methodByName } from "../lib/adapters/registry.ts";
import { type ReadingKind, traceReading } from "../lib/generate/reading.ts";
import { type DeviceTraits, maxGroups, needsOf } from "../lib/gpu/kernel.ts";
import { grad } from "../lib/graph/grad.ts";
import { bytesOf, type Dispatch, graphOf, type Tensor } from "../lib/graph/graph.ts";
import { plan } from "../lib/graph/plan.ts";
import type { WritablePacking } from "../lib/graph/storages/registry.ts";
import { publishedDecoder } from "../lib/models/published_configs.ts";
import { unloadedDecoder } from "../lib/models/unloaded_decoder.ts";
import { language } from "../lib/objectives/language.ts";
import { traceStep } from "../lib/run/step.ts";
import { defaultLimits } from "../tasks/conformance/default_limits.ts";

/** NVIDIA's or Apple's lanes, lanes that vary as Intel's do, and few of them as Mali's. */
const devices: readonly DeviceTraits[] = [
  { subgroupSize: 32, software: false, f16: true },
  { subgroupSize: 0, software: false },
  { subgroupSize: 16, software: false, f16: true, halfOperands: true },
];

const models = ["llama-3-8b", "gemma-7b", "qwen2.5-14b"];

/** One layer with its tables. */
function decoder(id: string, maxTokens: number, packing: WritablePacking) {
  return unloadedDecoder(id, { ...publishedDecoder(id)!, layers: 1 }, { maxTokens, packing });
}

/** A training step's loss and gradients. */
function step(id: string, method: string, examples: number, length: number): Tensor[] {
  const model = decoder(id, length, "int4");
  const own = methodByName(method);
  const options = Object.entries({ r: 8, alpha: 16, blocks: 64, dropout: 0.05 })
    .filter(([name]) => name in own.defaults);
  const adapter = attach(model, own, { ...Object.fromEntries(options), target: "all-linear" });
  const size = { examples, length, rows: 256 };
  const { graph, losses, loss } = traceStep(
    model,
    adapter,
    language.of(model, { texts: 1, classes: 0 }),
    size,
    true,
  );
  const trained = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);
  return [loss, ...grad(losses, trained)];
}

function reading(id: string, kind: ReadingKind, texts: number, length: number, capacity: number): Tensor[] {
  const model = decoder(id, capacity, "int8");
  const bare = attach(model, headOnly, { target: "all-linear" });
  return traceReading(model, bare, { kind, length, texts, capacity, cache: "f16" });
}

/** Bytes of an element of each buffer that a kernel binds, by its name. */
function elementsOf(code: string): Map<string, number> {
  const bytes: Readonly<Record<string, number>> = {
    f32: 4,
    u32: 4,
    vec2f: 8,
    vec2u: 8,
    vec4f: 16,
    vec4u: 16,
  };
  const aliases = new Map([...code.matchAll(/alias (\w+) = (\w+);/g)].map(([, name, type]) => [name, type]));
  return new Map(
    [...code.matchAll(/var<storage, \w+> (\w+): array<(\w+)>/g)]
      .map(([, name, type]) => [name, bytes[aliases.get(type) ?? type]]),
  );
}

/** Asserts that any device can run a launch: as many workgroups, so much memory, whole parameters and whole elements. */
function check({ kernel, grid, params, bindings }: Dispatch, what: string): void {
  const isCount = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value <= most;
  assert.ok(grid.every((extent) => extent > 0 && isCount(extent, maxGroups)), `${what}: ${grid}`);
  for (const [limit, need] of Object.entries(needsOf(kernel))) {
    const most = defaultLimits[limit as keyof typeof defaultLimits];
    assert.ok(need <= most, `${what}: ${limit} ${need}`);
  }
  for (const { name, type } of kernel.params) {
    const fits = type === "u32" ? isCount(params[name], 2 ** 32 - 1) : Number.isFinite(params[name]);
    assert.ok(fits, `${what}: ${name} ${params[name]}`);
  }
  const elements = elementsOf(kernel.code);
  for (const [name, tensor] of Object.entries(bindings)) {
    assert.equal(bytesOf(tensor) % elements.get(name)!, 0, `${what}: ${name} [${tensor.shape}]`);
  }
}

/** Checks each launch of a program on each device, and returns how many there are. */
function checkAll(name: string, outputs: readonly Tensor[]): number {
  const { updates } = graphOf(name, outputs);
  return devices.flatMap((device) => {
    const { nodes, inPlace } = plan([...outputs, ...updates.values()], { updates, device });
    const launches = nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), device));
    for (const launch of launches) {
      check(launch, `${name}, ${device.subgroupSize} lanes: ${launch.kernel.label}`);
    }
    return launches;
  }).length;
}

for (const id of models) {
  Deno.test(`${id}: the launches of steps and readings keep to every device's limits`, () => {
    let launches = 0;
    for (const method of ["LoRA", "BoRA", "HydraLoRA", "VeRA"]) {
      for (const [examples, length] of [[1, 8], [16, 4096], [4, 8192]]) {
        launches += checkAll(`${method} ${examples}×${length}`, step(id, method, examples, length));
      }
    }
    for (const texts of [1, 16]) {
      launches += checkAll(`prefill of ${texts}`, reading(id, "start", texts, 4096, 8192));
      launches += checkAll(`a token of ${texts}`, reading(id, "next", texts, 1, 8192));
      launches += checkAll(`${texts} judged`, reading(id, "judge", texts, 8, 8192));
    }
    assert.ok(launches > 1000, `${launches}`);
  });
}
