/**
 * Test cases for every op with odd shapes, for any device: `tests/ops_test.ts` or for attention
 * `tests/attention_cases_test.ts` makes a test of each, and `deno task conformance` runs each on every
 * driver. Nothing here needs Deno, because Chromium runs it as well.
 */

import type { Graph, Tensor } from "../../lib/graph/graph.ts";
import { activate, type Activation } from "../../lib/graph/ops/activation.ts";
import { attention } from "../../lib/graph/ops/attention.ts";
import { add, multiply } from "../../lib/graph/ops/binary.ts";
import { boraMix, boraSigma } from "../../lib/graph/ops/bora.ts";
import { cachedAttention } from "../../lib/graph/ops/cached_attention.ts";
import { detachedInverseColumnNorm } from "../../lib/graph/ops/column_norm.ts";
import { columnSum, repeatRows } from "../../lib/graph/ops/column_sum.ts";
import { compareFeatures } from "../../lib/graph/ops/compare_features.ts";
import { dropout } from "../../lib/graph/ops/dropout.ts";
import { embedding } from "../../lib/graph/ops/embedding.ts";
import { firstToken } from "../../lib/graph/ops/first_token.ts";
import { gate } from "../../lib/graph/ops/gate.ts";
import { gatedUnit } from "../../lib/graph/ops/gated_unit.ts";
import { lastToken } from "../../lib/graph/ops/last_token.ts";
import { layerNorm } from "../../lib/graph/ops/layer_norm.ts";
import { reshape, rowMajor, swapAxes } from "../../lib/graph/ops/layout.ts";
import { lookup } from "../../lib/graph/ops/lookup.ts";
import { crossEntropy, meanSquaredError } from "../../lib/graph/ops/losses.ts";
import { meanPool } from "../../lib/graph/ops/mean_pool.ts";
import type { Split } from "../../lib/graph/ops/product/blocks.ts";
import { matmul } from "../../lib/graph/ops/product/product.ts";
import { rmsNorm } from "../../lib/graph/ops/rms_norm.ts";
import { rotary, rotaryFrequencies, rotaryTable } from "../../lib/graph/ops/rotary.ts";
import { scaleColumns } from "../../lib/graph/ops/scale_columns.ts";
import { softmaxRows } from "../../lib/graph/ops/softmax_rows.ts";
import { sumByOwner } from "../../lib/graph/ops/sum_by_owner.ts";
import { sumOfSquares } from "../../lib/graph/ops/sum_of_squares.ts";
import { takeRows } from "../../lib/graph/ops/take_rows.ts";
import { vocabularyLoss } from "../../lib/graph/ops/vocabulary_loss.ts";
import { writeTokens } from "../../lib/graph/ops/write_tokens.ts";

/** An op, or a few, on one shape. */
export interface OpCase {
  /** The op's name in the rows of results/conformance.md. */
  readonly family: string;
  /** A unique name. */
  readonly name: string;
  /** Traces the output under test from sources that it creates itself. */
  readonly trace: (graph: Graph) => Tensor;
  /** Values of the sources that are not random. */
  readonly values?: Readonly<Record<string, readonly number[]>>;
  /**
   * The largest allowed error of an output or gradient, relative to its largest entry (see `relativeError`).
   */
  readonly tolerance: number;
}

/** The precision of the sums here in f32, with some margin. */
const tolerance = 2e-5;

const letters = (transposeA: boolean, transposeB: boolean) =>
  `${transposeA ? "T" : "N"}${transposeB ? "T" : "N"}`;

const range = <Value>(length: number, value: (i: number) => Value) =>
  Array.from({ length }, (_, i) => value(i));

// 36×100 and 100×36 do not fill the tiles of the subgroup kernel (32 rows, 8 columns per lane), which needs
// multiples of 4; 68×132 does not fill the widest tile of the plain kernel (16×16 in 4×8 lanes).
const sizes: readonly [number, number, number][] = [
  [1, 1, 1],
  [5, 3, 7],
  [17, 33, 13],
  [64, 64, 64],
  [67, 72, 20],
  [130, 8, 31],
  [36, 100, 12],
  [100, 36, 20],
  [68, 132, 8],
];

