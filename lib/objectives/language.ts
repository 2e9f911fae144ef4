/**
 * The next tokens of a text: softmax cross-entropy over the vocabulary at the tokens that are learnt, and a text's negative
 * log-likelihood as its prediction.
 */

import { sizeOf, type Tensor } from "../graph/graph.ts";
import { sumByOwner } from "../graph/ops/sum_by_owner.ts";
import { takeRows } from "../graph/ops/take_rows.ts";
import { vocabularyLoss } from "../graph/ops/vocabulary_loss.ts";
import type { Language, Model } from "../models/model.ts";
import type { BatchShape, Encoded, Objective, ObjectiveKind } from "./objective.ts";

/** Rows whose logits are computed together. */
const rowsAtOnce = 128;

/** Numbers of learnt rows are rounded up to powers of two from here on: each needs a compiled program. */
const fewestRows = 16;

/** The rows of x that are taken (see `RowsToTake`), in parts whose logits are computed together. */
export function partsOfRows(x: Tensor, rows: Tensor, places: Tensor): Tensor[] {
  const count = sizeOf(rows);
  return Array.from({ length: Math.ceil(count / rowsAtOnce) }, (_, i) => {
    const from = i * rowsAtOnce;
    return takeRows(x, { rows, places, from, count: Math.min(rowsAtOnce, count - from) });
  });
}

/** Tokens that are learnt, of a row of a batch. */
export const language: ObjectiveKind = {
  outputNames: () => [],
  of: (model) => languageObjective(model, languageOf(model)),
};

/** What a causal model reads and writes. Throws an Error for another model. */
export function languageOf({ name, language }: Model): Language {
  if (language) return language;
  throw new Error(`${name} is no causal model: load one with loadDecoder`);
}

/** Places of an example's learnt tokens; the first token follows none, and cannot be. */
function learntIn({ labelled = [] }: Encoded): number[] {
  return labelled.flatMap((isLearnt, place) => isLearnt && place > 0 ? [place] : []);
}

function faultOf(example: Encoded): string | undefined {
  const { texts: [ids], labelled = [] } = example;
  if (learntIn(example).length === 0) return "nothing of it is learnt";
  if (labelled.length === ids.length) return undefined;
  return `labelled is of ${labelled.length} tokens, and it has ${ids.length}: cut both alike`;
}

function languageObjective({ vocabulary, width }: Model, { output, tokenizer }: Language): Objective {
  return {
    description: { objective: "language" },
    parameters: new Map(),
    sequences: 1,
    values: 1,
    multiplyAddsOf: ({ rows }) => rows * vocabulary * width,
    placeOf: (row) => row,
    faultOf,
    rowsOf(examples) {
      const rows = examples.reduce((sum, example) => sum + learntIn(example).length, 0);
      return 2 ** Math.ceil(Math.log2(Math.max(rows, fewestRows)));
    },
    inputs: ({ examples, length, rows }) => ({
      rows: new Uint32Array(rows),
      "row places": new Uint32Array(examples * length),
      owners: new Uint32Array(rows),
      labels: new Uint32Array(rows),
      weights: new Float32Array(rows),
    }),
    write: writeRows,
    trace(step) {
      const { graph, tracer, hidden, shape: { examples, rows } } = step;
      const taken = graph.input("rows", [rows], "u32");
      const places = graph.input("row places", [hidden.shape[0]], "u32");
      const parts = partsOfRows(hidden, taken, places);
      const { loss, nll } = graph.scope(output, () =>
        vocabularyLoss(parts, tracer.table(output), {
          labels: graph.input("labels", [rows], "u32"),
          weights: graph.input("weights", [rows]),
          limit: tokenizer.size,
        }));
      return { predictions: sumByOwner(nll, graph.input("owners", [rows], "u32"), examples), loss };
    },
    decide: ([nll]) => nll,
  };
}

/** The learnt rows of a batch, example by example; those left over have weight 0 and take no row. */
function writeRows(
  inputs: Record<string, Uint32Array | Float32Array>,
  examples: readonly Encoded[],
  { examples: size, length, rows }: BatchShape,
): void {
  const all = size * length;
  inputs.rows.fill(all);
  inputs["row places"].fill(rows);
  inputs.owners.fill(size);
  inputs.labels.fill(0);
  inputs.weights.fill(0);
  let next = 0;
  for (const [i, example] of examples.entries()) {
    const [ids] = example.texts;
    for (const place of learntIn(example)) {
      // The token before it predicts it.
      const row = i * length + place - 1;
      inputs.rows[next] = row;
      inputs["row places"][row] = next;
      inputs.owners[next] = i;
      inputs.labels[next] = ids[place];
      inputs.weights[next] = 1;
      next++;
    }
  }
}
