/** The launches of a product, and its candidates for the autotuner. */

import type { DeviceTraits } from "../../../gpu/kernel.ts";
import type { Dispatch, Tensor, Variants } from "../../graph.ts";
import { scratchTensors } from "../../scratch.ts";
import { bucketOf, candidates, chosen, explain, pieceOf } from "./choice.ts";
import { addToOutput, definesOf, type Epilogue, isLinear, type Operand } from "./epilogue.ts";
import { few, type Problem, problemOf, transposed } from "./problem.ts";
import type { ProductNode } from "./product.ts";

/**
 * Whether to compute Cᵀ = Bᵀ A instead of C = Aᵀ B. An adapter's dB has r columns; its transpose has r rows,
 * which suits the lanes of the plain kernel.
 */
function isTallGradient(epilogue: Epilogue, { transposeA, transposeB, m, n }: Problem): boolean {
  const fits = isLinear(epilogue) && !epilogue.bias && !epilogue.lowRank;
  return transposeA && !transposeB && fits && n <= few && m > few;
}

/** The problem that is computed. */
function computedProblem({ inputs, outputs, attrs }: ProductNode): Problem {
  const stated = problemOf(inputs, outputs[0], attrs);
  return isTallGradient(attrs.epilogue, stated) ? transposed(stated) : stated;
}

/** The candidates for a product. */
export function variantsOf(node: ProductNode, device: DeviceTraits): Variants {
  const problem = computedProblem(node);
  const { m, n, k, blocks } = problem;
  return {
    bucket: bucketOf(problem),
    candidates: candidates(problem, device).map(({ name, kernel }) => ({
      name,
      kernel: kernel(addToOutput),
    })),
    multiplyAdds: m * n * k * blocks,
    choice: () => explain(problem, device),
  };
}

/** The tensor between the two launches of a product whose k is split into parts; none of others. */
export function scratchOf(node: ProductNode, device: DeviceTraits): Tensor[] {
  const problem = computedProblem(node);
  const { joined } = chosen(problem, device);
  if (!joined) return [];
  return scratchTensors(node, [{ shape: [joined.parts, problem.m, problem.blocks * problem.n] }]);
}

/** The tensors that a product reads besides a and b. */
type Operands = ReadonlyMap<Operand | "scales", Tensor>;

/** The launches of a product. Throws nothing: shapes were checked at tracing. */
export function launchesOf(
  node: ProductNode,
  operands: Operands,
  inPlace: boolean,
  device: DeviceTraits,
): Dispatch[] {
  const { outputs, attrs: { epilogue } } = node;
  const problem = computedProblem(node);
  const { m, n, k, a, b, blocks, transposeA, transposeB } = problem;
  const { kernel, grid, joined } = chosen(problem, device);
  const params = paramsOf(node, problem);
  const own = { ...params, ...lowRankParams(epilogue, operands, problem.n) };
  const read = readBindings(node, problem, operands);
  const finish = epilogueBindings(epilogue, operands, outputs, inPlace);
  const defines = definesOf(epilogue, inPlace);
  const workOf = (rows: number) => m * n * rows * blocks;
  if (joined) {
    // The first launch adds the low-rank term, the second does all else.
    const [parts] = scratchOf(node, device);
    const { v, low, ...others } = finish;
    return [
      {
        kernel: kernel(defines),
        params: own,
        bindings: { ...read, c: parts, ...v ? { v, low } : {} },
        grid,
        multiplyAdds: workOf(k),
      },
      {
        kernel: joined.kernel({ ...defines, LOW_RANK: 0 }),
        params: { ...params, k: joined.parts },
        bindings: { a: parts, c: outputs[0], ...others },
        grid: joined.grid,
      },
    ];
  }
  const piece = pieceOf(epilogue, problem, device);
  return Array.from({ length: Math.ceil(k / piece) }, (_, i): Dispatch => {
    const rows = Math.min(piece, k - i * piece);
    return {
      kernel: kernel(i === 0 ? defines : addToOutput),
      grid,
      params: {
        ...i === 0 ? own : params,
        k: rows,
        start_a: i * piece * (transposeA ? a.lead : 1),
        start_b: i * piece * (transposeB ? 1 : b.lead),
      },
      bindings: { ...read, c: outputs[0], ...i === 0 ? finish : {} },
      multiplyAdds: workOf(rows),
    };
  });
}

/** The parameters of all kernels, for a sum over all k. */
function paramsOf({ attrs: { splits, epilogue } }: ProductNode, problem: Problem): Record<string, number> {
  const { m, n, k, a, b, c, blocks } = problem;
  return {
    m,
    n,
    k,
    blocks,
    ld_a: a.lead,
    ld_b: b.lead,
    ld_c: c.lead,
    stride_a: a.stride,
    stride_b: b.stride,
    stride_c: c.stride,
    stride_bias: splits.out === "columns" ? n : 0,
    start_a: 0,
    start_b: 0,
    scale: epilogue.scale,
  };
}

function readBindings({ inputs: [left, right] }: ProductNode, { transposeC }: Problem, operands: Operands) {
  const scales = operands.get("scales");
  return { a: transposeC ? right : left, b: transposeC ? left : right, ...scales ? { scales } : {} };
}

function lowRankParams(
  { lowRank }: Epilogue,
  operands: Operands,
  n: number,
): Record<string, number> {
  if (!lowRank) return {};
  const [, width] = operands.get("v")!.shape;
  const { blocks, scale } = lowRank;
  return { rank: width / blocks, ld_v: width, block_cols: n / blocks, low_rank_scale: scale };
}

/** What the epilogue reads and writes besides C. In place, C's buffer holds the residual. */
function epilogueBindings(
  { gelu }: Epilogue,
  operands: Operands,
  [, activated]: readonly Tensor[],
  inPlace: boolean,
): Record<string, Tensor> {
  const read = [...operands].filter(([name]) => name !== "scales" && !(inPlace && name === "residual"));
  return { ...gelu === "beside" ? { activated } : {}, ...Object.fromEntries(read) };
}