const products = sizes.flatMap(([m, n, k]) =>
  [[false, false], [false, true], [true, false]].map(([transposeA, transposeB]): OpCase => ({
    family: "matmul",
    name: `matmul ${letters(transposeA, transposeB)} ${m}×${n}×${k}`,
    tolerance,
    trace: (graph) =>
      matmul(
        graph.weight("a", transposeA ? [k, m] : [m, k], true),
        graph.weight("b", transposeB ? [n, k] : [k, n], true),
        { transposeA, transposeB, scale: 0.7 },
      ),
  }))
);

// Few rows or few columns: on a GPU, lanes or teams of them share k, which is split into parts where it is long; with
// A in vec4s and not, in one tile and several, and with tiles, lanes and teams that are not full.
const skinnySizes: readonly [string, number, number, number][] = [
  ["NT", 1, 33, 260],
  ["NT", 3, 70, 132],
  ["NT", 11, 90, 36],
  ["NT", 37, 7, 132],
  ["NT", 21, 16, 64],
  ["NN", 9, 8, 132],
  ["NN", 5, 68, 140],
  ["NN", 11, 260, 201],
  ["TN", 8, 36, 300],
  ["TN", 12, 20, 130],
  ["TN", 3, 72, 131],
  ["TN", 132, 8, 150],
];

const skinny = skinnySizes.map(([layout, m, n, k]): OpCase => ({
  family: "matmul",
  name: `matmul ${layout} ${m}×${n}×${k}`,
  tolerance,
  trace: (graph) => {
    const [transposeA, transposeB] = [...layout].map((letter) => letter === "T");
    return matmul(
      graph.weight("a", transposeA ? [k, m] : [m, k], true),
      graph.weight("b", transposeB ? [n, k] : [k, n], true),
      { transposeA, transposeB, scale: 0.7, residual: graph.weight("residual", [m, n], true) },
    );
  },
}));

/** Sums so long that each dispatch adds a part of k to the result of the one before; forward only. */
const longSums = [false, true].map((transposeA): OpCase => ({
  family: "matmul",
  name: `matmul ${letters(transposeA, false)} 36×36×1100`,
  tolerance: 2e-6,
  trace: (graph) =>
    matmul(
      graph.weight("a", transposeA ? [1100, 36] : [36, 1100], false),
      graph.weight("b", [1100, 36], false),
      { transposeA, scale: 0.3 },
    ),
}));

const epilogues = ([undefined, "relu", "tanh"] as const).flatMap((activation) =>
  [[3, 5, 7], [16, 32, 12], [65, 64, 8]].map(([m, n, k]): OpCase => ({
    family: "matmul with an epilogue",
    name: `matmul with bias and ${activation ?? "residual"} ${m}×${n}×${k}`,
    tolerance,
    trace: (graph) =>
      matmul(graph.weight("a", [m, k], true), graph.weight("b", [n, k], true), {
        transposeB: true,
        bias: graph.weight("bias", [n], true),
        activation,
        residual: activation ? undefined : graph.weight("residual", [m, n], true),
      }),
  }))
);

const project = { a: "columns", b: "columns", out: "columns" } as const;
const expand = { a: "columns", b: "rows", out: "columns" } as const;
const blockSizes: readonly [string, number, number, number, number, { a: Split; b: Split; out: Split }][] = [
  ["project U_k = x_k A_kᵀ", 9, 4, 12, 3, project],
  ["project U_k = x_k A_kᵀ", 70, 8, 64, 4, project],
  ["project U_k = x_k A_kᵀ", 150, 12, 20, 6, project],
  ["expand y_j = V_j B_jᵀ", 9, 6, 4, 2, expand],
  ["expand y_j = V_j B_jᵀ", 33, 16, 8, 4, expand],
];
const blockProducts = blockSizes.map(([what, rows, n, k, blocks, splits]): OpCase => ({
  family: "block matmul",
  name: `block matmul: ${what}, ${blocks} blocks, ${rows} tokens`,
  tolerance,
  trace: (graph) => {
    const b = splits.b === "rows" ? [n * blocks, k] : [n, k * blocks];
    return matmul(graph.weight("a", [rows, k * blocks], true), graph.weight("b", b, true), {
      transposeB: true,
      blocks,
      splits,
      scale: 2,
      residual: graph.weight("residual", [rows, n * blocks], true),
    });
  },
}));

