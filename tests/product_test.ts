/** Products with epilogues: merged and apart they compute the same, and `explain` says why a product has its kernel. */

import assert from "node:assert/strict";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Node, sizeOf, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate, type Activation, activationGradient } from "../lib/graph/ops/activation.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { linear, matmul, productOp } from "../lib/graph/ops/product/product.ts";
import { choiceText, dumpPlan, plan } from "../lib/graph/plan.ts";
import { randomBits } from "../lib/graph/random.ts";
import {
  fillSources,
  randomValues,
  relativeError,
  runOnGpu,
  scalarOf,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { checkOp, hardwareGpu, testGpu } from "./support/ops.ts";

/** A generator of choices that depend on a seed only. */
function chooser(seed: number) {
  let draws = 0;
  return <Value>(...options: readonly Value[]): Value =>
    options[Math.floor(randomBits(seed, 0, 1, draws++) / 2 ** 32 * options.length)];
}

/** A graph of the ops that are merged, in an order and with readers that depend on `seed`. */
function generated(seed: number): Tensor[] {
  const choose = chooser(seed);
  const graph = new Graph();
  const [rows, width] = [choose(5, 33, 41, 41), choose(12, 48, 96, 96)];
  let weights = 0;
  const weight = (...shape: number[]) => graph.weight(`w${weights++}`, shape, false);
  const made: Tensor[] = [weight(rows, width), weight(rows, width)];
  const last = () => made.at(-1)!;
  const any = () => made.at(-1 - choose(0, 0, 1))!;
  const first = () => made[choose(0, 1)];
  const product = () => {
    const transposeB = choose(true, true, false);
    const activation = choose(undefined, undefined, undefined, "relu", "tanh") as "relu" | "tanh" | undefined;
    return matmul(any(), weight(width, width), {
      transposeB,
      scale: choose(1, 1, 1, 0.7),
      bias: choose(true, false) ? weight(width) : undefined,
      activation,
      residual: choose(false, false, true) ? first() : undefined,
    });
  };
  const lowRank = () => {
    const [r, blocks, transposeB] = [choose(3, 4, 8, 8, 16, 20), choose(1, 1, 3), choose(true, false)];
    const low = transposeB ? weight(width, r) : weight(r, width);
    const splits = { a: "columns", b: transposeB ? "rows" : "columns", out: "columns" } as const;
    const residual = choose(true, false) ? product() : last();
    return matmul(weight(rows, blocks * r), low, { transposeB, blocks, splits, scale: 0.7, residual });
  };
  const slope = () =>
    activationGradient(
      choose<Activation>("relu", "tanh", "gelu"),
      first(),
      choose(true, false) ? product() : last(),
    );
  for (let i = 0; i < 6; i++) {
    const step = choose(product, product, lowRank, lowRank, () => activate("gelu", any()), slope, () => {
      return add(any(), any());
    });
    made.push(step());
    if (choose(true, false, false)) made.push(activate("gelu", any()));
  }
  return [made.at(-1)!, ...made.slice(2, -1).filter(() => choose(true, false, false, false))];
}

/** Values small enough that a chain of products neither grows nor vanishes. */
function valuesOf({ nodes }: Graph): Values {
  return new Map(
    nodes.filter(({ source }) => source).map(({ name, outputs: [tensor] }) => [
      name,
      randomValues(name, sizeOf(tensor), tensor.shape.length === 2 ? 1.7 * tensor.shape[1] ** -0.5 : 1),
    ]),
  );
}

/** The values of `outputs` by the nodes of a plan, in float64. */
function byNodes(nodes: readonly Node[], outputs: readonly Tensor[], values: Values): Float64Array[] {
  const known = new Map<Tensor, Float64Array>();
  const valueOf = (tensor: Tensor) => known.get(tensor) ?? values.get(tensor.node.name)!;
  for (const node of nodes) {
    const results = node.op!.evaluate(node.inputs.map(valueOf), node);
    node.outputs.forEach((tensor, i) => known.set(tensor, results[i]));
  }
  return outputs.map(valueOf);
}

/** What was merged into the products of a plan. */
function partsOf(nodes: readonly Node[]): string[] {
  return nodes.filter(({ op }) => op === productOp).flatMap(({ attrs: { epilogue } }) => [
    ...epilogue.lowRank ? [`low rank ${epilogue.lowRank.transposed ? "NT" : "NN"}`] : [],
    ...epilogue.gelu ? [`gelu ${epilogue.gelu}`] : [],
    ...epilogue.slope ? [`slope of ${epilogue.slope}`] : [],
  ]);
}

const everyPart = [
  "gelu alone",
  "gelu beside",
  "low rank NN",
  "low rank NT",
  "slope of gelu",
  "slope of relu",
  "slope of tanh",
];

Deno.test("generated graphs: what is merged has the float64 meaning of what is apart", () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 80; seed++) {
    const outputs = generated(seed);
    const values = valuesOf(outputs[0].node.graph);
    const { nodes } = plan(outputs);
    for (const part of partsOf(nodes)) seen.add(part);
    const expected = interpret(outputs, values);
    byNodes(nodes, outputs, values).forEach((actual, i) =>
      assert.ok(relativeError(actual, expected[i]) < 1e-12, `seed ${seed}, output ${i}`)
    );
  }
  assert.deepEqual([...seen].toSorted(), everyPart);
});

