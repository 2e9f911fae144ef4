/** The gradient of an embedding's table as GPUs compute it, for more tokens than op cases have. */

import assert from "node:assert/strict";
import { Graph } from "../lib/graph/graph.ts";
import { interpret } from "../lib/graph/interpret.ts";
import { embeddingGradient } from "../lib/graph/ops/embedding.ts";
import { fillSources, relativeError, runOnGpu, type Values } from "../tasks/conformance/op_errors.ts";
import { hardwareGpu } from "./support/ops.ts";

/** Frequent ids and rare ones, as in a text, the frequent ones in runs that cross several chunks. */
function idsOf(count: number, vocabulary: number): Float64Array {
  return Float64Array.from(
    { length: count },
    (_, i) => Math.floor(vocabulary * ((i * 7919 % 1009) / 1009) ** 3),
  );
}

for (
  const { tokens, width, vocabulary, firstRow, rows, chunk } of [
    { tokens: 1030, width: 20, vocabulary: 300, firstRow: 0, rows: 300, chunk: 16 },
    { tokens: 2047, width: 257, vocabulary: 40, firstRow: 3, rows: 20, chunk: 32 },
    { tokens: 2047, width: 257 * 4, vocabulary: 40, firstRow: -2, rows: 30, chunk: 32 },
    { tokens: 2049, width: 513, vocabulary: 2, firstRow: 0, rows: 2, chunk: 64 },
  ]
) {
  Deno.test(`${tokens} tokens by ${width}, ids up to ${vocabulary}, ${rows} rows from ${firstRow} on, in chunks of ${chunk}`, async () => {
    const hardware = await hardwareGpu();
    const graph = new Graph();
    const gradient = graph.weight("gradient", [tokens, width], false);
    const attrs = { scale: 0.7, vocabulary: rows, firstRow };
    const out = embeddingGradient(graph.input("ids", [1, tokens], "u32"), gradient, attrs);
    const labels = out.node.op!.dispatches(out.node, false, hardware.traits).map(({ kernel }) =>
      kernel.label
    );
    assert.ok(labels.some((label) => label.includes(`CHUNK=${chunk}`)), labels.join());
    const values: Values = new Map([["ids", idsOf(tokens, vocabulary)]]);
    fillSources(graph, values);
    const [actual] = await runOnGpu(hardware, [out], values);
    assert.ok(relativeError(actual, interpret([out], values)[0]) < 2e-6);
    assert.deepEqual((await runOnGpu(hardware, [out], values))[0], actual);
  });
}
