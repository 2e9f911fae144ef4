/** Adapters as plain LoRAs: exactly where their update factors, and otherwise the nearest by singular values. */

import assert from "node:assert/strict";
import { type Adapter, attach, type AttachOptions } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import type { Method } from "../lib/adapters/method.ts";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { methodByName, methods } from "../lib/adapters/registry.ts";
import { constantWeights, startingWeights } from "../lib/adapters/starting_weights.ts";
import { nearestFactors } from "../lib/analysis/low_rank.ts";
import { bestLowRankError, singularValues } from "../lib/analysis/spectrum.ts";
import { interpretedUpdates } from "../lib/analysis/updates.ts";
import { streamOf, uniform } from "../lib/graph/random.ts";
import { plainHead, type Weight } from "../lib/models/model.ts";
import { packModel } from "../lib/models/packing.ts";
import { type LoraExport, toLora } from "../lib/train/to_lora.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { testGpu } from "./support/ops.ts";
import { attachPooled } from "./support/pool.ts";

const model = tinyEncoder();
const target = ["query", "ffn_in"];
const exact = methods.filter(({ halves }) => halves);
const inexact = methods.filter(({ halves, mergeable, peft }) => mergeable && !halves && peft);

/** Values of every trained tensor, none of them as it starts; of ReLoRA, the base that restarts have left as well. */
function trainedWeights(adapter: Adapter): Map<string, Weight> {
  const grown = adapter.method.restarts
    ? adapter.modules.map(({ module: { path } }): [string, Weight] => [
      `${path}.weight`,
      model.weights.get(`${path}.weight`)!,
    ])
    : [];
  return new Map(
    [...startingWeights(model, adapter, 3), ...grown].map(([name, { shape, data }]) => {
      const shift = uniform(7, streamOf(`moved ${name}`), data.length, 0.3);
      return [name, { shape, data: data.map((value, i) => value + shift[i]) }];
    }),
  );
}

/** Every layer's ΔW in float64, one after the other. */
function updatesOf(adapter: Adapter, weights: ReadonlyMap<string, Weight>): Map<string, Float64Array> {
  const all = new Map([...constantWeights(model, adapter), ...weights]);
  const updates = interpretedUpdates(model, adapter, all);
  return new Map([...updates].map(([path, { values }]) => [path, values]));
}

const flat = (updates: ReadonlyMap<string, Float64Array>) => [...updates.values()].flatMap((own) => [...own]);

const exportOf = async (adapter: Adapter, weights: ReadonlyMap<string, Weight>, rank?: number) =>
  await toLora({ gpu: await testGpu(), model, adapter, weights, rank });

/** That the export is a plain LoRA of scale 1, and computes what the adapter computes. */
function checkSame({ adapter, weights, rank, errors }: LoraExport, expected: Map<string, Float64Array>) {
  assert.equal(adapter.method, lora);
  assert.deepEqual(adapter.options, { r: rank, alpha: rank, dropout: 0 });
  assert.equal(errors, undefined);
  const found = updatesOf(adapter, weights);
  assert.deepEqual([...found.keys()], [...expected.keys()]);
  const error = relativeError(flat(found), flat(expected));
  assert.ok(error < 1e-6, `relative error ${error}`);
}

Deno.test("these methods are LoRAs of another rank; a new method is one if it has halves", () => {
  assert.deepEqual(exact.map(({ name }) => name), [
    "LoRA",
    "rsLoRA",
    "MELoRA",
    "GraLoRA",
    "VeRA",
    "BoRA",
    "BoRA without Exp",
    "BoRA without Norm",
    "BoRA banded Σ",
    "BoRA dense Σ",
  ]);
});

/** The options of methods where r and b are chosen, and the rank that these make. */
const ranks: Readonly<Record<string, readonly [options: object, rank: number][]>> = {
  LoRA: [[{ r: 3, alpha: 5 }, 3]],
  rsLoRA: [[{ r: 4, alpha: 5 }, 4]],
  MELoRA: [[{ r: 2, blocks: 4 }, 8], [{ r: 2, blocks: "auto" }, 8]],
  GraLoRA: [[{ r: 4, blocks: 4 }, 16], [{ r: 4, blocks: 2 }, 8]],
  // Wider than the layer: the update itself is one of the factors.
  VeRA: [[{ r: 24 }, 16], [{ r: 6 }, 6]],
  BoRA: [[{ r: 2, blocks: 4 }, 8], [{ r: 3, blocks: 8 }, 16], [{ r: 3, blocks: "auto" }, 12]],
};

for (const method of exact) {
  for (const [options, rank] of ranks[method.name] ?? [[{ r: 3, blocks: 4 }, 12]]) {
    Deno.test(`${method.name} with ${JSON.stringify(options)} is a LoRA of rank ${rank}`, async () => {
      const adapter = attachPooled(model, method, target, { ...options, dropout: 0 });
      const weights = trainedWeights(adapter);
      const exported = await exportOf(adapter, weights);
      assert.equal(exported.rank, rank);
      checkSame(exported, updatesOf(adapter, weights));
    });
  }
}