// One kernel reads x once for all modules, and one kernel computes the gradients of all A.
const shared = [[2, 41, 40, 4, 1], [3, 36, 96, 8, 4]].map(([modules, rows, width, r, blocks]): OpCase => ({
  family: "shared products",
  name: `shared products: ${modules} of one x, ${blocks} blocks, ${rows} tokens`,
  tolerance,
  trace: (graph) => {
    const x = graph.weight("x", [rows, width], true);
    return range(
      modules,
      (p) =>
        matmul(x, graph.weight(`A${p}`, [r, width], true), { transposeB: true, blocks, splits: project }),
    )
      .reduce((product, u) => multiply(product, u));
  },
}));

// W's rows do not fill a tile; one shape is large enough for the subgroup kernel both ways, and another has a
// long k.
const panelProducts = [[1, 4, 64], [37, 132, 128], [70, 68, 192], [33, 1100, 128]].map((
  [tokens, m, n],
): OpCase => ({
  family: "product with a weight in panels",
  name: `product with a weight in panels ${tokens}×${m}×${n}`,
  tolerance,
  trace: (graph) =>
    matmul(
      graph.weight("x", [tokens, n], true),
      graph.weight("W", [m, n], false, "f32 in panels"),
      {
        transposeB: true,
        bias: graph.weight("bias", [m], true),
        residual: graph.weight("residual", [tokens, m], true),
      },
    ),
}));

const rowMajors = [[1, 64], [13, 192]].map((shape): OpCase => ({
  family: "weight out of panels",
  name: `weight out of panels ${shape.join("×")}`,
  tolerance,
  trace: (graph) =>
    multiply(
      rowMajor(graph.weight("W", shape, false, "f32 in panels")),
      graph.weight("other", shape, true),
    ),
}));

const activations = (["relu", "tanh", "gelu"] as Activation[]).flatMap((name) =>
  [1, 67, 300].map((size): OpCase => ({
    family: "activation",
    name: `activation ${name} of ${size}`,
    tolerance,
    trace: (graph) => activate(name, graph.weight("x", [size, 1], true)),
  }))
);

const addAndMultiply: OpCase = {
  family: "add and multiply",
  name: "add and multiply",
  tolerance,
  trace: (graph) => {
    const [a, b] = [graph.weight("a", [7, 13], true), graph.weight("b", [7, 13], true)];
    return multiply(add(a, b), add(multiply(a, a), add(b, b)));
  },
};

// The last has more lanes a row on a GPU.
const layerNorms = [[1, 1], [3, 7], [33, 65], [8, 256], [2, 1028]].map(([rows, cols]): OpCase => ({
  family: "layerNorm",
  name: `layerNorm ${rows}×${cols}`,
  tolerance,
  trace: (graph) =>
    layerNorm(
      graph.weight("x", [rows, cols], true),
      graph.weight("gamma", [cols], true),
      graph.weight("beta", [cols], true),
      1e-2,
    ),
}));

// The last three also pass on their input, whose gradient is added in the kernel.
const rmsNormSizes: readonly [number, number, boolean][] = [
  [1, 1, false],
  [3, 7, false],
  [33, 65, true],
  [8, 256, true],
  [2, 1028, true],
];
const rmsNorms = rmsNormSizes.map(([rows, cols, residual]): OpCase => ({
  family: "rmsNorm",
  name: `rmsNorm ${rows}×${cols}${residual ? " beside its input" : ""}`,
  tolerance,
  trace: (graph) => {
    const x = graph.weight("x", [rows, cols], true);
    const y = rmsNorm(x, graph.weight("gamma", [cols], true), 1e-2);
    return residual ? add(x, y) : y;
  },
}));

