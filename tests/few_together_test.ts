/** A token or a few through weights that read the same rows, in one launch: the bits of each product alone. */

import assert from "node:assert/strict";
import type { Gpu } from "../lib/gpu/device.ts";
import { needsOf } from "../lib/gpu/kernel.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { type GateActivation, gatedUnit } from "../lib/graph/ops/gated_unit.ts";
import { linear } from "../lib/graph/ops/product/product.ts";
import { plan } from "../lib/graph/plan.ts";
import { packedStorage, type Packing, storedPackings } from "../lib/graph/storages/registry.ts";
import { unpack } from "../lib/models/packing.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { randomValues, relativeError, type Values } from "../tasks/conformance/op_errors.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";
import { randomPacked, randomWeight } from "./support/packed_weights.ts";

interface Shape {
  readonly m: number;
  readonly k: number;
  /** Columns of each product. */
  readonly columns: readonly number[];
  readonly bias: boolean;
  /** The gated unit of two products. */
  readonly gated?: GateActivation;
}

const shapes: readonly Shape[] = [
  { m: 1, k: 512, columns: [36, 20, 100], bias: false },
  { m: 2, k: 256, columns: [68, 20], bias: true },
  { m: 3, k: 768, columns: [20, 64, 132], bias: false },
  { m: 1, k: 256, columns: [84, 84], bias: false, gated: "silu" },
  { m: 2, k: 512, columns: [260, 260], bias: true, gated: "tanh gelu" },
  { m: 7, k: 256, columns: [36, 36], bias: false, gated: "silu" },
];

/** Has half the teams, so that both products' sums have room. Compiling it takes long: one storage is enough. */
const halfTeams: Shape = { m: 8, k: 128, columns: [516, 516], bias: false, gated: "silu" };

/** A traced case: what is computed, and every source's values. */
function traced(packing: Packing | "f32", { m, k, columns, bias, gated }: Shape) {
  const graph = new Graph();
  const values: Values = new Map();
  const stored = new Map<string, { readonly data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> }>();
  for (const [p, n] of columns.entries()) {
    const packed = packing === "f32" ? undefined : randomPacked([n, k], packing);
    const weight = packed ? unpack(packed) : randomWeight([n, k]);
    stored.set(`W${p}`, packed ? { data: packed.words } : weight);
    values.set(`W${p}`, Float64Array.from(weight.data));
  }
  const input = (name: string, shape: readonly number[]) => {
    values.set(name, randomValues(name, shape.reduce((product, extent) => product * extent, 1)));
    return graph.input(name, shape);
  };
  const x = input("x", [m, k]);
  const products = columns.map((n, p) =>
    linear(x, graph.weight(`W${p}`, [n, k], false, packing), bias ? { bias: input(`bias${p}`, [n]) } : {})
  );
  const outputs = gated ? [gatedUnit(gated, products[0], products[1])] : products;
  return { outputs, stored, values };
}

type Traced = ReturnType<typeof traced>;

async function runOn(gpu: Gpu, { outputs, stored, values }: Traced, noReuse: boolean) {
  using frozen = new FrozenWeights(gpu, stored);
  using compiled = await compile(gpu, outputs, {
    label: "few",
    weights: (name) => frozen.view(name)!,
    noReuse,
  });
  compiled.upload(Object.fromEntries([...values].map(([name, own]) => [name, Float32Array.from(own)])));
  compiled.run();
  const results = [];
  for (const output of outputs) results.push(await compiled.read(output));
  return { results, launches: compiled.program.dispatches };
}

/** Storages whose scales are not in a buffer of their own. */
const storages = (["f32", ...storedPackings] as const).filter((name) =>
  name === "f32" || packedStorage(name).scaleEvery === undefined
);

/**
 * The shapes that a storage is tested at. Compiling takes long: a packed one has every other shape, products and gated units among
 * them, and the next storage has the others.
 */
function shapesOf(packing: Packing | "f32"): readonly Shape[] {
  if (packing === "f32") return [...shapes, halfTeams];
  return shapes.filter((_, i) => (i + storages.indexOf(packing)) % 2 === 0);
}