Deno.test("generated graphs: what is merged computes on a GPU what is apart", async () => {
  const gpu = await testGpu();
  const hardware = await hardwareGpu();
  const seen = new Set<string>();
  for (let seed = 0; seed < 80; seed++) {
    const outputs = generated(seed);
    const parts = partsOf(plan(outputs).nodes).filter((part) => !seen.has(part));
    // Compiling takes long: the first graphs, and those with a part that none before them had.
    if (seed >= 4 && parts.length === 0) continue;
    for (const part of parts) seen.add(part);
    const values = valuesOf(outputs[0].node.graph);
    const expected = interpret(outputs, values);
    for (const device of [gpu, hardware]) {
      const [merged, apart] = [
        await runOnGpu(device, outputs, values),
        await runOnGpu(device, outputs, values, true),
      ];
      outputs.forEach((_, i) => {
        assert.ok(relativeError(merged[i], apart[i]) < 2e-5, `seed ${seed}, output ${i}`);
        assert.ok(relativeError(merged[i], expected[i]) < 2e-5, `seed ${seed}, output ${i} in float64`);
      });
    }
  }
  assert.deepEqual([...seen].toSorted(), everyPart);
});

Deno.test("two GELUs of one product: one is merged, and both are computed", async () => {
  const graph = new Graph();
  const z = linear(graph.weight("x", [33, 20], false), graph.weight("W", [48, 20], false));
  const outputs = [activate("gelu", z), activate("gelu", z)];
  assert.deepEqual(plan(outputs).nodes.map(({ op }) => op!.name), ["product", "activation"]);
  const values: Values = new Map();
  fillSources(graph, values);
  const [expected] = interpret(outputs, values);
  for (const actual of await runOnGpu(await testGpu(), outputs, values)) {
    assert.ok(relativeError(actual, expected) < 1e-5);
  }
});

for (const activation of ["relu", "tanh"] as const) {
  Deno.test(`${activation} under a residual has its derivative`, () =>
    checkOp({
      family: "product",
      name: activation,
      tolerance: 2e-5,
      trace: (graph) =>
        linear(graph.weight("x", [9, 8], true), graph.weight("W", [12, 8], true), {
          bias: graph.weight("bias", [12], true),
          activation,
          residual: graph.weight("residual", [9, 12], true),
        }),
    }));
}

Deno.test("Aᵀ·Bᵀ, which no kernel computes, is refused", () => {
  const x = new Graph().weight("x", [8, 8], true);
  const refused = /there is no kernel for Aᵀ·Bᵀ: transpose the product B·A/;
  assert.throws(() => matmul(x, x, { transposeA: true, transposeB: true }), refused);
  assert.throws(() => linear(x, x, { transposeA: true }), refused);
});

Deno.test("a GPU sums a long k by few rows in two stages, the epilogue in the second", async () => {
  const hardware = await hardwareGpu();
  for (const transposeA of [false, true]) {
    for (const [name, rows] of [["in place", 5], ["tanh", 9], ["slope", 12]] as const) {
      if (transposeA && name === "slope") continue;
      const graph = new Graph();
      const weight = (source: string, ...shape: number[]) => graph.weight(source, shape, false);
      const [columns, k] = [68, 300];
      const [a, b] = [transposeA ? weight("a", k, rows) : weight("a", rows, k), weight("b", k, columns)];
      const beside = weight("beside", rows, columns);
      const plain = name === "slope" ? {} : { bias: weight("bias", columns), scale: 0.3 };
      const product = matmul(a, b, {
        transposeA,
        ...plain,
        residual: name === "in place" ? add(beside, beside) : undefined,
        activation: name === "tanh" ? "tanh" : undefined,
      });
      const out = name === "slope" ? activationGradient("gelu", beside, product) : product;
      const { nodes, inPlace } = plan([out], { device: hardware.traits });
      assert.equal(inPlace.size, name === "in place" ? 1 : 0);
      assert.deepEqual(
        nodes.at(-1)!.op!.dispatches(nodes.at(-1)!, false, hardware.traits)
          .map(({ kernel }) => kernel.label.split(" ")[0]).slice(0, 2),
        ["matmul_teams", "matmul_sum"],
      );
      const values: Values = new Map();
      fillSources(graph, values);
      const [actual] = await runOnGpu(hardware, [out], values);
      assert.ok(relativeError(actual, interpret([out], values)[0]) < 5e-6, name);
    }
  }
});