const attentions = [[1, 1, 1, 4], [2, 5, 3, 8], [3, 17, 2, 16], [2, 33, 1, 64], [2, 9, 1, 128]].map((
  [batch, length, heads, width],
): OpCase => ({
  family: "attention",
  name: `attention ${batch}×${length}, ${heads} heads of ${width}`,
  tolerance,
  values: { lengths: range(batch, (b) => Math.max(1, length - 2 * b)) },
  trace: (graph) => {
    const shape = [batch * length, heads * width];
    const [q, k, v] = ["q", "k", "v"].map((name) => graph.weight(name, shape, true));
    return attention(q, k, v, graph.input("lengths", [batch], "u32"), { heads, scale: width ** -0.5 });
  },
}));

/** Causal or not, with each key head shared by several query heads or not. */
const decoderAttentions = ([
  [1, 1, 1, 1, 4, true],
  [2, 7, 2, 2, 8, true],
  [2, 19, 6, 2, 16, true],
  [2, 5, 4, 1, 64, false],
  // Full and partial tiles of the subgroup kernel: 8 or 16 rows by 16 or 32, widths divisible by 4 and 8
  // lanes.
  [2, 37, 2, 1, 32, true],
  [1, 67, 2, 2, 64, true],
  [2, 35, 2, 2, 32, false],
  // Full and partial tiles of the GPUs' kernels, and chunks that a head does not fill. Wider heads are in
  // tests/attention_test.ts: software drivers would compile their own kernels for long.
  [1, 17, 6, 2, 20, true],
  [2, 33, 6, 2, 64, true],
  [2, 40, 2, 1, 64, false],
  [1, 65, 4, 2, 128, true],
] as const).map(([batch, length, heads, kvHeads, width, causal]): OpCase => ({
  family: "attention",
  name: `${causal ? "causal " : ""}attention ${batch}×${length}, ${heads} heads on ${kvHeads} of ${width}`,
  tolerance,
  values: { lengths: range(batch, (b) => Math.max(1, length - 2 * b)) },
  trace: (graph) => {
    const q = graph.weight("q", [batch * length, heads * width], true);
    const [k, v] = ["k", "v"].map((name) => graph.weight(name, [batch * length, kvHeads * width], true));
    const lengths = graph.input("lengths", [batch], "u32");
    return attention(q, k, v, lengths, { heads, kvHeads, causal, scale: width ** -0.5 });
  },
}));

/** A window over the tokens just before, shorter than the text, with partial tiles of the subgroup kernel. */
const windowedAttentions = ([
  [2, 9, 2, 1, 8, 1],
  [2, 19, 4, 2, 16, 5],
  [2, 37, 2, 1, 32, 9],
  [1, 150, 2, 2, 64, 40],
  // A window that begins and ends within the tiles of the GPUs' kernels.
  [2, 70, 6, 2, 32, 20],
] as const).map(([batch, length, heads, kvHeads, width, window]): OpCase => ({
  family: "attention",
  name: `attention ${batch}×${length} over the last ${window}, ${heads} heads on ${kvHeads} of ${width}`,
  tolerance,
  // Padding rows of the second text have no token of it in their window.
  values: { lengths: range(batch, (b) => Math.max(1, length - b * (window + 2))) },
  trace: (graph) => {
    const q = graph.weight("q", [batch * length, heads * width], true);
    const [k, v] = ["k", "v"].map((name) => graph.weight(name, [batch * length, kvHeads * width], true));
    const lengths = graph.input("lengths", [batch], "u32");
    return attention(q, k, v, lengths, { heads, kvHeads, causal: true, window, scale: width ** -0.5 });
  },
}));

const rotations = ([[1, 1, 1, 2], [2, 5, 3, 6], [3, 9, 2, 16]] as const).map((
  [texts, length, heads, width],
): OpCase => ({
  family: "rotary",
  name: `rotary ${texts}×${length}, ${heads} heads of ${width}`,
  tolerance,
  values: {
    table: [...rotaryTable(length + 1, rotaryFrequencies(width, 100)).data],
    places: range(texts * length, (i) => (i * 3 + 1) % (length + 1)),
  },
  trace: (graph) =>
    rotary(
      graph.weight("x", [texts * length, heads * width], true),
      graph.weight("table", [length + 1, width], false),
      graph.input("places", [texts, length], "u32"),
    ),
}));