for (const packing of storages) {
  Deno.test(`products of a few rows by ${packing} that share them are one launch, to the bits of each alone`, async () => {
    const gpu = await testGpu();
    const hardware = await hardwareGpu();
    for (const shape of shapesOf(packing)) {
      const one = traced(packing, shape);
      const expected = interpret(one.outputs, one.values);
      for (const device of [gpu, hardware]) {
        const [apart, together] = [await runOn(device, one, true), await runOn(device, one, false)];
        const name = `${JSON.stringify(shape)} on ${device === hardware ? "a GPU" : "software"}`;
        assert.deepEqual(together.results, apart.results, name);
        together.results.forEach((own, i) => assert.ok(relativeError(own, expected[i]) < 2e-5, name));
        // Software drivers do so for a token or two by packed rows.
        if (device === hardware || (packing.startsWith("q") && shape.m <= 2)) {
          assert.equal(together.launches, 1 + Number(shape.columns.length === 3 && shape.bias));
        }
      }
    }
  });
}

Deno.test("a gated unit's kernel keeps to the workgroup memory that every device has, whatever its tile", () => {
  const tiles = new Set<string>();
  for (const m of [1, 3, 4, 7, 8, 12, 16]) {
    for (const n of [512, 4096, 14336]) {
      for (const k of [8, 16, 32, 64, 128, 4096]) {
        const graph = new Graph();
        const x = graph.input("x", [m, k]);
        const [gate, up] = ["gate", "up"].map((name) => linear(x, graph.weight(name, [n, k], false)));
        for (const { op, ...node } of plan([gatedUnit("silu", gate, up)]).nodes) {
          const [{ kernel, grid }] = op!.dispatches({ op, ...node }, false, { subgroupSize: 32 });
          const needs = needsOf(kernel);
          assert.ok(needs.maxComputeWorkgroupStorageSize <= 16384, `${kernel.label} of ${m}×${n}×${k}`);
          const [, columns, lanes, teams] = kernel.label.match(/TILE_N=(\d+) LANES=(\d+) TEAMS=(\d+)/)!.map(
            Number,
          );
          assert.ok(grid[0] * teams * columns >= n && (grid[0] - 1) * teams * columns < n, kernel.label);
          tiles.add(`${lanes}, ${teams}`);
        }
      }
    }
  }
  assert.ok(tiles.has("2, 64") && tiles.has("2, 32"), [...tiles].join("; "));
});

Deno.test("products of a few rows are not joined where they differ, or others read what a gated unit does", () => {
  const graph = new Graph();
  const opsOf = (outputs: readonly Tensor[]) => plan(outputs).nodes.map(({ op }) => op!.name);
  const weight = (name: string, n: number, dtype: "f32" | "f16" = "f32") =>
    graph.weight(name, [n, 64], false, dtype);
  const [x, other] = ["x", "other"].map((name) => graph.input(name, [2, 64]));
  const own = linear(x, weight("own", 32));
  const apart: [string, Tensor][] = [
    ["another x", linear(other, weight("another x", 32))],
    ["another storage", linear(x, weight("half", 32, "f16"))],
    ["a bias", linear(x, weight("with bias", 32), { bias: graph.input("bias", [32]) })],
    ["a scale", linear(x, weight("scaled", 32), { scale: 2 })],
    ["a residual", linear(x, weight("onto", 32), { residual: graph.input("residual", [2, 32]) })],
    ["as few columns as an adapter's rank", linear(x, weight("narrow", 16))],
  ];
  for (const [what, out] of apart) assert.deepEqual(opsOf([own, out]), ["product", "product"], what);
  const up = linear(x, weight("up", 32));
  assert.deepEqual(opsOf([own, up]), ["fewTogether"]);
  const unit = gatedUnit("silu", own, up);
  assert.deepEqual(opsOf([unit]), ["fewTogether"]);
  assert.deepEqual(opsOf([unit, up]), ["fewTogether", "gatedUnit"]);
  assert.deepEqual(opsOf([unit, add(own, own)]), ["fewTogether", "gatedUnit", "add"]);
  assert.deepEqual(opsOf([gatedUnit("silu", own, own)]), ["product", "gatedUnit"]);
});
