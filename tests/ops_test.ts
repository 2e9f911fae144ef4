/** Every op, forward and backward, over odd shapes: GPU = interpreter, interpreter = finite differences. */

import assert from "node:assert/strict";
import { Gpu } from "../lib/gpu/device.ts";
import type { BufferView } from "../lib/gpu/program.ts";
import { compile } from "../lib/graph/compile.ts";
import { Graph } from "../lib/graph/graph.ts";
import { interpret, interpretRun } from "../lib/graph/interpret.ts";
import { activate } from "../lib/graph/ops/activation.ts";
import { attention } from "../lib/graph/ops/attention.ts";
import { add } from "../lib/graph/ops/binary.ts";
import { boraMix } from "../lib/graph/ops/bora.ts";
import { cachedAttention } from "../lib/graph/ops/cached_attention.ts";
import { repeatRows } from "../lib/graph/ops/column_sum.ts";
import { compareFeatures } from "../lib/graph/ops/compare_features.ts";
import { dropout } from "../lib/graph/ops/dropout.ts";
import { embedding } from "../lib/graph/ops/embedding.ts";
import { firstToken } from "../lib/graph/ops/first_token.ts";
import { gate } from "../lib/graph/ops/gate.ts";
import { gatedUnit } from "../lib/graph/ops/gated_unit.ts";
import { lastToken } from "../lib/graph/ops/last_token.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { reshape, swapAxes } from "../lib/graph/ops/layout.ts";
import { crossEntropy } from "../lib/graph/ops/losses.ts";
import { meanPool } from "../lib/graph/ops/mean_pool.ts";
import { linear, matmul } from "../lib/graph/ops/product/product.ts";
import { rmsNorm } from "../lib/graph/ops/rms_norm.ts";
import { rotary, rotaryFrequencies, rotaryTable } from "../lib/graph/ops/rotary.ts";
import { scaleColumns } from "../lib/graph/ops/scale_columns.ts";
import { takeRows } from "../lib/graph/ops/take_rows.ts";
import { writeTokens } from "../lib/graph/ops/write_tokens.ts";
import { opCases } from "../tasks/conformance/op_cases.ts";
import {
  fillSources,
  randomValues,
  relativeError,
  runOnGpu,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { checkOp, hardwareGpu, isAttention, testGpu } from "./support/ops.ts";

const cube = (graph: Graph) => graph.input("cube", [2, 4, 4]);
const noMatrix = /wants a matrix, not \[2, 4, 4\] f32/;

// Attention's are in attention_cases_test.ts.
for (const op of opCases) if (!isAttention(op)) Deno.test(op.name, () => checkOp(op));

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
    const plain = new Gpu(gpu.device, gpu.device.adapterInfo, { ...gpu.traits, subgroupSize: 0 });
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
        out.node.op!.dispatches(out.node, false, { subgroupSize, software: true })[0].kernel;
      assert.match(kernelOn(8).label, /^matmul_subgroup of f32 /);
      assert.match(kernelOn(0).label, /^matmul of f32 /);
      assert.match(kernelOn(32).label, /^matmul of f32 /, "a GPU's subgroups are too wide for its tiles");
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
      const launches = out.node.op!.dispatches(out.node, inPlace, { subgroupSize: 8, software: true });
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

Deno.test("an op refuses u32 where it computes, f32 where it counts, and tensors of another graph", () => {
  const graph = new Graph();
  const [x, ids] = [graph.input("x", [4, 4]), graph.input("ids", [4, 4], "u32")];
  assert.throws(() => add(x, ids), /add at "": input 1 is \[4,4\] u32, and the op reads it as f32/);
  assert.throws(() => matmul(ids, x), /input 0 is \[4,4\] u32, and the op reads it as f32/);
  assert.throws(
    () => dropout(x, x, 0.5),
    /dropout at "": input 1 is \[4,4\] f32, and the op reads it as u32/,
  );
  const other = new Graph().input("y", [4, 4]);
  assert.throws(() => add(x, other), /add at "": input "y" \[4, 4\] f32 is of another graph/);
  assert.throws(() => graph.weight("w", [4, 4], true, "f16"), /"w" is f16, and only f32 weights are trained/);
  assert.throws(() => graph.weight("x", [4, 4], false), /"x" is input \[4, 4\] f32, and asked for as frozen/);
});

Deno.test("a program has outputs, of one graph, and a buffer for each weight", async () => {
  const gpu = await testGpu();
  const options = { label: "it", weights: () => undefined as unknown as BufferView };
  const [x, y] = [new Graph().input("x", [4]), new Graph().weight("y", [4], false)];
  await assert.rejects(compile(gpu, [], options), /it has no outputs: give at least one/);
  await assert.rejects(
    compile(gpu, [x, y], options),
    /it has outputs of two graphs: input "x" .* and frozen "y"/,
  );
  await assert.rejects(compile(gpu, [y], options), /it: `weights` has no buffer for "y"/);
  assert.throws(() => interpretRun([], new Map()), /interpretRun has no outputs/);
});

for (const activation of ["relu", "tanh"] as const) {
  Deno.test(`${activation} of NaN is NaN, alone and in a product: what a broken model says is not to look sound`, async () => {
    for (const device of [await testGpu(), await hardwareGpu()]) {
      for (const width of [3, 4]) {
        const graph = new Graph();
        const x = graph.input("x", [2, width]);
        const outputs = [
          activate(activation, x),
          linear(x, graph.input("W", [width, width]), { activation }),
        ];
        const values: Values = new Map([
          ["x", Float64Array.from({ length: 2 * width }, (_, i) => i === 1 ? NaN : 2 - i)],
          ["W", new Float64Array(width * width).fill(0.5)],
        ]);
        const expected = interpret(outputs, values);
        assert.equal(expected[1].filter(Number.isNaN).length, width);
        for (const [i, actual] of (await runOnGpu(device, outputs, values)).entries()) {
          assert.deepEqual(Array.from(actual, Number.isNaN), Array.from(expected[i], Number.isNaN));
        }
      }
    }
  });
}

Deno.test("causal attention is attention over the tokens so far, a shared key head the same as copies of it", () => {
  const [length, heads, kvHeads, width] = [5, 4, 2, 4];
  const graph = new Graph();
  const q = graph.input("q", [length, heads * width]);
  const lengths = graph.input("lengths", [1], "u32");
  const [k, v, wideK, wideV] = ["k", "v", "wide k", "wide v"].map((name, i) =>
    graph.input(name, [length, (i < 2 ? kvHeads : heads) * width])
  );
  const values: Values = new Map();
  for (const name of ["k", "v"]) {
    const shared = randomValues(name, length * kvHeads * width);
    const copied = Float64Array.from({ length: length * heads * width }, (_, at) => {
      const head = Math.floor(at / width);
      return shared[Math.floor(head / (heads / kvHeads)) * width + at % width];
    });
    values.set(name, shared).set(`wide ${name}`, copied);
  }
  fillSources(graph, values);
  const run = (output: ReturnType<typeof attention>, tokens: number) =>
    interpret([output], new Map(values).set("lengths", Float64Array.of(tokens)))[0];
  const causal = run(attention(q, k, v, lengths, { heads, kvHeads, causal: true, scale: 0.5 }), length);
  const whole = attention(q, wideK, wideV, lengths, { heads, scale: 0.5 });
  for (let token = 0; token < length; token++) {
    const [from, to] = [token * heads * width, (token + 1) * heads * width];
    assert.deepEqual(causal.subarray(from, to), run(whole, token + 1).subarray(from, to));
  }
});

Deno.test("rotary pairs the halves of a head, and products of turned rows depend on their distance only", () => {
  const [length, headDim] = [6, 8];
  const graph = new Graph();
  const inputs = [graph.input("x", [length, headDim]), graph.input("table", [length, headDim])] as const;
  const turned = rotary(...inputs, graph.input("places", [length], "u32"));
  const turn = (row: readonly number[]) => {
    const x = Float64Array.from({ length: length * headDim }, (_, at) => row[at % headDim]);
    const table = Float64Array.from(rotaryTable(length, rotaryFrequencies(headDim)).data);
    const places = Float64Array.from({ length }, (_, place) => place);
    return interpret([turned], new Map([["x", x], ["table", table], ["places", places]]))[0];
  };
  const at = (rows: Float64Array, place: number) => rows.subarray(place * headDim, (place + 1) * headDim);
  const unit = at(turn([1, 0, 0, 0, 0, 0, 0, 0]), 1);
  assert.ok(relativeError(unit, [Math.cos(1), 0, 0, 0, Math.sin(1), 0, 0, 0]) < 1e-6);
  const last = at(turn([0, 0, 0, 1, 0, 0, 0, 0]), 5);
  assert.ok(relativeError(last, [0, 0, 0, Math.cos(0.005), 0, 0, 0, Math.sin(0.005)]) < 1e-6);
  const [q, k] = ["q", "k"].map((name) => turn([...randomValues(name, headDim)]));
  const product = (m: number, n: number) => at(q, m).reduce((sum, value, i) => sum + value * at(k, n)[i], 0);
  assert.ok(Math.abs(product(3, 1) - product(5, 3)) < 1e-6);
  assert.ok(Math.abs(product(3, 1) - product(1, 3)) > 1e-2);
});

Deno.test("an empty dimension is refused", () => {
  const graph = new Graph();
  assert.throws(() => add(graph.input("a", [0, 3]), graph.input("b", [0, 3])), /shape \[0,3\] has an empty/);
});

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

Deno.test("a decoder's ops name what does not fit", () => {
  const graph = new Graph();
  const x = graph.input("x", [4, 6]);
  const lengths = graph.input("lengths", [1], "u32");
  const attend = (kvHeads: number, k: number) => () =>
    attention(
      graph.input("q", [4, 24]),
      graph.input(`k ${k}`, [4, k]),
      graph.input(`v ${k}`, [4, k]),
      lengths,
      { heads: 6, kvHeads, scale: 1 },
    );
  assert.throws(attend(4, 16), /6 query heads cannot share 4 key heads/);
  assert.throws(attend(2, 16), /k \[4, 16\] f32 .* are not the 2 heads of 4 that q \[4, 24\]/);
  assert.throws(() => rmsNorm(x, graph.input("gamma", [4]), 1), /\[4\] f32 does not fit .* \[4, 6\]/);
  assert.throws(
    () => gatedUnit("silu", x, graph.input("up", [4, 5])),
    /\[4, 6\] f32 and \[4, 5\] f32 differ/,
  );
  const places = graph.input("places", [4], "u32");
  assert.throws(() => rotary(x, graph.input("four", [4, 4]), places), /\[4, 6\] f32 are not heads of 4/);
  assert.throws(() => rotary(x, graph.input("odd", [4, 3]), places), /heads of 3, an even size/);
  const q = graph.input("q", [4, 24]);
  const few = graph.input("few", [3], "u32");
  assert.throws(() => rotary(x, graph.input("table", [2, 6]), few), /\[3\] u32 are not one for each row of/);
  assert.throws(() => attention(q, q, q, lengths, { heads: 6, window: 2, scale: 1 }), /of causal attention/);
});

/** Traces an op with tensors of three dimensions where it takes rows, or with others that it would read past their end. */
const misfits: Record<string, readonly [trace: (graph: Graph) => unknown, message: RegExp]> = {
  layerNorm: [
    (graph) => layerNorm(graph.input("x", [4, 8]), graph.input("gamma", [8]), graph.input("beta", [4]), 1),
    /shift \[4\] f32 does not fit the rows of \[4, 8\]/,
  ],
  meanPool: [(graph) => meanPool(cube(graph), graph.input("lengths", [2], "u32")), noMatrix],
  firstToken: [(graph) => firstToken(cube(graph), 2), noMatrix],
  lastToken: [(graph) => lastToken(cube(graph), graph.input("lengths", [2], "u32")), noMatrix],
  compareFeatures: [(graph) => compareFeatures(cube(graph), 1), noMatrix],
  takeRows: [
    (graph) => {
      const rows = graph.input("rows", [2], "u32");
      return takeRows(cube(graph), { rows, places: rows, from: 0, count: 1 });
    },
    noMatrix,
  ],
  rotary: [
    (graph) => rotary(cube(graph), graph.input("table", [2, 4]), graph.input("places", [2], "u32")),
    noMatrix,
  ],
  gate: [(graph) => gate(graph.input("g", [2, 2]), cube(graph), false), noMatrix],
  embedding: [
    (graph) => embedding(graph.input("ids", [1, 2], "u32"), cube(graph), graph.input("positions", [2, 4]), 1),
    noMatrix,
  ],
  boraMix: [
    (graph) => boraMix(graph.input("u", [3, 8]), graph.input("diagonal", [2, 3, 4])),
    /U \[3, 8\] f32 does not fit Σ \[2, 3, 4\]/,
  ],
  crossEntropy: [
    (graph) =>
      crossEntropy(graph.input("x", [4, 6]), graph.input("labels", [8], "u32"), graph.input("w", [8])),
    /logits \[4, 6\] f32, labels \[8\] u32 and weights \[8\] f32 do not fit/,
  ],
  dropout: [
    (graph) => dropout(cube(graph), graph.input("clock", [1], "u32"), 0.5),
    /seed and step are \[1\] u32, not \[2\] u32/,
  ],
  cachedAttention: [
    (graph) => {
      const cache = graph.weight("cache", [4, 8], false, "bf16");
      const options = { texts: 1, heads: 2, kvHeads: 2, scale: 1 };
      const places = graph.input("places", [2], "u32");
      return cachedAttention(graph.input("q", [2, 8]), { keys: cache, values: cache }, places, options);
    },
    /the cache is \[4, 8\] bf16: use f32 or f16/,
  ],
  writeTokens: [
    (graph) => {
      const tokens = graph.weight("tokens", [2, 8], false, "f16");
      const [keys, values] = ["keys", "values"].map((name) => graph.state(name, [4, 8]));
      return writeTokens({ keys, values }, { keys: tokens, values: tokens }, graph.input("at", [1], "u32"));
    },
    /reads \[2, 8\] f16 as f32/,
  ],
};

for (const [name, [trace, message]] of Object.entries(misfits)) {
  Deno.test(`${name} refuses what it would compute wrongly`, () =>
    assert.throws(() => trace(new Graph()), message));
}

Deno.test("no op makes a tensor with an empty, negative or fractional dimension", () => {
  const x = new Graph().input("x", [6]);
  assert.throws(() => reshape(x, [-2, -3]), /reshape at "": would make \[-2, -3\] f32/);
  assert.throws(() => repeatRows(x, 2.5), /repeatRows at "": would make \[2.5, 6\] f32/);
  assert.throws(() => repeatRows(x, 0), /an empty or fractional dimension/);
});

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