const gatedUnits = [[1, 1], [5, 7], [9, 32]].map(([rows, width]): OpCase => ({
  family: "gatedUnit",
  name: `swiglu ${rows}×${width}`,
  tolerance,
  trace: (graph) =>
    gatedUnit("silu", graph.weight("gate", [rows, width], true), graph.weight("up", [rows, width], true)),
}));

const tanhGates: OpCase = {
  family: "gatedUnit",
  name: "geglu, by tanh, for small, usual and large gates",
  tolerance,
  values: { gate: [-30, -4, -1, -0.1, 0, 0.2, 0.9, 3, 12] },
  trace: (graph) =>
    gatedUnit("tanh gelu", graph.weight("gate", [1, 9], true), graph.weight("up", [1, 9], true)),
};

const hugeGates: OpCase = {
  family: "gatedUnit",
  name: "swiglu stays finite for gates of ±1e4",
  tolerance,
  values: { gate: [1e4, -1e4], up: [1, 1] },
  trace: (graph) => gatedUnit("silu", graph.weight("gate", [1, 2], false), graph.weight("up", [1, 2], false)),
};

// In the last two, ids have more tokens than a GPU sums up in one chunk of 16, and there are more than it sorts at once.
const embeddings = [[1, 1, 1, 1], [3, 5, 7, 4], [4, 16, 32, 50], [2, 23, 5, 1], [6, 50, 8, 5]].map((
  [batch, length, width, vocabulary],
): OpCase => ({
  family: "embedding",
  name: `embedding ${batch}×${length}×${width} of ${vocabulary}`,
  tolerance,
  values: { ids: range(batch * length, (i) => (i * 7) % vocabulary) },
  trace: (graph) =>
    embedding(
      graph.input("ids", [batch, length], "u32"),
      graph.weight("table", [vocabulary, width], true),
      graph.weight("positions", [length, width], false),
      2,
    ),
}));

const lookups = ([[9, 0, false], [4, 3, true], [11, -2, true]] as const).map((
  [rows, firstRow, onto],
): OpCase => ({
  family: "lookup",
  name: `lookup in ${rows} rows from ${firstRow} on${onto ? ", added to another" : ""}`,
  tolerance,
  values: { index: range(15, (i) => i * 7 % 9) },
  trace: (graph) =>
    lookup(graph.input("index", [3, 5], "u32"), graph.weight("table", [rows, 8], true), {
      firstRow,
      onto: onto ? graph.weight("onto", [15, 8], true) : undefined,
    }),
}));

const firstTokens = [[1, 1, 1], [3, 5, 7]].map(([batch, length, width]): OpCase => ({
  family: "firstToken",
  name: `firstToken ${batch}×${length}×${width}`,
  tolerance,
  trace: (graph) => firstToken(graph.weight("x", [batch * length, width], true), batch),
}));

const cachedAttentions = ([
  [1, 1, 5, 1, 1, 4, Infinity, "as they are"],
  [2, 1, 40, 6, 2, 16, Infinity, "as they are"],
  [2, 3, 70, 4, 1, 64, 9, "as they are"],
  [1, 2, 33, 2, 2, 128, Infinity, "rotated"],
  [2, 3, 70, 6, 2, 24, 9, "rotated"],
  // Caches that GPUs take in parts, of which the last are empty, and in one; groups of 1 to 4 heads, of narrow and wide heads.
  [2, 1, 520, 8, 2, 128, Infinity, "rotated"],
  [1, 2, 300, 6, 2, 20, 130, "as they are"],
  [1, 1, 260, 4, 2, 256, Infinity, "as they are"],
  [1, 3, 200, 3, 3, 32, Infinity, "rotated"],
  [2, 70, 130, 8, 2, 64, 40, "as they are"],
] as const).map(([texts, length, capacity, heads, kvHeads, width, window, queries]): OpCase => ({
  family: "cachedAttention",
  name:
    `cachedAttention of ${texts}×${length} over ${capacity}, ${heads} heads on ${kvHeads} of ${width} ${queries}, window ${window}`,
  tolerance,
  values: {
    places: range(texts * length, (i) => i === texts * length - 1 ? capacity - 1 : (i * 17 + 3) % capacity),
  },
  trace: (graph) => {
    const q = graph.weight("q", [texts * length, heads * width], false);
    const [keys, values] = ["k", "v"].map((name) =>
      graph.weight(name, [texts * capacity, kvHeads * width], false)
    );
    const rotation = queries === "rotated" ? graph.weight("table", [capacity, width], false) : undefined;
    const options = { texts, heads, kvHeads, scale: width ** -0.5, window, rotation };
    return cachedAttention(q, { keys, values }, graph.input("places", [texts, length], "u32"), options);
  },
}));