Deno.test("what two stages leave to each other has a slot of its own while they run", () => {
  const graph = new Graph();
  const [a, b] = [graph.weight("a", [5, 300], false), graph.weight("b", [300, 68], false)];
  const out = matmul(a, activate("relu", b));
  const apart = plan([out]);
  const { slots, slotBytes, nodes } = plan([out], { device: { subgroupSize: 0 } });
  const [parts] = productOp.scratch!(nodes.at(-1)!, { subgroupSize: 0 });
  assert.deepEqual(parts.shape, [7, 5, 68]);
  assert.equal(new Set(slots.values()).size, slots.size);
  assert.equal(slotBytes[slots.get(parts)!], 4 * sizeOf(parts));
  assert.equal(slots.size, apart.slots.size + 1);
  assert.deepEqual(productOp.scratch!(nodes.at(-1)!, { subgroupSize: 8, software: true }), []);
});

Deno.test("explain: the kernel, the row of the table that decided, the traits, and what else fits", () => {
  const graph = new Graph();
  const y = linear(graph.weight("x", [128, 64], false), graph.weight("W", [256, 64], false));
  const why = (traits: Parameters<NonNullable<typeof productOp.variants>>[1]) =>
    productOp.variants!(y.node, traits);
  const software = why({ subgroupSize: 8, software: true });
  assert.match(
    choiceText(software.choice()),
    /^NT 128×256×64 of f32 by subgroup 32×8: default for a dense layer in the table of software drivers \(subgroups of 8\); not plain 16×16 in 4×8, /,
  );
  const hardware = why({ subgroupSize: 0 });
  assert.match(
    choiceText(hardware.choice()),
    /by workgroup 32×32 by 4×4: .* table of GPUs \(no fixed subgroup size\); not .*workgroup 64×64/,
  );
  assert.doesNotMatch(choiceText(software.choice()), /workgroup/);
  const choices = new Map([[hardware.bucket, "workgroup 64×64 by 4×4"]]);
  assert.match(
    choiceText(why({ subgroupSize: 0, choices }).choice()),
    /by workgroup 64×64 by 4×4: tuned for product NT 128×256×64/,
  );
  const other = new Map([[hardware.bucket, "a kernel of another version"]]);
  assert.deepEqual(why({ subgroupSize: 0, choices: other }).choice(), hardware.choice());
  assert.match(
    dumpPlan(plan([y]), { subgroupSize: 8, software: true }),
    /^ {4}NT 128×256×64 of f32 by subgroup 32×8: default/m,
  );
});

Deno.test("gradients that are added: in the kernel of a product of f32, and by a node of their own of other storages", () => {
  for (const dtype of ["f32", "int8"] as const) {
    const graph = new Graph();
    const x = graph.weight("x", [8, 64], true);
    const layer = (name: string) => {
      const values = graph.weight(name, [4, 64], false, dtype);
      const scales = dtype === "int8" ? graph.weight(`${name}.scales`, [4], false) : undefined;
      return linear(x, { values, scales });
    };
    const loss = scalarOf(graph, add(layer("a"), layer("b")));
    const [gradient] = grad([loss], [x]);
    assert.equal(gradient.node.op!.name, dtype === "f32" ? "product" : "add");
  }
});

for (const [m, n, k] of [[40, 80, 600], [33, 131, 1004], [64, 36, 257]]) {
  Deno.test(`on GPUs a dense product of few tiles is summed in parts of k: ${m}×${n}×${k}, every layout and epilogue`, async () => {
    const gpu = await hardwareGpu();
    const graph = new Graph();
    const weight = (name: string, ...shape: number[]) => graph.weight(name, shape, false);
    const [bias, residual] = [weight("bias", n), weight("residual", m, n)];
    const outputs = [
      matmul(weight("a", m, k), weight("b", n, k), { transposeB: true, bias, activation: "tanh", residual }),
      matmul(weight("a", m, k), weight("c", k, n), { scale: 0.3, residual: add(residual, residual) }),
      matmul(weight("d", k, m), weight("c", k, n), { transposeA: true }),
    ];
    // A low-rank term, and a GELU beside its input, which `fuse` merges where there are columns for them.
    const base = matmul(weight("a", m, k), weight("b", n, k), { transposeB: true, bias });
    const term = matmul(weight("v", m, 8), weight("low", n, 8), {
      transposeB: true,
      scale: 0.5,
      residual: base,
    });
    const z = matmul(weight("a", m, k), weight("e", n, k), { transposeB: true, bias });
    outputs.push(term, activate("gelu", z), z);
    const values: Values = new Map();
    fillSources(graph, values);
    const expected = interpret(outputs, values);
    const labels = plan(outputs).nodes.flatMap((node) =>
      node.op!.dispatches(node, false, gpu.traits).map(({ kernel }) => kernel.label)
    );
    assert.ok(labels.filter((label) => label.includes("PARTS=1")).length >= 4, labels.join("\\n"));
    const actual = await runOnGpu(gpu, outputs, values);
    actual.forEach((own, i) => assert.ok(relativeError(own, expected[i]) < 1e-5, `output ${i}`));
    assert.deepEqual(await runOnGpu(gpu, outputs, values), actual);
  });
}
