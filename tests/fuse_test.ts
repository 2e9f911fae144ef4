/** Ops merged into one kernel: which are, and that the result is that of the two. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate } from "../lib/graph/ops/activation.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { matmul } from "../lib/graph/ops/matmul.ts";
import { plan } from "../lib/graph/plan.ts";
import { testGpu } from "./support/ops.ts";
import { fillSources, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly r: number;
  readonly blocks: number;
  /** NT as in y = x Wᵀ + s·V Bᵀ, or NN as in dx = G W + dU A. */
  readonly transposeB: boolean;
  readonly onto: "nothing" | "residual" | "residual in place";
}

/** The layer's product, and the sum. */
function trace(graph: Graph, { m, n, k, r, blocks, transposeB, onto }: Case): [base: Tensor, sum: Tensor] {
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
  const residual = weight("residual", m, n);
  const base = matmul(weight("x", m, k), transposeB ? weight("W", n, k) : weight("W", k, n), {
    transposeB,
    bias: weight("bias", n),
    ...onto === "nothing" ? {} : { residual: onto === "residual" ? residual : add(residual, residual) },
  });
  const sum = matmul(weight("v", m, blocks * r), transposeB ? weight("B", n, r) : weight("A", r, n), {
    transposeB,
    blocks,
    scale: 0.7,
    residual: base,
    splits: { a: "columns", b: transposeB ? "rows" : "columns", out: "columns" },
  });
  return [base, sum];
}

const opsOf = (outputs: readonly Tensor[]) => plan(outputs).nodes.map(({ op }) => op!.name);

const cases: readonly Case[] = [
  { m: 41, n: 96, k: 20, r: 8, blocks: 1, transposeB: true, onto: "nothing" },
  { m: 41, n: 96, k: 20, r: 8, blocks: 3, transposeB: true, onto: "residual" },
  { m: 33, n: 144, k: 12, r: 4, blocks: 9, transposeB: true, onto: "residual in place" },
  { m: 41, n: 96, k: 20, r: 16, blocks: 1, transposeB: false, onto: "residual in place" },
  { m: 41, n: 96, k: 1100, r: 8, blocks: 6, transposeB: false, onto: "residual" },
  // Operands of the base that are read one by one.
  { m: 35, n: 96, k: 7, r: 4, blocks: 2, transposeB: true, onto: "nothing" },
];

for (const entry of cases) {
  const { m, n, k, r, blocks, transposeB, onto } = entry;
  const name = `${m}×${n}×${k} ${transposeB ? "NT" : "NN"}, r ${r} in ${blocks} blocks, onto ${onto}`;
  Deno.test(`a product of low rank in another's epilogue: ${name}`, async () => {
    const gpu = await testGpu();
    const graph = new Graph();
    const [, sum] = trace(graph, entry);
    assert.deepEqual(opsOf([sum]).filter((op) => op !== "add"), ["adaptedProduct"]);
    const values: Values = new Map();
    fillSources(graph, values);
    const [expected] = interpret([sum], values);
    const [node] = plan([sum]).nodes.slice(-1);
    const workgroups = node.op!.variants!(node, { subgroupSize: 8 }).candidates.filter(({ name }) =>
      name.startsWith("workgroup")
    );
    // Compiling them takes long: only where a tile spans blocks.
    const choices = workgroups.slice(0, r === 8 && blocks > 1 ? 1 : 0).map(({ name }) =>
      new Map([[node.op!.variants!(node, { subgroupSize: 8 }).bucket, name]])
    );
    const devices = [
      gpu,
      new Gpu(gpu.device, gpu.device.adapterInfo),
      ...choices.map((choices) =>
        new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, software: false, choices })
      ),
    ];
    for (const device of devices) {
      const [actual] = await runOnGpu(device, [sum], values);
      assert.ok(relativeError(actual, expected) < 1e-5);
    }
  });
}

Deno.test("products stay apart where the first one is read elsewhere, or the second is none of low rank in equal blocks", () => {
  const usual: Case = cases[0];
  const traced = (entry: Case) => trace(new Graph(), entry);
  const [base, sum] = traced(usual);
  assert.deepEqual(opsOf([sum, base]), ["matmul", "matmul"], "the base is an output");
  const [shared, other] = traced(usual);
  assert.deepEqual(opsOf([add(other, shared)]), ["matmul", "matmul", "add"], "the base has another reader");
  for (const change of [{ r: 6 }, { r: 32 }, { blocks: 4 }, { m: 31 }, { n: 16 }]) {
    const [, apart] = traced({ ...usual, ...change });
    assert.deepEqual(opsOf([apart]), ["matmul", "matmul"], JSON.stringify(change));
  }
});

for (const [m, n, k] of [[41, 96, 20], [5, 7, 3]]) {
  for (const keepsProduct of [true, false]) {
    const name = `${m}×${n}×${k}, the product ${keepsProduct ? "read elsewhere" : "not kept"}`;
    Deno.test(`GELU of a product in its kernel: ${name}`, async () => {
      const graph = new Graph();
      const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
      const z = matmul(weight("x", m, k), weight("W", n, k), { transposeB: true, bias: weight("bias", n) });
      const y = activate("gelu", z);
      const outputs = keepsProduct ? [add(y, z), z] : [y];
      assert.deepEqual(opsOf(outputs), ["productGelu", ...keepsProduct ? ["add"] : []]);
      const values: Values = new Map();
      fillSources(graph, values);
      const expected = interpret(outputs, values);
      const gpu = await testGpu();
      for (const device of [gpu, new Gpu(gpu.device, gpu.device.adapterInfo)]) {
        const actual = await runOnGpu(device, outputs, values);
        outputs.forEach((_, i) => assert.ok(relativeError(actual[i], expected[i]) < 1e-5));
      }
    });
  }
}

Deno.test("GELU stays apart of a product with an activation or a residual of its own, and of no product", () => {
  const graph = new Graph();
  const [x, W, residual] = [[4, 8], [12, 8], [4, 12]].map((shape, i) => graph.weight(`${i}`, shape, false));
  for (const options of [{ activation: "tanh" }, { residual }] as const) {
    const z = matmul(x, W, { transposeB: true, ...options });
    assert.deepEqual(opsOf([activate("gelu", z)]), ["matmul", "activation"]);
  }
  assert.deepEqual(opsOf([activate("gelu", add(x, x))]), ["add", "activation"]);
  assert.deepEqual(opsOf([activate("relu", matmul(x, W, { transposeB: true }))]), ["matmul", "activation"]);
});