const writtenTokens = (["keys", "values"] as const).flatMap((which) =>
  [0, 16].map((headDim): OpCase => ({
    family: "writeTokens",
    name: `writeTokens, ${which}: two tokens into each of three caches, beyond the end of one, ${
      headDim ? `keys rotated by heads of ${headDim}` : "as they are"
    }`,
    tolerance,
    values: { at: [0, 3, 1], places: [5, 1, 0, 3, 4, 2] },
    trace: (graph) => {
      const of = (name: string, tokens: number) => graph.weight(name, [tokens, 32], false);
      const rotation = headDim
        ? { table: graph.weight("table", [6, headDim], false), places: graph.input("places", [6], "u32") }
        : undefined;
      return writeTokens(
        { keys: of("all keys", 12), values: of("all values", 12) },
        { keys: of("new keys", 6), values: of("new values", 6) },
        graph.input("at", [3], "u32"),
        rotation,
      )[which];
    },
  }))
);

const sums: OpCase = {
  family: "sumByOwner",
  name: "sumByOwner: of nine values, two of no owner",
  tolerance,
  values: { owners: [0, 0, 2, 3, 2, 7, 0, 1, 2] },
  trace: (graph) => sumByOwner(graph.weight("values", [9], false), graph.input("owners", [9], "u32"), 3),
};

const takenRows: OpCase = {
  family: "takeRows",
  name: "takeRows: three of five from the second on, one of them zeros",
  tolerance,
  values: { rows: [4, 0, 7, 2, 6], places: [1, 5, 3, 5, 0, 5, 5] },
  trace: (graph) =>
    takeRows(graph.weight("x", [7, 6], true), {
      rows: graph.input("rows", [5], "u32"),
      places: graph.input("places", [7], "u32"),
      from: 1,
      count: 3,
    }),
};

/** Rows in parts and a vocabulary in pieces; tokens that do not exist at the end. */
const vocabularyLosses = ([
  [[5], [9], 9, 8],
  [[4, 3], [7, 6, 20], 30, 12],
  [[40, 9], [70, 130], 190, 16],
] as const).map(([parts, pieces, limit, width]): OpCase => {
  const rows = parts.reduce((sum, count) => sum + count, 0);
  return {
    family: "vocabularyLoss",
    name: `vocabularyLoss of ${rows} rows in ${parts.length}, ${pieces.join(" + ")} tokens up to ${limit}`,
    tolerance,
    values: {
      labels: range(rows, (i) => i * 7 % limit),
      weights: range(rows, (i) => i % 3 === 1 ? 0 : 1),
    },
    trace: (graph) => {
      const hidden = parts.map((count, i) => graph.weight(`h ${i}`, [count, width], true));
      let first = 0;
      const heads = pieces.map((tokens, i) => {
        const piece = { weight: graph.weight(`W ${i}`, [tokens, width], i > 0), first };
        first += tokens;
        return piece;
      });
      const labels = graph.input("labels", [rows], "u32");
      return vocabularyLoss(hidden, heads, { labels, weights: graph.input("weights", [rows]), limit }).loss;
    },
  };
});

const lastTokens = [[1, 1, 1], [3, 5, 7], [5, 16, 33]].map(([batch, length, width]): OpCase => ({
  family: "lastToken",
  name: `lastToken ${batch}×${length}×${width}`,
  tolerance,
  values: { lengths: range(batch, (b) => 1 + b % length) },
  trace: (graph) =>
    lastToken(graph.weight("x", [batch * length, width], true), graph.input("lengths", [batch], "u32")),
}));

