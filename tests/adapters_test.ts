/** Properties that must hold for every method, and how BoRA relates to LoRA and MELoRA. */

import assert from "node:assert/strict";
import { type Adapter, attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { expand, project } from "../lib/adapters/block_products.ts";
import { resolveBlocks } from "../lib/adapters/blocks.ts";
import { bora } from "../lib/adapters/bora.ts";
import { initialise } from "../lib/adapters/initialise.ts";
import { krona } from "../lib/adapters/krona.ts";
import { lora } from "../lib/adapters/lora.ts";
import { melora } from "../lib/adapters/melora.ts";
import { tracedMerge } from "../lib/adapters/merge.ts";
import type { LowRankOptions, Method } from "../lib/adapters/method.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { constantWeights, startingWeights } from "../lib/adapters/starting_weights.ts";
import { selectModules } from "../lib/adapters/targeting.ts";
import { tracer } from "../lib/adapters/trace.ts";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { boraMix, boraSigma } from "../lib/graph/ops/bora.ts";
import { type Model, plainHead, type Weight } from "../lib/models/model.ts";
import { classification } from "../lib/objectives/classification.ts";
import { traceStep } from "../lib/run/step.ts";
import {
  fillSources,
  randomValues,
  relativeError,
  runOnGpu,
  type Values,
} from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { checkByDifferences, testGpu } from "./support/ops.ts";
import { attachPooled } from "./support/pool.ts";

const model = tinyEncoder();
const target = ["query", "value", "ffn_in"];
const attachTiny = (method: Method, changes: object = {}) => attachPooled(model, method, target, changes);
const objective = (model: Model) => classification.of(model, { texts: 1, classes: 3 });
const [examples, length] = [3, 7];

/**
 * The inputs of the step and the weights of model, adapter and head; with `fresh` the adapter has its
 * starting values.
 */
function valuesFor(adapter: Adapter, fresh: boolean): Values {
  const values: Values = new Map([
    ["ids", Float64Array.from({ length: examples * length }, (_, i) => (i * 5) % 11)],
    ["lengths", Float64Array.of(7, 4, 1)],
    ["labels", Float64Array.of(2, 0, 1)],
    ["weights", Float64Array.of(1, 1, 0.5)],
    ["clock", Float64Array.of(5, 9)],
  ]);
  for (const [name, { data }] of [...model.weights, ...model.constants]) {
    values.set(name, Float64Array.from(data));
  }
  for (const [name, { data }] of constantWeights(model, adapter)) values.set(name, Float64Array.from(data));
  const headStart = [...objective(model).parameters].map(
    ([name, spec]): [string, Weight] => [name, initialise(name, spec, 3)],
  );
  for (const [name, { data }] of [...startingWeights(model, adapter, 3), ...headStart]) {
    const shift = randomValues(name, data.length, 0.3);
    values.set(name, Float64Array.from(data, (value, i) => fresh ? value : value + shift[i]));
  }
  return values;
}

for (const method of methods) {
  const adapter = attachTiny(method);

  Deno.test(`${method.name}: loss and every gradient on the GPU, against the interpreter and finite differences`, async () => {
    const { graph, losses, loss, predictions } = traceStep(model, adapter, objective(model), {
      examples,
      length,
      rows: 0,
    }, true);
    const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
    const outputs = [predictions, loss, ...grad(losses, targets)];
    const values = valuesFor(adapter, false);
    const expected = interpret(outputs, values);
    const actual = await runOnGpu(await testGpu(), outputs, values);
    const floor = 1e-3 *
      Math.max(...expected.slice(2).map((gradient) => Math.max(...gradient.map(Math.abs))));
    outputs.forEach((tensor, i) => {
      const error = relativeError(actual[i], expected[i], floor);
      assert.ok(error < 1e-4, `output ${i} [${tensor.shape}]: relative error ${error}`);
    });
    targets.forEach((target, i) => checkByDifferences(loss, target, expected[i + 2], values, floor));
  });

  Deno.test(`${method.name}: all that is trained gets a gradient`, () => {
    const { graph } = traceStep(model, adapter, objective(model), { examples, length, rows: 0 }, true);
    const traced = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.name).sort();
    const named = [...adapter.parameters.keys(), ...objective(model).parameters.keys()];
    assert.deepEqual(traced, (method.trainsBase ? [...named, ...model.weights.keys()] : named).sort());
  });

  Deno.test(`${method.name}: a fresh adapter leaves the predictions bit-equal`, async () => {
    const predict = async (adapter: Adapter) => {
      const { predictions } = traceStep(
        model,
        adapter,
        objective(model),
        { examples, length, rows: 0 },
        false,
      );
      return (await runOnGpu(await testGpu(), [predictions], valuesFor(adapter, true)))[0];
    };
    const [fresh, base] = [await predict(adapter), await predict(attachTiny(headOnly))];
    // A row's norm divided by itself need not be 1 to the last bit.
    if (method.name.startsWith("DoRA")) assert.ok(relativeError(fresh, base) < 1e-6);
    else assert.deepEqual(fresh, base);
  });

  if (method.mergeable) {
    Deno.test(`${method.name}: merged = unmerged forward`, async () => {
      const values = valuesFor(adapter, false);
      const { predictions } = traceStep(
        model,
        adapter,
        objective(model),
        { examples, length, rows: 0 },
        false,
      );
      const [unmerged] = await runOnGpu(await testGpu(), [predictions], values);
      const before = values.get("query.weight")!;
      for (const [path, merged] of await mergedWeights(adapter, values)) values.set(path, merged);
      const plain = traceStep(
        model,
        attachTiny(headOnly),
        objective(model),
        { examples, length, rows: 0 },
        false,
      );
      const [expected] = await runOnGpu(await testGpu(), [plain.predictions], values);
      assert.ok(relativeError(unmerged, expected) < 1e-5);
      if (method.peft) {
        assert.ok(relativeError(values.get("query.weight")!, before) > 1e-2, "the update is not small");
      }
    });
  } else {
    Deno.test(`${method.name}: merging is refused`, () => {
      const graph = new Graph();
      const identity = graph.input("identity", [16, 16]);
      assert.throws(
        () => tracedMerge(graph, adapter, adapter.modules[0], identity),
        /cannot be merged.*depends on the input/,
      );
    });
  }
}

