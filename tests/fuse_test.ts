/** Ops merged into one kernel: which ones are merged, and that the result is the same as without merging. */

import assert from "node:assert/strict";
import { expand, project } from "../lib/adapters/block_products.ts";
import { mixedProjection, paperSigma } from "../lib/adapters/bora.ts";
import { Gpu } from "../lib/gpu/device.ts";
import type { DeviceTraits } from "../lib/gpu/kernel.ts";
import { compile } from "../lib/graph/compile.ts";
import { grad, separateGradients } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate, type Activation, activationGradient } from "../lib/graph/ops/activation.ts";
import { add, multiply } from "../lib/graph/ops/binary.ts";
import { matmul } from "../lib/graph/ops/product/product.ts";
import { sumOfSquares } from "../lib/graph/ops/sum_of_squares.ts";
import { plan } from "../lib/graph/plan.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import {
  fillSources,
  relativeError,
  runOnGpu,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { hardwareGpu, testGpu } from "./support/ops.ts";

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
  // Operands of the base that cannot be read as vec4.
  { m: 35, n: 96, k: 7, r: 4, blocks: 2, transposeB: true, onto: "nothing" },
];

for (const entry of cases) {
  const { m, n, k, r, blocks, transposeB, onto } = entry;
  const name = `${m}×${n}×${k} ${transposeB ? "NT" : "NN"}, r ${r} in ${blocks} blocks, onto ${onto}`;
  Deno.test(`a product of low rank in another's epilogue: ${name}`, async () => {
    const gpu = await testGpu();
    const graph = new Graph();
    const [, sum] = trace(graph, entry);
    assert.deepEqual(opsOf([sum]).filter((op) => op !== "add"), ["product"]);
    const values: Values = new Map();
    fillSources(graph, values);
    const [expected] = interpret([sum], values);
    const [node] = plan([sum]).nodes.slice(-1);
    const workgroups = node.op!.variants!(node, { subgroupSize: 8 }).candidates.filter(({ name }) =>
      name.startsWith("workgroup")
    );
    // These take long to compile: only where a tile spans blocks.
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

Deno.test("products are not merged where the first is read elsewhere, or the second is not of low rank in equal blocks", () => {
  const usual: Case = cases[0];
  const traced = (entry: Case) => trace(new Graph(), entry);
  const [base, sum] = traced(usual);
  assert.deepEqual(opsOf([sum, base]), ["product", "product"], "the base is an output");
  const [shared, other] = traced(usual);
  assert.deepEqual(opsOf([add(other, shared)]), ["product", "product", "add"], "the base has another reader");
  for (const change of [{ r: 6 }, { r: 32 }, { blocks: 4 }, { m: 31 }, { n: 16 }]) {
    const [, apart] = traced({ ...usual, ...change });
    assert.deepEqual(opsOf([apart]), ["product", "product"], JSON.stringify(change));
  }
});

for (const [m, n, k] of [[41, 96, 20], [41, 12, 20], [5, 7, 3]]) {
  for (const keepsProduct of [true, false]) {
    const name = `${m}×${n}×${k}, the product ${keepsProduct ? "read elsewhere" : "not kept"}`;
    Deno.test(`GELU of a product in its kernel: ${name}`, async () => {
      const graph = new Graph();
      const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
      const z = matmul(weight("x", m, k), weight("W", n, k), { transposeB: true, bias: weight("bias", n) });
      const y = activate("gelu", z);
      const outputs = keepsProduct ? [add(y, z), z] : [y];
      assert.deepEqual(opsOf(outputs), ["product", ...keepsProduct ? ["add"] : []]);
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

Deno.test("GELU is not merged with a product that has its own activation or residual, nor with another op", () => {
  const graph = new Graph();
  const [x, W, residual] = [[4, 8], [12, 8], [4, 12]].map((shape, i) => graph.weight(`${i}`, shape, false));
  for (const options of [{ activation: "tanh" }, { residual }] as const) {
    const z = matmul(x, W, { transposeB: true, ...options });
    assert.deepEqual(opsOf([activate("gelu", z)]), ["product", "activation"]);
  }
  assert.deepEqual(opsOf([activate("gelu", add(x, x))]), ["add", "activation"]);
  assert.deepEqual(opsOf([activate("relu", matmul(x, W, { transposeB: true }))]), ["product", "activation"]);
});

/** G·W ⊙ f′(value): the gradient of a layer, passed back through the activation below it. */
function throughActivation(of: Activation, [m, n, k]: readonly number[], inPanels = false): [Tensor, Tensor] {
  const graph = new Graph();
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
  const W = graph.weight("W", [k, n], false, inPanels ? "f32 in panels" : "f32");
  const product = matmul(weight("G", m, k), W, { scale: 0.7 });
  return [product, activationGradient(of, weight("value", m, n), product)];
}

for (const activation of ["relu", "tanh", "gelu"] as const) {
  for (
    const [[m, n, k], inPanels] of [
      [[41, 96, 20], false],
      [[41, 12, 20], false],
      [[5, 7, 3], false],
      [[37, 128, 900], true],
    ] as const
  ) {
    const name = `${activation}, ${m}×${n}×${k}${inPanels ? ", in panels" : ""}`;
    Deno.test(`a product times an activation's derivative, in its kernel: ${name}`, async () => {
      const [, dz] = throughActivation(activation, [m, n, k], inPanels);
      assert.deepEqual(opsOf([dz]), ["product"]);
      const values: Values = new Map();
      fillSources(dz.node.graph, values);
      const [expected] = interpret([dz], values);
      const gpu = await testGpu();
      const { bucket, candidates } = plan([dz]).nodes[0].op!.variants!(plan([dz]).nodes[0], {
        subgroupSize: 8,
      });
      // Compiling it takes long: only once.
      const workgroup = candidates.find(({ name }) =>
        activation === "gelu" && n === 96 && name.startsWith("workgroup")
      );
      const choices = new Map(workgroup ? [[bucket, workgroup.name]] : []);
      for (
        const device of [
          gpu,
          new Gpu(gpu.device, gpu.device.adapterInfo),
          ...workgroup
            ? [new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, software: false, choices })]
            : [],
        ]
      ) {
        const [actual] = await runOnGpu(device, [dz], values);
        assert.ok(relativeError(actual, expected) < 1e-5);
      }
    });
  }
}

Deno.test("a product is not merged with an activation's derivative where something else reads it, or its k is split", () => {
  const [product, dz] = throughActivation("gelu", [4, 8, 12]);
  assert.deepEqual(opsOf([dz, product]), ["product", "activationGradient"]);
  const [read, other] = throughActivation("gelu", [4, 8, 12]);
  assert.deepEqual(opsOf([add(other, read)]), ["product", "activationGradient", "add"]);
  const [, long] = throughActivation("gelu", [4, 8, 1100]);
  assert.deepEqual(opsOf([long]), ["product", "activationGradient"]);
  const [asValue] = throughActivation("gelu", [4, 8, 12]);
  assert.deepEqual(opsOf([activationGradient("gelu", asValue, add(asValue, asValue))]), [
    "product",
    "add",
    "activationGradient",
  ]);
});

interface Adapted {
  readonly method: "LoRA" | "BoRA";
  readonly tokens: number;
  readonly width: number;
  readonly r: number;
  readonly blocks: number;
  readonly modules: number;
  /** Number of shared products in the step: U, and dA if the rank can be read as vec4. */
  readonly shared: number;
}

/** The element-wise product of the modules' products, and the gradients of everything that feeds them. */
function adaptedModules(graph: Graph, { method, tokens, width, r, blocks, modules }: Adapted): Tensor[] {
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, true);
  const own = weight("x", tokens, width);
  const x = multiply(own, own);
  const outputs = Array.from({ length: modules }, (_, p) => {
    const [A, B] = [weight(`A${p}`, r, width), weight(`B${p}`, width, r)];
    const v = method === "LoRA"
      ? project(x, A, 1)
      : mixedProjection(x, A, weight(`sigma${p}`, blocks, blocks, r), paperSigma);
    return expand(v, B, blocks, 0.7, matmul(x, weight(`W${p}`, width, width), { transposeB: true }));
  });
  const loss = scalarOf(graph, outputs.reduce((product, output) => multiply(product, output)));
  const targets = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);
  return [loss, ...grad([loss], targets)];
}

/** Kernel launches of a step with fused nodes and without. */
function launches(outputs: readonly Tensor[], { traits }: Gpu, noReuse: boolean): number {
  const { nodes, inPlace } = plan(outputs, { noReuse });
  return nodes.flatMap((node) => node.op!.dispatches(node, inPlace.has(node), traits)).length;
}

const layers: readonly Adapted[] = [
  { method: "LoRA", tokens: 41, width: 96, r: 8, blocks: 1, modules: 2, shared: 2 },
  { method: "LoRA", tokens: 18, width: 20, r: 6, blocks: 1, modules: 3, shared: 1 },
  { method: "BoRA", tokens: 35, width: 72, r: 4, blocks: 6, modules: 2, shared: 2 },
  { method: "BoRA", tokens: 44, width: 120, r: 12, blocks: 3, modules: 3, shared: 2 },
];

for (const layer of layers) {
  const { method, tokens, width, r, blocks, modules, shared } = layer;
  const name = `${method} on ${modules} modules, ${tokens}×${width}, r ${r} in ${blocks} blocks`;
  Deno.test(`a layer's modules read x once: ${name}`, async () => {
    const gpu = await testGpu();
    const graph = new Graph();
    const outputs = adaptedModules(graph, layer);
    assert.equal(opsOf(outputs).filter((op) => op === "sharedProducts").length, shared);
    const others = plan(outputs).nodes.filter(({ attrs }) => attrs?.epilogue?.lowRank).length;
    const fewer = shared * (modules - 1) + others;
    assert.equal(launches(outputs, gpu, false), launches(outputs, gpu, true) - fewer);
    const values: Values = new Map();
    fillSources(graph, values);
    const expected = interpret(outputs, values);
    const apart = await runOnGpu(gpu, outputs, values, true);
    for (const device of [gpu, new Gpu(gpu.device, gpu.device.adapterInfo)]) {
      const actual = await runOnGpu(device, outputs, values);
      outputs.forEach((_, i) => {
        assert.ok(relativeError(actual[i], expected[i]) < 2e-5, `output ${i} against float64`);
        assert.ok(relativeError(actual[i], apart[i]) < 2e-5, `output ${i} against the products apart`);
      });
    }
  });
}

interface Shared {
  readonly form: "U" | "dA";
  readonly tokens: number;
  readonly width: number;
  readonly r: number;
  readonly blocks: number;
  readonly modules: number;
}

const columns = { a: "columns", b: "columns", out: "columns" } as const;

/** U_p = x A_pᵀ, or dA_p = dU_pᵀ x. */
function smallProducts(graph: Graph, { form, tokens, width, r, blocks, modules }: Shared): Tensor[] {
  const x = graph.weight("x", [tokens, width], false);
  return Array.from({ length: modules }, (_, p) => {
    if (form === "U") return project(x, graph.weight(`A${p}`, [r, width], false), blocks);
    const dU = graph.weight(`dU${p}`, [tokens, blocks * r], false);
    return matmul(dU, x, { transposeA: true, blocks, splits: columns });
  });
}

const shared: readonly Shared[] = [
  { form: "U", tokens: 77, width: 96, r: 8, blocks: 1, modules: 2 },
  { form: "U", tokens: 5, width: 60, r: 1, blocks: 5, modules: 3 },
  { form: "U", tokens: 33, width: 144, r: 16, blocks: 12, modules: 3 },
  { form: "dA", tokens: 77, width: 96, r: 8, blocks: 1, modules: 2 },
  { form: "dA", tokens: 44, width: 144, r: 8, blocks: 3, modules: 3 },
  { form: "dA", tokens: 42, width: 96, r: 12, blocks: 12, modules: 3 },
  // Summed in pieces.
  { form: "dA", tokens: 1100, width: 100, r: 16, blocks: 1, modules: 2 },
];

for (const entry of shared) {
  const { form, tokens, width, r, blocks, modules } = entry;
  const name = `${modules} ${form}, ${tokens}×${width}, r ${r} in ${blocks} blocks`;
  Deno.test(`products that share x, to the bits of each alone: ${name}`, async () => {
    const graph = new Graph();
    const outputs = smallProducts(graph, entry);
    const { nodes: [node, ...others], slots } = plan(outputs);
    assert.deepEqual([node.op!.name, others], ["sharedProducts", []]);
    assert.equal(new Set(outputs.map((output) => slots.get(output))).size, modules, "slots");
    const values: Values = new Map();
    fillSources(graph, values);
    const inputs = node.inputs.map((tensor) => values.get(tensor.node.name)!);
    assert.deepEqual(node.op!.evaluate(inputs, node), interpret(outputs, values));
    const gpu = await testGpu();
    const { bucket } = node.op!.variants!(node, gpu.traits);
    const choices = new Map([[bucket, "apart"]]);
    const withTraits = (traits: Partial<DeviceTraits>) =>
      new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, ...traits });
    const [plain, hardware] = [withTraits({ subgroupSize: 0 }), await hardwareGpu()];
    const chosen = withTraits({ choices });
    for (const device of [gpu, plain, hardware]) {
      // A GPU computes each dA apart, its tokens split among many invocations.
      const together = form === "U" || device !== hardware ? modules : 1;
      assert.equal(launches(outputs, device, true), together * launches(outputs, device, false));
      const apart = await runOnGpu(device, outputs, values, true);
      assert.deepEqual(await runOnGpu(device, outputs, values), apart);
      assert.ok(relativeError(apart[0], interpret(outputs, values)[0]) < 1e-5);
    }
    assert.equal(launches(outputs, chosen, false), launches(outputs, chosen, true));
  });
}

Deno.test("products that share x are not merged where they differ or one reads another's output; four become three and one", () => {
  const graph = new Graph();
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
  const [x, other, bias] = [weight("x", 40, 40), weight("other", 40, 40), weight("bias", 8)];
  const [A, A1, A2, A3] = [0, 1, 2, 3].map((p) => weight(`A${p}`, 8, 40));
  const [dU, dU1] = [0, 1].map((p) => weight(`dU${p}`, 40, 8));
  const gradient = (left: Tensor, right = x) => matmul(left, right, { transposeA: true });
  const U = project(x, A, 1);
  const apart: [string, () => Tensor][] = [
    ["another x", () => project(other, A1, 1)],
    ["another rank", () => project(x, weight("narrow", 4, 40), 1)],
    ["more blocks", () => project(x, A1, 2)],
    ["a scale", () => matmul(x, A1, { transposeB: true, scale: 2 })],
    ["a bias", () => matmul(x, A1, { transposeB: true, bias })],
    ["an activation", () => matmul(x, A1, { transposeB: true, activation: "relu" })],
    ["another form", () => gradient(dU)],
    ["another type", () => project(x, graph.weight("half", [8, 40], false, "f16"), 1)],
  ];
  for (const [what, trace] of apart) assert.deepEqual(opsOf([U, trace()]), ["product", "product"], what);
  const rows = { ...columns, b: "rows" } as const;
  const [high, high1] = ["high", "high1"].map((name) => weight(name, 16, 20));
  const byRows = [high, high1].map((own) => matmul(x, own, { transposeB: true, blocks: 2, splits: rows }));
  assert.deepEqual(opsOf(byRows), ["product", "product"], "blocks of rows");
  const later = project(x, activate("relu", gradient(U)), 1);
  assert.ok(!opsOf([U, later]).includes("sharedProducts"), "a projection by what another one gives");
  const dA = gradient(dU);
  const ofdA = gradient(activate("relu", project(x, dA, 1)));
  assert.ok(!opsOf([dA, ofdA]).includes("sharedProducts"), "a gradient of what another one gives");
  assert.deepEqual(opsOf([dA, gradient(dU1)]), ["sharedProducts"]);
  const four = [A, A1, A2, A3].map((own) => project(other, own, 1));
  assert.deepEqual(opsOf(four), ["sharedProducts", "product"]);
});

Deno.test("a product is not merged to before the one that makes what it reads, where that is merged to a later place", () => {
  const graph = new Graph();
  const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
  const gradient = (name: string) => matmul(weight(name, 8, 8), weight("y", 8, 40), { transposeA: true });
  const made = gradient("G");
  const first = project(weight("x", 8, 40), weight("A", 8, 40), 1);
  const other = gradient("H");
  const reading = project(weight("x", 8, 40), made, 1);
  const { nodes } = plan([first, other, reading]);
  assert.deepEqual(nodes.map(({ outputs }) => outputs), [[first], [made, other], [reading]]);
});

Deno.test("a product that is recomputed for the backward pass is merged with the products of that pass", () => {
  const graph = new Graph();
  const [x, A, B] = ["x", "A", "B"].map((name) => graph.weight(name, [8, 40], false));
  const twice = [A, B, A, B].map((own) => project(x, own, 1));
  const { nodes } = plan(twice);
  assert.deepEqual(nodes.map(({ outputs }) => outputs), [twice.slice(0, 2), twice.slice(2)]);
});

/** Two trained matrices, of which the gradient of `y`'s reads that of `x`: through a frozen adapter's layer, or an activation. */
const between: Record<string, (graph: Graph, x: Tensor) => Tensor> = {
  "a low-rank product": (graph, x) => {
    const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
    const u = matmul(x, weight("A", 8, 32), { transposeB: true });
    const base = matmul(x, weight("W", 32, 32), { transposeB: true });
    return matmul(u, weight("B", 32, 8), { transposeB: true, scale: 0.7, residual: base });
  },
  "an activation": (graph, x) =>
    matmul(activate("gelu", x), graph.weight("W", [32, 32], false), { transposeB: true }),
};

for (const [name, of] of Object.entries(between)) {
  Deno.test(`${name} is not merged into a kernel that reads one gradient and writes another in one buffer`, async () => {
    const gpu = await testGpu();
    const graph = new Graph();
    const [x, y] = ["x", "y"].map((source) => graph.weight(source, [32, 32], true));
    const loss = sumOfSquares(add(of(graph, x), y), 1);
    const gradients = separateGradients([loss], [x, y]);
    const values: Values = new Map();
    fillSources(graph, values);
    const stored = [...values].map(([source, own]) => [source, { data: Float32Array.from(own) }] as const);
    using weights = new FrozenWeights(gpu, stored);
    const buffer = gpu.createBuffer("gradients", 2 * 4096);
    const destinations = new Map(
      gradients.map((gradient, i) => [gradient, { buffer, offset: 4096 * i, bytes: 4096 }] as const),
    );
    using compiled = await compile(gpu, [loss, ...gradients], {
      label: "gradients",
      weights: (source) => weights.view(source)!,
      destinations,
    });
    compiled.run();
    const expected = interpret(gradients, values);
    for (const [i, gradient] of gradients.entries()) {
      assert.ok(relativeError(await compiled.read(gradient), expected[i]) < 1e-5);
    }
    gpu.destroyBuffer(buffer);
  });
}