// The last is summed in parts on a GPU.
const meanPools = [[1, 1, 1], [3, 5, 7], [5, 16, 33], [2, 70, 36]].map(([batch, length, width]): OpCase => ({
  family: "meanPool",
  name: `meanPool ${batch}×${length}×${width}`,
  tolerance,
  values: { lengths: range(batch, (b) => 1 + b % length) },
  trace: (graph) =>
    meanPool(graph.weight("x", [batch * length, width], true), graph.input("lengths", [batch], "u32")),
}));

const comparisons = [[1, 1, 1], [3, 1, 7], [5, 4, 13]].map(([count, options, width]): OpCase => ({
  family: "compareFeatures",
  name: `compareFeatures ${count} anchors, ${options} options, ${width} wide`,
  tolerance,
  trace: (graph) => compareFeatures(graph.weight("pooled", [count * (1 + options), width], true), options),
}));

// On a GPU the last two are read in one pass, the last in two parts a row.
const crossEntropies = [[1, 2], [7, 3], [33, 41], [5, 130], [3, 262], [2, 5000]].map((
  [rows, classes],
): OpCase => ({
  family: "crossEntropy",
  name: `crossEntropy ${rows}×${classes}`,
  tolerance,
  values: {
    labels: range(rows, (i) => (i * 5) % classes),
    weights: range(rows, (i) => i === 0 ? 1 : i % 3),
  },
  trace: (graph) =>
    crossEntropy(
      graph.weight("x", [rows, classes], true),
      graph.input("labels", [rows], "u32"),
      graph.input("weights", [rows]),
    ),
}));

const hugeLogits: OpCase = {
  family: "crossEntropy",
  name: "crossEntropy stays finite for logits of ±1e4",
  tolerance: 0,
  values: { x: [1e4, -1e4, -1e4, 1e4], labels: [0, 0], weights: [1, 1] },
  trace: (graph) =>
    crossEntropy(
      graph.weight("x", [2, 2], false),
      graph.input("labels", [2], "u32"),
      graph.input("weights", [2]),
    ),
};

const squaredErrors = [1, 7, 130].map((rows): OpCase => ({
  family: "meanSquaredError",
  name: `meanSquaredError of ${rows}`,
  tolerance,
  values: { w: range(rows, (i) => i === 0 ? 1 : i % 2) },
  trace: (graph) =>
    meanSquaredError(graph.weight("x", [rows, 1], true), graph.input("y", [rows]), graph.input("w", [rows])),
}));

const dropouts = [0, 0.1, 0.5].map((rate): OpCase => ({
  family: "dropout",
  name: `dropout ${rate}: same mask forward, backward and in the interpreter`,
  tolerance,
  values: { clock: [3, 11] },
  trace: (graph) => {
    const clock = graph.input("clock", [2], "u32");
    return dropout(dropout(graph.weight("x", [37, 11], true), clock, rate), clock, rate);
  },
}));

const sigmas = [[1, 1], [3, 5], [4, 8], [16, 8]].flatMap(([b, r]) =>
  [[true, true], [false, true], [true, false]].map(([exp, norm]): OpCase => ({
    family: "boraSigma",
    name: `boraSigma b=${b} r=${r}${exp ? "" : " without Exp"}${norm ? "" : " without Norm"}`,
    tolerance,
    trace: (graph) => boraSigma(graph.weight("sigma", [b, b, r], true), { exp, norm }),
  }))
);

const mixes = [[1, 1, 1], [7, 3, 5], [33, 4, 8], [65, 16, 4], [17, 24, 8], [3, 32, 12], [2, 40, 4]].map((
  [tokens, b, r],
): OpCase => ({
  family: "boraMix",
  name: `boraMix ${tokens} tokens, b=${b} r=${r}`,
  tolerance,
  trace: (graph) =>
    boraMix(graph.weight("u", [tokens, b * r], true), graph.weight("diagonal", [b, b, r], true)),
}));