/** Merged weights of every adapted layer, computed on the GPU. */
async function mergedWeights(adapter: Adapter, values: Values): Promise<Map<string, Float64Array>> {
  const result = new Map<string, Float64Array>();
  for (const adapted of adapter.modules) {
    const { path, n } = adapted.module;
    const graph = new Graph();
    const merged = tracedMerge(graph, adapter, adapted, graph.input("identity", [n, n]));
    const identity = Float64Array.from({ length: n ** 2 }, (_, i) => Number(i % (n + 1) === 0));
    const own = new Map(values).set("identity", identity);
    result.set(`${path}.weight`, (await runOnGpu(await testGpu(), [merged], own))[0]);
  }
  return result;
}

/** Output of one adapted 16×16 layer in float64, for given A, B and σ. */
function layerOutput(method: Method, parameters: Values, alpha: number, blocks: number): Float64Array {
  const graph = new Graph();
  const adapter = attachTiny(method, { alpha, blocks });
  const lengths = graph.input("lengths", [1], "u32");
  const y = tracer(graph, model, adapter, { lengths }).linear("query", graph.input("x", [5, 16]));
  const values: Values = new Map([...parameters].map(([name, value]) => [`query.${name}`, value]));
  for (const name of ["query.weight", "query.bias"]) {
    values.set(name, Float64Array.from(model.weights.get(name)!.data));
  }
  fillSources(graph, values);
  return interpret([y], values)[0];
}

const A = randomValues("A", 4 * 16);
const B = randomValues("B", 16 * 4);

Deno.test("BoRA with a constant σ has Σ = e and equals LoRA with α·e", () => {
  const sigma = new Float64Array(4 * 4 * 4).fill(0.3);
  const lhs = layerOutput(bora, new Map([["A", A], ["B", B], ["sigma", sigma]]), 6, 4);
  const rhs = layerOutput(lora, new Map([["A", A], ["B", B]]), 6 * Math.E, 4);
  assert.ok(relativeError(lhs, rhs) < 1e-12);
});

Deno.test("BoRA's products with Σ = I equal LoRA's, with the block-diagonal 0/1 Σ MELoRA's", () => {
  const outputWith = (diagonal: (j: number, k: number) => number) => {
    const graph = new Graph();
    const u = project(graph.input("x", [5, 16]), graph.weight("A", [4, 16], true), 4);
    const y = expand(
      boraMix(u, graph.input("diagonal", [4, 4, 4])),
      graph.weight("B", [16, 4], true),
      4,
      1.5,
    );
    const values: Values = new Map([["A", A], ["B", B]]);
    values.set(
      "diagonal",
      Float64Array.from({ length: 64 }, (_, i) => diagonal(Math.floor(i / 16), Math.floor(i / 4) % 4)),
    );
    fillSources(graph, values);
    return interpret([y], values)[0];
  };
  const withoutBase = (method: Method) => {
    const full = layerOutput(method, new Map([["A", A], ["B", B]]), 6, 4);
    const base = layerOutput(method, new Map([["A", A], ["B", new Float64Array(64)]]), 6, 4);
    return full.map((value, i) => value - base[i]);
  };
  assert.ok(relativeError(outputWith(() => 1), withoutBase(lora)) < 1e-12);
  assert.ok(relativeError(outputWith((j, k) => Number(j === k)), withoutBase(melora)) < 1e-12);
});