for (const method of inexact) {
  Deno.test(`${method.name}: of a rank that is given, the nearest LoRA, and how far it is`, async () => {
    const adapter = attachPooled(model, method, target, { dropout: 0 });
    const weights = trainedWeights(adapter);
    await assert.rejects(
      exportOf(adapter, weights),
      (error: Error) => error.message.startsWith(`${method.name}'s update is no LoRA: give a rank`),
    );
    const exported = await exportOf(adapter, weights, 3);
    const [own, theirs] = [updatesOf(exported.adapter, exported.weights), updatesOf(adapter, weights)];
    const squares = [...theirs].map(([path, update]) => {
      const error = update.reduce((sum, value, i) => sum + (value - own.get(path)![i]) ** 2, 0);
      const all = update.reduce((sum, value) => sum + value ** 2, 0);
      const { m, n } = adapter.modules.find(({ module }) => module.path === path)!.module;
      const best = Math.sqrt(bestLowRankError(singularValues(update, m, n), 3));
      assert.ok(Math.abs(exported.errors!.layers.get(path)! - Math.sqrt(error / all)) < 1e-5, path);
      assert.ok(Math.abs(exported.errors!.layers.get(path)! - best) < 1e-5, path);
      return [error, all];
    });
    const [error, all] = [0, 1].map((i) => squares.reduce((sum, own) => sum + own[i], 0));
    assert.ok(Math.abs(exported.errors!.whole - Math.sqrt(error / all)) < 1e-5);
    assert.ok(exported.errors!.whole > 0.1, "a rank that gives all of it would show nothing");
    assert.deepEqual(exported.errors!.leftOut, []);
  });
}

Deno.test("a rank is also taken of updates that are LoRAs, of a lower one and of a higher", async () => {
  const adapter = attachPooled(model, methodByName("BoRA"), target, { r: 2, blocks: 4 });
  const weights = trainedWeights(adapter);
  const [lower, higher] = [await exportOf(adapter, weights, 4), await exportOf(adapter, weights, 12)];
  assert.ok(lower.errors!.whole > 0.05, String(lower.errors!.whole));
  assert.ok(higher.errors!.whole < 1e-6, String(higher.errors!.whole));
  const update = flat(updatesOf(adapter, weights));
  assert.ok(relativeError(flat(updatesOf(higher.adapter, higher.weights)), update) < 1e-6);
});

Deno.test("full fine-tuning: the nearest LoRA, and what no LoRA holds counts as lost", async () => {
  const adapter = attach(model, methodByName("Full fine-tuning"), { target });
  const weights = trainedWeights(adapter);
  const { errors, weights: own } = await exportOf(adapter, weights, 16);
  assert.deepEqual(
    [...own.keys()].toSorted(),
    target.map((name) => name.replace("_", ".")).flatMap((path) => [`${path}.A`, `${path}.B`]).toSorted(),
  );
  assert.ok([...errors!.layers.values()].every((error) => error < 1e-6), "rank 16 gives all of these layers");
  const leftOut = [...model.weights.keys()].filter((name) => !/^(query|ffn\.in)\.weight$/.test(name));
  assert.deepEqual([...errors!.leftOut].toSorted(), leftOut.toSorted());
  const change = (names: Iterable<string>) =>
    [...names].reduce((sum, name) => {
      const [before, after] = [model.weights.get(name)!.data, weights.get(name)!.data];
      return after.reduce((total, value, i) => total + (value - before[i]) ** 2, sum);
    }, 0);
  const expected = Math.sqrt(change(leftOut) / change(model.weights.keys()));
  assert.ok(Math.abs(errors!.whole - expected) < 1e-6, `${errors!.whole}, ${expected}`);
});

Deno.test("methods that depend on the input, methods without an update and ranks that do not fit are refused by name", async () => {
  const refused = async (name: string, message: RegExp, rank?: number) => {
    const adapter = attachPooled(model, methodByName(name), target);
    await assert.rejects(exportOf(adapter, trainedWeights(adapter), rank), { message });
  };
  await refused("HydraLoRA", /^HydraLoRA cannot be exported as a LoRA: its update depends on the input/);
  await refused("MoELoRA", /^MoELoRA cannot be exported as a LoRA: its update depends on the input/, 8);
  await refused("Head only", /^Head only changes no layer/);
  await refused("DoRA", /^rank 17 does not fit query \(16×16\): use a whole number from 1 to 16/, 17);
  await refused("DoRA", /^rank 1.5 does not fit query/, 1.5);
});