// On a GPU the sums over 65 rows are made of three parts.
const columns = [[1, 1], [7, 13], [65, 32]].flatMap(([rows, cols]): OpCase[] => {
  const size = `${rows}×${cols}`;
  const x = (graph: Graph) => graph.weight("x", [rows, cols], true);
  const scale = (graph: Graph) => graph.weight("scale", [cols], true);
  return [
    {
      family: "columnSum and repeatRows",
      name: `columnSum and repeatRows ${size}`,
      tolerance,
      trace: (graph) => repeatRows(columnSum(x(graph)), 5),
    },
    {
      family: "sumOfSquares",
      name: `sumOfSquares ${size}`,
      tolerance,
      trace: (graph) => sumOfSquares(x(graph), 0.3),
    },
    {
      family: "softmaxRows",
      name: `softmaxRows ${size}`,
      tolerance,
      trace: (graph) => softmaxRows(x(graph)),
    },
    {
      family: "scaleColumns",
      name: `scaleColumns ${size}`,
      tolerance,
      trace: (graph) => scaleColumns(x(graph), scale(graph)),
    },
    {
      family: "scaleColumns",
      name: `scaleColumns ${size} with shift and residual`,
      tolerance,
      trace: (graph) =>
        scaleColumns(x(graph), scale(graph), {
          shift: graph.weight("shift", [cols], true),
          residual: graph.weight("residual", [rows, cols], true),
        }),
    },
    {
      family: "inverse column norms",
      name: `inverse column norms ${size}, and no gradient through them`,
      tolerance,
      trace: (graph) => scaleColumns(x(graph), detachedInverseColumnNorm(x(graph))),
    },
  ];
});

const hugeRow: OpCase = {
  family: "softmaxRows",
  name: "softmaxRows stays finite for logits of ±1e4",
  tolerance: 0,
  values: { x: [1e4, -1e4] },
  trace: (graph) => softmaxRows(graph.weight("x", [1, 2], false)),
};

const gates = [[1, 1, 1], [7, 3, 5], [33, 4, 8]].flatMap(([rows, experts, width]) =>
  [true, false].map((shared): OpCase => ({
    family: "gate",
    name: `gate ${rows} rows, ${experts} experts, ${width} wide${shared ? ", one vector for all" : ""}`,
    tolerance,
    trace: (graph) =>
      gate(
        graph.weight("g", [rows, experts], true),
        graph.weight("u", [rows, shared ? width : experts * width], true),
        shared,
      ),
  }))
);

// The last two are turned by tiles on a GPU.
const swaps = [[1, 1, 1, 1], [3, 5, 7, 1], [4, 3, 2, 11], [3, 16, 33, 1], [1, 70, 37, 1]].map((
  [rows, p, q, width],
): OpCase => ({
  family: "swapAxes and reshape",
  name: `swapAxes ${rows}×${p}×${q}×${width}, between reshapes`,
  tolerance,
  trace: (graph) => {
    const x = graph.weight("x", [rows * p, q * width], true);
    const turned = swapAxes(reshape(x, [rows, p * q * width]), { p, q, width }, [rows * q, p * width]);
    return reshape(multiply(turned, turned), [rows * p * q, width]);
  },
}));

/** Every case, grouped by op. */
export const opCases: readonly OpCase[] = [
  ...products,
  ...skinny,
  ...longSums,
  ...epilogues,
  ...panelProducts,
  ...rowMajors,
  ...blockProducts,
  ...shared,
  ...mixes,
  ...sigmas,
  ...attentions,
  ...decoderAttentions,
  ...windowedAttentions,
  ...rotations,
  ...layerNorms,
  ...rmsNorms,
  ...embeddings,
  ...lookups,
  ...firstTokens,
  ...cachedAttentions,
  ...writtenTokens,
  sums,
  takenRows,
  ...vocabularyLosses,
  ...lastTokens,
  ...meanPools,
  ...comparisons,
  ...crossEntropies,
  hugeLogits,
  ...squaredErrors,
  ...dropouts,
  ...activations,
  ...gatedUnits,
  tanhGates,
  hugeGates,
  addAndMultiply,
  ...columns,
  hugeRow,
  ...gates,
  ...swaps,
];
