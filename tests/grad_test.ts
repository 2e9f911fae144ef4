/** What `grad` differentiates, against finite differences, and what it refuses because a gradient would be lost. */

import assert from "node:assert/strict";
import { grad } from "../lib/graph/grad.ts";
import { Graph, type Tensor } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { activate } from "../lib/graph/ops/activation.ts";
import { add, multiply } from "../lib/graph/ops/binary.ts";
import { columnSum, repeatRows } from "../lib/graph/ops/column_sum.ts";
import { embedding } from "../lib/graph/ops/embedding.ts";
import { layerNorm } from "../lib/graph/ops/layer_norm.ts";
import { crossEntropy, meanSquaredError, weightOfLoss } from "../lib/graph/ops/losses.ts";
import { linear, matmul } from "../lib/graph/ops/product/product.ts";
import { rotary } from "../lib/graph/ops/rotary.ts";
import { scaleColumns } from "../lib/graph/ops/scale_columns.ts";
import { sumOfSquares } from "../lib/graph/ops/sum_of_squares.ts";
import { vocabularyLoss, type VocabularyPiece } from "../lib/graph/ops/vocabulary_loss.ts";
import { fillSources, type Values } from "../tasks/conformance/op_errors.ts";
import { checkByDifferences } from "./support/ops.ts";

/** The tensors that a case may train, by name. */
const trained = (graph: Graph) =>
  graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);

/** Checks the gradients of a sum of losses by every trained weight. */
function checkGradients(graph: Graph, losses: readonly Tensor[], given: Record<string, number[]> = {}): void {
  const targets = trained(graph);
  const gradients = grad(losses, targets);
  assert.deepEqual(gradients.map(({ shape }) => shape), targets.map(({ shape }) => shape));
  const values: Values = new Map(
    Object.entries(given).map(([name, data]) => [name, Float64Array.from(data)]),
  );
  fillSources(graph, values);
  const sum = losses.reduce((sum, loss) => add(sum, loss));
  const computed = interpret(gradients, values);
  targets.forEach((target, i) => checkByDifferences(sum, target, computed[i], values));
}

/** The loss of six rows' next tokens. */
function tokenLoss(graph: Graph, parts: readonly Tensor[], pieces: readonly VocabularyPiece[]) {
  const labels = graph.input("labels", [6], "u32");
  return vocabularyLoss(parts, pieces, { labels, weights: graph.input("weights", [6]), limit: 8 });
}

const ofTokens = { labels: [0, 1, 5, 2, 2, 7], weights: [1, 0.5, 0, 2, 1, 1] };

Deno.test("a tensor that is several parts of a vocabulary's rows has the gradient of each of them", () => {
  const graph = new Graph();
  const x = graph.weight("x", [3, 4], true);
  const weight = graph.weight("W", [8, 4], true);
  checkGradients(graph, [tokenLoss(graph, [x, x], [{ weight, first: 0 }]).loss], ofTokens);
});

Deno.test("a vocabulary's pieces that are computed have gradients, one of them twice too", () => {
  const graph = new Graph();
  const x = graph.input("x", [6, 4]);
  const head = scaleColumns(graph.input("W", [4, 4]), graph.weight("scale", [4], true));
  const { loss } = tokenLoss(graph, [x], [{ weight: head, first: 0 }, { weight: head, first: 4 }]);
  checkGradients(graph, [loss, sumOfSquares(head, 0.1)], ofTokens);
});

const rows: Record<string, (row: Tensor, x: Tensor) => Tensor> = {
  "scaled columns": (row, x) => scaleColumns(x, row, { shift: row }),
  "a layer norm": (row, x) => layerNorm(x, row, row, 0.1),
  "a bias": (row, x) => matmul(x, x, { bias: row }),
  "repeated rows": (row) => repeatRows(row, 3),
};

for (const [name, of] of Object.entries(rows)) {
  Deno.test(`${name}: a row given as a matrix has a gradient of its own shape`, () => {
    const graph = new Graph();
    const row = graph.weight("row", [1, 4], true);
    const x = graph.input("x", [4, 4]);
    checkGradients(graph, [sumOfSquares(of(activate("tanh", row), x), 0.5), sumOfSquares(row, 0.1)]);
  });
}

Deno.test("what a gradient would not reach is refused: a loss's targets and weights, constants that are trained", () => {
  const graph = new Graph();
  const w = graph.weight("w", [4, 4], true);
  const [x, ids] = [graph.input("x", [4, 4]), graph.input("ids", [1, 4], "u32")];
  const sixteen = graph.input("sixteen", [16]);
  const refused = (loss: Tensor, message: RegExp) => assert.throws(() => grad([loss], [w]), message);
  const y = linear(x, w);
  refused(
    meanSquaredError(y, activate("tanh", y), sixteen),
    /meanSquaredError at "" has no gradient for its input 1, activation "" \[4, 4\] f32, and a target feeds it/,
  );
  refused(meanSquaredError(y, sixteen, multiply(y, y)), /no gradient for its input 2, multiply/);
  refused(
    crossEntropy(y, ids, columnSum(y)),
    /crossEntropy at "" has no gradient for its input 2, columnSum/,
  );
  refused(
    sumOfSquares(embedding(ids, w, w, 1), 1),
    /embedding at "" has no gradient for its input 2, trainable "w"/,
  );
  refused(sumOfSquares(rotary(y, w, ids), 1), /rotary at "" has no gradient for its input 1, trainable "w"/);
});

Deno.test("only losses are differentiated, each once, and no gradient flows back through one", () => {
  const graph = new Graph();
  const w = graph.weight("w", [6, 4], true);
  const ones = graph.input("ones", [24]);
  const [loss, other] = [meanSquaredError(w, ones, ones), sumOfSquares(w, 1)];
  const { nll } = tokenLoss(graph, [w], [{ weight: graph.input("W", [8, 4]), first: 0 }]);
  const refused = (losses: readonly Tensor[], message: RegExp) =>
    assert.throws(() => grad(losses, [w]), message);
  refused(
    [add(loss, other)],
    /grad wants losses, and was given add "" \[1\] f32: .* one by one where losses are added up/,
  );
  refused([columnSum(graph.input("column", [4, 1]))], /was given columnSum/);
  refused([weightOfLoss(loss)], /was given meanSquaredError "" \[1\] f32/);
  refused([w], /was given trainable "w" \[6, 4\] f32/);
  refused([loss, other, loss], /was given meanSquaredError "" \[1\] f32 twice/);
  refused([sumOfSquares(loss, 1)], /no gradient flows through meanSquaredError at ""/);
  refused([loss, sumOfSquares(loss, 1)], /no gradient flows through meanSquaredError at ""/);
  refused([sumOfSquares(nll, 1)], /no gradient flows through vocabularyLoss at ""/);
});

Deno.test("a loss that is no mean has no weight", () => {
  const x = new Graph().input("x", [4]);
  assert.throws(() => weightOfLoss(sumOfSquares(x, 1)), /sumOfSquares "" \[1\] f32 is no mean with a weight/);
  assert.throws(() => weightOfLoss(x), /input "x" \[4\] f32 is no mean with a weight/);
});