Deno.test("⟨dσ, σ⟩ = 0, and σ → cσ changes nothing", () => {
  const graph = new Graph();
  const sigma = graph.weight("sigma", [4, 4, 4], true);
  const out = boraSigma(sigma, { exp: true, norm: true });
  const seed = graph.input("seed", [4, 4, 4]);
  const [dSigma] = out.node.op!.derivative!(out.node, [seed]) as [Tensor];
  const values: Values = new Map();
  fillSources(graph, values);
  const [diagonal, gradient] = interpret([out, dSigma], values);
  const norm = Math.hypot(...gradient) * Math.hypot(...values.get("sigma")!);
  const inner = gradient.reduce((sum, value, i) => sum + value * values.get("sigma")![i], 0);
  assert.ok(Math.abs(inner) / norm < 1e-14, `⟨dσ, σ⟩ = ${inner}`);
  assert.ok(norm > 1e-3);
  const scaled =
    interpret([out], new Map(values).set("sigma", values.get("sigma")!.map((value) => 7 * value)))[0];
  assert.ok(relativeError(scaled, diagonal) < 1e-14);
});

Deno.test("blocks: auto takes the largest common divisor ≤ ⌊√n⌋; a number that does not divide is refused with the nearest", () => {
  const layer = (m: number, n: number) => ({ path: "layer", target: "query", role: "query", m, n }) as const;
  assert.equal(resolveBlocks(layer(768, 768), "auto"), 24);
  assert.equal(resolveBlocks(layer(1024, 4096), "auto"), 64);
  assert.equal(resolveBlocks(layer(7, 13), "auto"), 1);
  assert.throws(
    () => resolveBlocks(layer(768, 768), 27),
    /blocks 27 do not divide layer \(m = 768, n = 768\): use 24 or 32/,
  );
});

