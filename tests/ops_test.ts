/** Every op, forward and backward, over odd shapes: GPU = interpreter, interpreter = finite differences. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import { Graph } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate, type Activation } from "../lib/graph/ops/activation.ts";
import { attention } from "../lib/graph/ops/attention.ts";
import { add, multiply } from "../lib/graph/ops/binary.ts";
import { boraMix, boraSigma } from "../lib/graph/ops/bora.ts";
import { compareFeatures } from "../lib/graph/ops/compare_features.ts";
import { detachedInverseColumnNorm } from "../lib/graph/ops/column_norm.ts";
import { columnSum, repeatRows } from "../lib/graph/ops/column_sum.ts";
import { dropout } from "../lib/graph/ops/dropout.ts";
import { embedding } from "../lib/graph/ops/embedding.ts";
import { firstToken } from "../lib/graph/ops/first_token.ts";
import { gate } from "../lib/graph/ops/gate.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { reshape, swapAxes } from "../lib/graph/ops/layout.ts";
import { crossEntropy, meanSquaredError } from "../lib/graph/ops/losses.ts";
import { lookup } from "../lib/graph/ops/lookup.ts";
import { matmul } from "../lib/graph/ops/matmul.ts";
import type { Split } from "../lib/graph/ops/product.ts";
import { scaleColumns } from "../lib/graph/ops/scale_columns.ts";
import { softmaxRows } from "../lib/graph/ops/softmax_rows.ts";
import { sumOfSquares } from "../lib/graph/ops/sum_of_squares.ts";
import { meanPool } from "../lib/graph/ops/mean_pool.ts";
import { checkOp, fillSources, relativeError, runOnGpu, testGpu, type Values } from "./support/ops.ts";

// The last two fill no tile of the kernel for subgroups (32 rows, 8 columns a lane), which wants multiples of 4.
const sizes: [number, number, number][] = [
  [1, 1, 1],
  [5, 3, 7],
  [17, 33, 13],
  [64, 64, 64],
  [67, 72, 20],
  [130, 8, 31],
  [36, 100, 12],
  [100, 36, 20],
];
for (const [m, n, k] of sizes) {
  for (const [transposeA, transposeB] of [[false, false], [false, true], [true, false]]) {
    const letters = `${transposeA ? "T" : "N"}${transposeB ? "T" : "N"}`;
    Deno.test(`matmul ${letters} ${m}×${n}×${k}`, () =>
      checkOp((graph) =>
        matmul(
          graph.weight("a", transposeA ? [k, m] : [m, k], true),
          graph.weight("b", transposeB ? [n, k] : [k, n], true),
          { transposeA, transposeB, scale: 0.7 },
        )
      ));
  }
}

for (const activation of [undefined, "relu", "tanh"] as const) {
  for (const [m, n, k] of [[3, 5, 7], [16, 32, 12], [65, 64, 8]]) {
    Deno.test(`matmul with bias and ${activation ?? "residual"} ${m}×${n}×${k}`, () =>
      checkOp((graph) =>
        matmul(graph.weight("a", [m, k], true), graph.weight("b", [n, k], true), {
          transposeB: true,
          bias: graph.weight("bias", [n], true),
          activation,
          residual: activation ? undefined : graph.weight("residual", [m, n], true),
        })
      ));
  }
}

const blockCases: [string, number, number, number, number, { a: Split; b: Split; out: Split }][] = [
  ["project U_k = x_k A_kᵀ", 9, 4, 12, 3, { a: "columns", b: "columns", out: "columns" }],
  ["project U_k = x_k A_kᵀ", 70, 8, 64, 4, { a: "columns", b: "columns", out: "columns" }],
  ["expand y_j = V_j B_jᵀ", 9, 6, 4, 2, { a: "columns", b: "rows", out: "columns" }],
  ["expand y_j = V_j B_jᵀ", 33, 16, 8, 4, { a: "columns", b: "rows", out: "columns" }],
];
for (const [name, rows, n, k, blocks, splits] of blockCases) {
  Deno.test(`block matmul: ${name}, ${blocks} blocks, ${rows} tokens`, () =>
    checkOp((graph) => {
      const b = splits.b === "rows" ? [n * blocks, k] : [n, k * blocks];
      return matmul(graph.weight("a", [rows, k * blocks], true), graph.weight("b", b, true), {
        transposeB: true,
        blocks,
        splits,
        scale: 2,
        residual: graph.weight("residual", [rows, n * blocks], true),
      });
    }));
}

for (
  const { m, n, layouts } of [
    { m: 41, n: 68, layouts: ["NN", "NT", "TN"] },
    { m: 41, n: 24, layouts: ["NN", "NT", "TN"] },
    // An adapter's U and dV, one column a lane; its dA and, as a transpose, dB.
    { m: 41, n: 7, layouts: ["NN", "NT"] },
    { m: 8, n: 132, layouts: ["TN"] },
    { m: 132, n: 8, layouts: ["TN"] },
  ]
) {
  Deno.test(`the kernel for subgroups gives the bits of the plain one at ${m}×${n}, epilogue and blocks included`, async () => {
    const gpu = await testGpu();
    const plain = new Gpu(gpu.device, gpu.device.adapterInfo);
    const [k, blocks] = [20, n === 24 ? 1 : 3];
    for (const layout of layouts) {
      const graph = new Graph();
      const [transposeA, transposeB] = [...layout].map((letter) => letter === "T");
      const isTall = transposeA && m > n;
      const rows = transposeA ? Math.ceil(m / 4) * 4 : m;
      const out = matmul(
        graph.weight("a", transposeA ? [k, rows * blocks] : [rows, k * blocks], false),
        graph.weight("b", transposeB ? [n, k * blocks] : [k, n * blocks], false),
        {
          transposeA,
          transposeB,
          blocks,
          scale: 0.3,
          ...isTall ? {} : { bias: graph.weight("bias", [n * blocks], false), activation: "tanh" },
          residual: graph.weight("residual", [rows, n * blocks], false),
        },
      );
      const values: Values = new Map();
      fillSources(graph, values);
      const [expected] = interpret([out], values);
      const [shared] = await runOnGpu(gpu, [out], values);
      assert.ok(relativeError(shared, expected) < 1e-5);
      assert.deepEqual(shared, (await runOnGpu(plain, [out], values))[0]);
      const kernelOn = (subgroupSize: number) =>
        out.node.op!.dispatches(out.node, false, { subgroupSize })[0].kernel;
      assert.match(kernelOn(8).label, /^matmul_subgroup /);
      assert.match(kernelOn(0).label, /^matmul /);
      assert.match(kernelOn(32).label, /^matmul /, "a GPU's subgroups are too wide for its tiles");
    }
  });
}

for (const inPlace of [false, true]) {
  Deno.test(`a long k is summed launch by launch, the residual ${inPlace ? "in place" : "apart"}`, async () => {
    const [m, n, k] = [36, 36, 1100];
    for (const transposeA of [false, true]) {
      const graph = new Graph();
      const residual = graph.weight("residual", [m, n], false);
      const out = matmul(
        graph.weight("a", transposeA ? [k, m] : [m, k], false),
        graph.weight("b", [k, n], false),
        {
          transposeA,
          scale: 0.3,
          bias: graph.weight("bias", [n], false),
          residual: inPlace ? add(residual, residual) : residual,
        },
      );
      const values: Values = new Map();
      fillSources(graph, values);
      const launches = out.node.op!.dispatches(out.node, inPlace, { subgroupSize: 8 });
      assert.deepEqual(launches.map(({ params }) => params.k), [512, 512, 76]);
      const [actual] = await runOnGpu(await testGpu(), [out], values);
      assert.ok(relativeError(actual, interpret([out], values)[0]) < 2e-6);
    }
  });
}

Deno.test("matmul names both shapes when they do not fit, and the blocks when they do not divide", () => {
  const graph = new Graph();
  const a = graph.weight("a", [4, 6], true);
  const b = graph.weight("b", [5, 7], true);
  assert.throws(() => matmul(a, b), /\[4, 6\].*\[5, 7\].*inner extents 6 and 5 differ/);
  assert.throws(
    () => matmul(a, graph.weight("c", [8, 6], true), { transposeB: true, blocks: 4 }),
    /4 blocks do not divide/,
  );
});

Deno.test("an empty dimension is refused", () => {
  const graph = new Graph();
  assert.throws(() => add(graph.input("a", [0, 3]), graph.input("b", [0, 3])), /shape \[0,3\] has an empty/);
});

for (const name of ["relu", "tanh", "gelu"] as Activation[]) {
  for (const size of [1, 67, 300]) {
    Deno.test(`activation ${name} of ${size}`, () =>
      checkOp((graph) => activate(name, graph.weight("x", [size, 1], true))));
  }
}

Deno.test("add and multiply", () =>
  checkOp((graph) => {
    const [a, b] = [graph.weight("a", [7, 13], true), graph.weight("b", [7, 13], true)];
    return multiply(add(a, b), add(multiply(a, a), add(b, b)));
  }));

for (const [rows, cols] of [[1, 1], [3, 7], [33, 65], [8, 256]]) {
  Deno.test(`layerNorm ${rows}×${cols}`, () =>
    checkOp((graph) =>
      layerNorm(
        graph.weight("x", [rows, cols], true),
        graph.weight("gamma", [cols], true),
        graph.weight("beta", [cols], true),
        1e-2,
      )
    ));
}

for (const [batch, length, heads, width] of [[1, 1, 1, 4], [2, 5, 3, 8], [3, 17, 2, 16], [2, 33, 1, 64]]) {
  Deno.test(`attention ${batch}×${length}, ${heads} heads of ${width}`, () => {
    const lengths = Float64Array.from({ length: batch }, (_, b) => Math.max(1, length - 2 * b));
    return checkOp(
      (graph) => {
        const shape = [batch * length, heads * width];
        const [q, k, v] = ["q", "k", "v"].map((name) => graph.weight(name, shape, true));
        return attention(q, k, v, graph.input("lengths", [batch], "u32"), { heads, scale: width ** -0.5 });
      },
      new Map([["lengths", lengths]]),
    );
  });
}

for (const [batch, length, width, vocabulary] of [[1, 1, 1, 1], [3, 5, 7, 4], [4, 16, 32, 50]]) {
  const ids = Float64Array.from({ length: batch * length }, (_, i) => (i * 7) % vocabulary);
  Deno.test(`embedding ${batch}×${length}×${width} of ${vocabulary}`, () =>
    checkOp(
      (graph) =>
        embedding(
          graph.input("ids", [batch, length], "u32"),
          graph.weight("table", [vocabulary, width], true),
          graph.weight("positions", [length, width], false),
          2,
        ),
      new Map([["ids", ids]]),
    ));
}

for (const [rows, firstRow, onto] of [[9, 0, false], [4, 3, true], [11, -2, true]] as const) {
  Deno.test(`lookup in ${rows} rows from ${firstRow} on${onto ? ", added to another" : ""}`, () =>
    checkOp(
      (graph) =>
        lookup(graph.input("index", [3, 5], "u32"), graph.weight("table", [rows, 8], true), {
          firstRow,
          onto: onto ? graph.weight("onto", [15, 8], true) : undefined,
        }),
      new Map([["index", Float64Array.from({ length: 15 }, (_, i) => i * 7 % 9)]]),
    ));
}

for (const [batch, length, width] of [[1, 1, 1], [3, 5, 7]]) {
  Deno.test(`firstToken ${batch}×${length}×${width}`, () =>
    checkOp((graph) => firstToken(graph.weight("x", [batch * length, width], true), batch)));
}

for (const [batch, length, width] of [[1, 1, 1], [3, 5, 7], [5, 16, 33]]) {
  const lengths = Float64Array.from({ length: batch }, (_, b) => 1 + b % length);
  Deno.test(`meanPool ${batch}×${length}×${width}`, () =>
    checkOp(
      (graph) =>
        meanPool(graph.weight("x", [batch * length, width], true), graph.input("lengths", [batch], "u32")),
      new Map([["lengths", lengths]]),
    ));
}

for (const [count, options, width] of [[1, 1, 1], [3, 1, 7], [5, 4, 13]]) {
  Deno.test(`compareFeatures ${count} anchors, ${options} options, ${width} wide`, () =>
    checkOp((graph) =>
      compareFeatures(graph.weight("pooled", [count * (1 + options), width], true), options)
    ));
}

for (const [rows, classes] of [[1, 2], [7, 3], [33, 41], [5, 130]]) {
  const values: Values = new Map([
    ["labels", Float64Array.from({ length: rows }, (_, i) => (i * 5) % classes)],
    ["weights", Float64Array.from({ length: rows }, (_, i) => i === 0 ? 1 : i % 3)],
  ]);
  Deno.test(`crossEntropy ${rows}×${classes}`, () =>
    checkOp(
      (graph) =>
        crossEntropy(
          graph.weight("x", [rows, classes], true),
          graph.input("labels", [rows], "u32"),
          graph.input("weights", [rows]),
        ),
      values,
    ));
}

Deno.test("crossEntropy stays finite for logits of ±1e4", async () => {
  const graph = new Graph();
  const loss = crossEntropy(
    graph.weight("x", [2, 2], true),
    graph.input("labels", [2], "u32"),
    graph.input("weights", [2]),
  );
  const values: Values = new Map([
    ["x", Float64Array.of(1e4, -1e4, -1e4, 1e4)],
    ["labels", Float64Array.of(0, 0)],
    ["weights", Float64Array.of(1, 1)],
  ]);
  assert.equal((await runOnGpu(await testGpu(), [loss], values))[0][0], 1e4);
});

for (const rows of [1, 7, 130]) {
  Deno.test(`meanSquaredError of ${rows}`, () =>
    checkOp(
      (graph) =>
        meanSquaredError(
          graph.weight("x", [rows, 1], true),
          graph.input("y", [rows]),
          graph.input("w", [rows]),
        ),
      new Map([["w", Float64Array.from({ length: rows }, (_, i) => i === 0 ? 1 : i % 2)]]),
    ));
}

for (const rate of [0, 0.1, 0.5]) {
  const values: Values = new Map([["clock", Float64Array.of(3, 11)]]);
  Deno.test(`dropout ${rate}: same mask forward, backward and in the interpreter`, () =>
    checkOp(
      (graph) => {
        const clock = graph.input("clock", [2], "u32");
        return dropout(dropout(graph.weight("x", [37, 11], true), clock, rate), clock, rate);
      },
      values,
    ));
}

Deno.test("dropout drops its rate, differently every step and stream", async () => {
  const graph = new Graph();
  const clock = graph.input("clock", [2], "u32");
  const x = graph.input("x", [100, 100]);
  const outputs = [dropout(x, clock, 0.3), dropout(x, clock, 0.3)];
  const run = async (step: number) =>
    await runOnGpu(
      await testGpu(),
      outputs,
      new Map([["x", new Float64Array(10000).fill(1)], ["clock", Float64Array.of(1, step)]]),
    );
  const [[a, b], [c]] = [await run(0), await run(1)];
  const share = a.filter((value) => value === 0).length / a.length;
  assert.ok(Math.abs(share - 0.3) < 0.02, `${share} dropped`);
  const same = (p: Float64Array, q: Float64Array) => p.filter((value, i) => value === q[i]).length / p.length;
  assert.ok(same(a, b) < 0.65 && same(a, c) < 0.65);
});

for (const [b, r] of [[1, 1], [3, 5], [4, 8], [16, 8]]) {
  for (const [exp, norm] of [[true, true], [false, true], [true, false]]) {
    Deno.test(`boraSigma b=${b} r=${r}${exp ? "" : " without Exp"}${norm ? "" : " without Norm"}`, () =>
      checkOp((graph) => boraSigma(graph.weight("sigma", [b, b, r], true), { exp, norm })));
  }
}

for (const [tokens, b, r] of [[1, 1, 1], [7, 3, 5], [33, 4, 8], [65, 16, 4]]) {
  Deno.test(`boraMix ${tokens} tokens, b=${b} r=${r}`, () =>
    checkOp((graph) =>
      boraMix(graph.weight("u", [tokens, b * r], true), graph.weight("diagonal", [b, b, r], true))
    ));
}

for (const [rows, cols] of [[1, 1], [7, 13], [65, 32]]) {
  Deno.test(`columnSum and repeatRows ${rows}×${cols}`, () =>
    checkOp((graph) => repeatRows(columnSum(graph.weight("x", [rows, cols], true)), 5)));

  Deno.test(`sumOfSquares ${rows}×${cols}`, () =>
    checkOp((graph) => sumOfSquares(graph.weight("x", [rows, cols], true), 0.3)));

  Deno.test(`softmaxRows ${rows}×${cols}`, () =>
    checkOp((graph) => softmaxRows(graph.weight("x", [rows, cols], true))));

  Deno.test(`scaleColumns ${rows}×${cols}, plain and with shift and residual`, async () => {
    const operands = (graph: Graph) =>
      [graph.weight("x", [rows, cols], true), graph.weight("scale", [cols], true)] as const;
    await checkOp((graph) => scaleColumns(...operands(graph)));
    await checkOp((graph) =>
      scaleColumns(...operands(graph), {
        shift: graph.weight("shift", [cols], true),
        residual: graph.weight("residual", [rows, cols], true),
      })
    );
  });

  Deno.test(`inverse column norms ${rows}×${cols}, and no gradient through them`, () =>
    checkOp((graph) => {
      const x = graph.weight("x", [rows, cols], true);
      return scaleColumns(x, detachedInverseColumnNorm(x));
    }));
}

Deno.test("softmaxRows stays finite for logits of ±1e4", async () => {
  const graph = new Graph();
  const p = softmaxRows(graph.weight("x", [1, 2], true));
  const values: Values = new Map([["x", Float64Array.of(1e4, -1e4)]]);
  assert.deepEqual([...(await runOnGpu(await testGpu(), [p], values))[0]], [1, 0]);
});

for (const [rows, experts, width] of [[1, 1, 1], [7, 3, 5], [33, 4, 8]]) {
  for (const shared of [true, false]) {
    Deno.test(`gate ${rows} rows, ${experts} experts, ${width} wide${shared ? ", one vector for all" : ""}`, () =>
      checkOp((graph) =>
        gate(
          graph.weight("g", [rows, experts], true),
          graph.weight("u", [rows, shared ? width : experts * width], true),
          shared,
        )
      ));
  }
}

for (const [rows, p, q, width] of [[1, 1, 1, 1], [3, 5, 7, 1], [4, 3, 2, 11]]) {
  Deno.test(`swapAxes ${rows}×${p}×${q}×${width}, between reshapes`, () =>
    checkOp((graph) => {
      const x = graph.weight("x", [rows * p, q * width], true);
      const turned = swapAxes(reshape(x, [rows, p * q * width]), { p, q, width }, [rows * q, p * width]);
      return reshape(multiply(turned, turned), [rows * p * q, width]);
    }));
}

Deno.test("the new ops name what does not fit", () => {
  const graph = new Graph();
  const x = graph.input("x", [4, 6]);
  assert.throws(() => reshape(x, [5, 5]), /\[4, 6\] f32 does not hold \[5, 5\] f32/);
  assert.throws(() => swapAxes(x, { p: 5, q: 1, width: 1 }, [24]), /not rows of 5×1×1/);
  assert.throws(
    () => gate(x, graph.input("u", [3, 6]), true),
    /gates \[4, 6\] f32 do not fit vectors \[3, 6\]/,
  );
  assert.throws(
    () => scaleColumns(x, graph.input("s", [4])),
    /\[4\] f32 does not fit the columns of \[4, 6\]/,
  );
});