Deno.test("weights that are not the adapter's, or give no finite LoRA, are refused, as AdaptedModel refuses them", async () => {
  const adapter = attach(model, lora, { r: 2, alpha: 16, target });
  const refused = async (name: string, weight: Weight, message: RegExp, rank?: number) => {
    const weights = new Map(trainedWeights(adapter)).set(name, weight);
    await assert.rejects(exportOf(adapter, weights, rank), { message });
  };
  const filled = (value: number, ...shape: number[]): Weight => ({
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
  });
  await refused("query.B", filled(NaN, 16, 2), /^"query\.B" holds values that are not finite/);
  await refused("query.B", filled(NaN, 16, 2), /^"query\.B" holds values that are not finite/, 1);
  // The LoRA's B holds the scale α/r = 8 as well.
  await refused("query.B", filled(1e38, 16, 2), /^"query\.B" holds values that are not finite/);
  await refused("query.B", filled(1, 16, 3), /^"query\.B" is \[16,3\], and the adapter's is \[16,2\]/);
  await refused("key.B", filled(1, 16, 2), /^"key\.B" is no tensor of this LoRA/);
  const other = { ...model, name: "other", linears: model.linears.slice(1) };
  await assert.rejects(
    toLora({ gpu: await testGpu(), model: other, adapter, weights: trainedWeights(adapter) }),
    { message: /the adapter is on "query", and other has no such layer/ },
  );
});

Deno.test("a saved folder keeps the head and the modules trained beside it, loads as LoRA, and is packed bases' as well", async () => {
  const adapter = attach(model, methodByName("BoRA"), {
    ...{ r: 2, blocks: 4, target, modulesToSave: ["norm"] },
  } as AttachOptions);
  const { projection } = plainHead;
  const ofHead: [string, Weight][] = [
    [`${projection}.weight`, { shape: [3, 16], data: uniform(1, 2, 48, 1) }],
    [`${projection}.bias`, { shape: [3], data: uniform(1, 3, 3, 1) }],
  ];
  const weights = new Map([...trainedWeights(adapter), ...ofHead]);
  const exported = await exportOf(adapter, weights);
  for (const name of [...ofHead.map(([name]) => name), "norm.weight", "norm.bias"]) {
    assert.equal(exported.weights.get(name), weights.get(name), name);
  }
  const folder = await Deno.makeTempDir();
  await saveAdapter(folder, model, exported.adapter, exported.weights);
  const config = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
  const { peft_type, r, lora_alpha, use_rslora, target_modules, rank_pattern } = config;
  assert.deepEqual(
    { peft_type, r, lora_alpha, use_rslora, target_modules, rank_pattern },
    {
      ...{ peft_type: "LORA", r: 8, lora_alpha: 8, use_rslora: false },
      ...{ target_modules: ["ffn.in", "query"], rank_pattern: {} },
    },
  );
  const again = await loadAdapter(folder, model);
  assert.equal(again.adapter.method, lora);
  assert.deepEqual([...again.weights].toSorted(), [...exported.weights].toSorted());
  const packed = packModel(model, "int8");
  const onPacked = attach(packed, methodByName("BoRA") as Method, { ...{ r: 2, blocks: 4 }, target });
  const same = new Map([...weights].filter(([name]) => onPacked.parameters.has(name)));
  const ofPacked = await toLora({ gpu: await testGpu(), model: packed, adapter: onPacked, weights: same });
  for (const [name, weight] of ofPacked.weights) assert.deepEqual(weight, exported.weights.get(name), name);
});

Deno.test("the nearest factors of wide, tall, empty and low-rank matrices", () => {
  const random = (m: number, n: number) => Float64Array.from(uniform(1, m * 100 + n, m * n, 1));
  for (const [m, n] of [[5, 9], [9, 5], [6, 6], [1, 4], [4, 1]]) {
    const matrix = random(m, n);
    for (const rank of [1, 3, 20]) {
      const { A, B, rank: k, squaredError, sumOfSquares } = nearestFactors(matrix, m, n, rank);
      assert.equal(k, Math.min(rank, m, n));
      const product = matrix.map((_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        return Array.from({ length: k }, (_, l) => B[i * k + l] * A[l * n + j]).reduce((a, b) => a + b, 0);
      });
      const distance = matrix.reduce((sum, value, i) => sum + (value - product[i]) ** 2, 0);
      const best = bestLowRankError(singularValues(matrix, m, n), rank);
      assert.ok(Math.abs(squaredError - distance) < 1e-12);
      assert.ok(Math.abs(squaredError / sumOfSquares - best) < 1e-6, `${m}×${n}, rank ${rank}`);
    }
  }
  const zero = nearestFactors(new Float64Array(12), 3, 4, 2);
  assert.deepEqual([zero.rank, zero.squaredError, zero.sumOfSquares], [0, 0, 0]);
  // Of rank 1: the other directions are rounding at most.
  const oneRow = Float64Array.from({ length: 12 }, (_, at) => at < 4 ? 1 + at : 0);
  assert.ok(nearestFactors(oneRow, 3, 4, 3).squaredError < 1e-12);
  assert.throws(() => nearestFactors(oneRow, 3, 4, 0), /rank 0 is not a whole number/);
});