Deno.test("attach refuses what does not fit and says what to change", () => {
  assert.throws(
    () => attach(model, bora, { r: 17, blocks: 4, target }),
    /rank 17 does not fit query \(16×16\).*1 to 16/,
  );
  assert.throws(
    () => attach(model, methodByName("MELoRA"), { r: 8, blocks: 4, target } as AttachOptions),
    /rank 8 does not fit query \(16×16\).*1 to 4$/,
  );
  assert.throws(() => attach(model, lora, { r: 0, target }), /rank 0 does not fit query.*number from 1$/);
  assert.throws(
    () => attach(model, lora, { target: ["q_proj"] }),
    /no target module "q_proj"; it has query, key/,
  );
  assert.throws(() => attach(model, lora, { target: /^decoder/ }), /matches no layer of tiny/);
  assert.throws(() => attach(model, bora, { blocks: 5, target }), /blocks 5 do not divide query/);
  const odd = (options: object) => () => attach(model, bora, { target, blocks: 4, ...options });
  assert.throws(odd({ r: 2.5 }), /rank 2\.5 does not fit/);
  assert.throws(odd({ r: "eight" }), /BoRA: r is "eight"; give a number/);
  assert.throws(odd({ alpha: "auto" }), /alpha is "auto"; give a number/);
  assert.throws(odd({ blocks: "half" }), /BoRA: blocks is "half"; give a number or "auto"$/);
  assert.throws(odd({ blocks: NaN }), /BoRA: blocks is NaN; give a number or "auto"$/);
  assert.throws(() => attach(model, krona, { r: 0, target }), /rank 0: use a whole number from 1/);
  assert.throws(
    () => attach(model, methodByName("MoELoRA"), { target, balance: -0.1 } as AttachOptions),
    /balance -0\.1: use a number from 0; 0 turns the load-balance loss off/,
  );
  const unscaled = /alpha \S+: .*: use a number other than 0 that a float32 holds/;
  for (const alpha of [0, 1e-50, 1e39]) assert.throws(odd({ alpha }), unscaled);
  assert.throws(odd({ alphaPattern: { query: 0 } }), unscaled);
  for (const method of methods.filter(({ defaults }) => "alpha" in defaults)) {
    const options = { target, r: 4, alpha: 0 } as AttachOptions;
    assert.throws(() => attach(model, method, options), unscaled, method.name);
  }
  assert.throws(
    () => attach(model, methodByName("VeRA"), { target, dInitial: 0 } as AttachOptions),
    /dInitial 0: .*use another number/,
  );
  for (const restartWarmup of [-1, 0.5, 1001]) {
    assert.throws(
      () => attach(model, methodByName("ReLoRA"), { target, restartWarmup } as AttachOptions),
      /restartWarmup \S+: use a whole number of steps from 0 to every \(1000\)/,
    );
  }
  assert.throws(odd({ dropout: NaN }), /BoRA: dropout is NaN; give a number/);
  assert.throws(odd({ dropout: 1 }), /dropout 1 is not in \[0, 1\)/);
  assert.throws(odd({ blocks: 0 }), /blocks 0 do not divide query.*use 1/);
  assert.throws(
    odd({ experts: 2 }),
    /BoRA has no option "experts"; it has r, alpha, dropout, blocks, sigmaFan/,
  );
  for (const sigmaFan of ["m", "toString"]) {
    assert.throws(odd({ sigmaFan }), new RegExp(`sigmaFan "${sigmaFan}": use "br", "r" or "n"`));
  }
  assert.throws(odd({ layers: [] }), /layers is empty/);
  for (const layer of [0, 1, "0"]) {
    const why = new RegExp(
      `layers is ${JSON.stringify(layer)}: give a list of layers' numbers, such as \\[0, 1\\]`,
    );
    assert.throws(odd({ layers: layer }), why);
  }
  assert.throws(
    odd({ modulesToSave: "norm" }),
    /modulesToSave is "norm": give a list of names, such as \["norm"\]/,
  );
  assert.throws(odd({ layers: [3] }), /has no layer 3 with these targets: no layer has a number$/);
  assert.throws(odd({ layers: [-1] }), /has no layer -1 with these targets: no layer has a number$/);
  for (const patterns of [2, "query", [2], new Map([["query", 2]])]) {
    const why = "give an object of numbers by names of layers, such as \\{ query: 4 \\}";
    assert.throws(odd({ rankPattern: patterns }), new RegExp(`^Error: rankPattern is .*: ${why}`));
    assert.throws(odd({ alphaPattern: patterns }), new RegExp(`^Error: alphaPattern is .*: ${why}`));
  }
  assert.throws(odd({ rankPattern: { "ffn.up": 2 } }), /the pattern "ffn\.up" for r matches none/);
  assert.throws(odd({ rankPattern: { "(": 2 } }), /the pattern "\(" for r is not a regular expression/);
  assert.throws(odd({ rankPattern: { query: 2.5 } }), /rank 2\.5 does not fit query/);
  assert.throws(odd({ alphaPattern: { query: "8" } }), /alpha is "8"; give a number/);
  assert.throws(
    () => attach(model, krona, { target, alphaPattern: { query: NaN } }),
    /KronA: alpha is NaN; give a number/,
  );
  assert.throws(
    () => attach(model, methodByName("HiRA"), { target, alphaPattern: { query: 8 } }),
    /HiRA has no option "alpha"/,
  );
  assert.throws(odd({ modulesToSave: ["pooler"] }), /no module "pooler" to train and save/);
  assert.throws(
    () => attach(model, lora, { target: ["query"], modulesToSave: ["query"] }),
    /every layer that target selects is in modulesToSave \(query\) and trained whole: take one of them out/,
  );
  const untyped = (target: unknown) => () => attach(model, lora, { target } as AttachOptions<LowRankOptions>);
  assert.throws(untyped("query"), /target is "query": give a list of names such as \["query"\]/);
  assert.throws(untyped(undefined), /target is undefined: give a list/);
  assert.throws(() => methodByName("lorra"), /no method "lorra"; have Head only/);
});

Deno.test("names, ends of paths and all-linear select; a regular expression may carry the g flag", () => {
  const paths = (target: AttachOptions["target"]) =>
    attach(model, lora, { target }).modules.map(({ module }) => module.path);
  assert.deepEqual(paths(["ffn.in"]), ["ffn.in"]);
  assert.deepEqual(paths("all-linear"), ["query", "key", "value", "ffn.in", "ffn.out"]);
  assert.deepEqual(paths(/^(query|value)$/g), ["query", "value"]);
});

Deno.test("layers are counted as PEFT does: the first number after a part that is not the first; or the path's beginning", () => {
  const paths = [
    "layer.0.query",
    "encoder.layer.1.query",
    "layers.0.experts.1.up",
    "model.layers.0.experts.2.up",
    "pooler.query",
  ];
  const linears = paths.map((path) => ({
    path,
    target: path.split(".").at(-1)!,
    role: "other" as const,
    m: 16,
    n: 16,
  }));
  const chosen = (layers: readonly number[]) =>
    selectModules({ name: "deep", linears, head: plainHead }, { target: "all-linear", layers }).map((
      { path },
    ) => path);
  assert.deepEqual(chosen([0]), [paths[0], paths[3]]);
  assert.deepEqual(chosen([1]), [paths[1], paths[2]]);
  assert.throws(() => chosen([-1]), /deep has no layer -1 with these targets; it has 0, 1$/);
});

Deno.test("a regular expression selects by path", () => {
  const adapter = attach(model, lora, { target: /^ffn\./ });
  assert.deepEqual(adapter.modules.map(({ module }) => module.path), ["ffn.in", "ffn.out"]);
});
