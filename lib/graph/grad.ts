/** Reverse-mode differentiation: appends the backward ops to the graph they differentiate. */

import { kindOf, type Node, reachable, type Tensor } from "./graph.ts";
import { add } from "./ops/binary.ts";
import { reshape } from "./ops/layout.ts";

/** Options of `grad`. */
export interface GradOptions {
  /**
   * The segment that a node is recomputed with in the backward pass, by the node's module path; undefined for
   * nodes whose outputs are kept. Until the backward pass only a segment's inputs stay in memory (Chen et al.
   * 2016).
   */
  readonly recompute?: (path: string) => string | undefined;
}

/** Makes each layer of a model a segment: `layer.3.attention.query` → `layer.3`. */
export function layerOfPath(path: string): string | undefined {
  return path.match(/^(?:.*?\.)?\d+(?=\.|$)/)?.[0];
}

/**
 * ∂(Σ losses)/∂w for each of `targets`. A loss is what `crossEntropy`, `meanSquaredError`, `sumOfSquares` or `vocabularyLoss`
 * returns; losses that are added up are given one by one, not as their sum. No ops are built for tensors that no target feeds,
 * so frozen weights and everything below the first adapter cost nothing.
 * @throws Error for what is no loss, a loss given twice, a target that the losses do not depend on, and where a gradient would be
 * lost: an op without a derivative, or an input without one, such as a loss's targets and weights, that a target feeds.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { grad, Graph, interpret, meanSquaredError } from "@bora/webgpu/graph";
 *
 * const graph = new Graph();
 * const x = graph.weight("x", [1], true);
 * // (x − 1)², counted once: its slope at 3 is 2·(3 − 1).
 * const loss = meanSquaredError(x, graph.input("target", [1]), graph.input("weight", [1]));
 * const [slope] = grad([loss], [x]);
 * const values = { x: [3], target: [1], weight: [1] };
 * const sources = new Map(Object.entries(values).map(([name, value]) => [name, Float64Array.from(value)]));
 * assert.deepEqual(interpret([slope], sources), [Float64Array.of(4)]);
 * ```
 */
export function grad(
  losses: readonly Tensor[],
  targets: readonly Tensor[],
  { recompute = () => undefined }: GradOptions = {},
): Tensor[] {
  checkLosses(losses);
  const path = nodesBetween(losses, targets);
  const seeds = new Set(losses.map(({ node }) => node));
  const pending = new Map<Tensor, Tensor>();
  const again = new Recomputation(reachable(losses), recompute);
  for (const node of reachable(losses).reverse()) {
    if (!path.has(node) || node.op === undefined) continue;
    const gradients = node.outputs.map((output) => pending.get(output));
    if (!seeds.has(node) && gradients.every((gradient) => gradient === undefined)) continue;
    checkDifferentiable(node, gradients);
    const source = again.of(node);
    const contributions = node.graph.scope(`${node.name}'`, () => node.op!.derivative!(source, gradients));
    node.inputs.forEach((input, i) => {
      if (!path.has(input.node) || node.op!.sharedInput === i) return;
      const contribution = shapedLike(input, contributions[i] ?? refuseLost(node, i));
      pending.set(input, accumulate(pending.get(input), contribution));
    });
  }
  return targets.map((target) => {
    const gradient = pending.get(target);
    if (!gradient) throw new Error(`the loss does not depend on "${target.node.name}"`);
    return gradient;
  });
}

/**
 * `grad`, with tensors that can each be written to a place of its own, all in one buffer: a gradient that several targets
 * have, such as the summands of a sum, or that another one is computed from is copied, because no kernel may read the
 * buffer that it writes.
 */
export function separateGradients(
  losses: readonly Tensor[],
  targets: readonly Tensor[],
  options: GradOptions = {},
): Tensor[] {
  const gradients = grad(losses, targets, options);
  const all = new Set(gradients);
  const last = reachable(gradients).filter(({ outputs }) => outputs.some((output) => all.has(output)));
  const isRead = new Set(last.flatMap(({ inputs }) => inputs));
  const isShared = (gradient: Tensor) => gradients.indexOf(gradient) !== gradients.lastIndexOf(gradient);
  return gradients.map((gradient) =>
    isRead.has(gradient) || isShared(gradient) ? reshape(gradient, gradient.shape) : gradient
  );
}

/** The recomputed segments. Each is traced again when the backward pass first needs one of its nodes. */
class Recomputation {
  readonly #segments: ReadonlyMap<string, readonly Node[]>;
  readonly #clones = new Map<Node, Node>();

  constructor(nodes: readonly Node[], private readonly segmentOf: (path: string) => string | undefined) {
    const computed = nodes.filter(({ op }) => op !== undefined);
    const segments = Map.groupBy(computed, ({ name }) => segmentOf(name));
    this.#segments = new Map([...segments].flatMap(([name, own]) => name === undefined ? [] : [[name, own]]));
  }

  /** The node whose inputs and outputs the derivative reads: a clone where the segment is recomputed. */
  of(node: Node): Node {
    const segment = this.segmentOf(node.name);
    if (segment === undefined) return node;
    if (!this.#clones.has(node)) { for (const own of this.#segments.get(segment)!) this.#clone(own); }
    return this.#clones.get(node)!;
  }

  /** Applies the op again, to the clones of those inputs that belong to the same segment. */
  #clone(node: Node): void {
    const inputs = node.inputs.map((tensor) =>
      this.segmentOf(tensor.node.name) === this.segmentOf(node.name)
        ? this.#clones.get(tensor.node)?.outputs[tensor.index] ?? tensor
        : tensor
    );
    const outputs = node.graph.scope(node.name, () => node.graph.apply(node.op!, inputs, node.attrs));
    this.#clones.set(node, outputs[0].node);
  }
}

/** Throws an Error for a tensor that is no loss, and for a loss given twice. */
function checkLosses(losses: readonly Tensor[]): void {
  for (const [i, loss] of losses.entries()) {
    if (!loss.node.op?.isLoss || loss.index !== 0) {
      throw new Error(
        `grad wants losses, and was given ${
          kindOf(loss)
        }: give what crossEntropy, meanSquaredError, sumOfSquares or ` +
          "vocabularyLoss returns, one by one where losses are added up",
      );
    }
    if (losses.indexOf(loss) < i) {
      throw new Error(`grad was given ${kindOf(loss)} twice: give each loss once`);
    }
  }
}

/** Throws an Error when the derivative of `node` cannot be taken from these gradients of its outputs. */
function checkDifferentiable({ op, name }: Node, gradients: readonly (Tensor | undefined)[]): void {
  if (!op!.derivative) throw new Error(`${op!.name} at "${name}" has no derivative`);
  if (!op!.isLoss || gradients.every((gradient) => gradient === undefined)) return;
  throw new Error(
    `no gradient flows through ${op!.name} at "${name}", and a loss is computed from what it returns: ` +
      "give grad the losses one by one, each computed from no other",
  );
}

/** Throws an Error: the loss depends on a target by way of an input that the derivative of `node` has no gradient for. */
function refuseLost({ op, name, inputs }: Node, i: number): never {
  throw new Error(
    `${op!.name} at "${name}" has no gradient for its input ${i}, ${
      kindOf(inputs[i])
    }, and a target feeds it: make it of what is not trained`,
  );
}

/** A gradient in the shape of its tensor: that of a bias given as a matrix, say, has the shape of a row. */
function shapedLike({ shape }: Tensor, gradient: Tensor): Tensor {
  return gradient.shape.join() === shape.join() ? gradient : reshape(gradient, shape);
}

/** Nodes on a path from a target to a loss that does not pass through a detached op. */
function nodesBetween(losses: readonly Tensor[], targets: readonly Tensor[]): Set<Node> {
  const between = new Set(targets.map((target) => target.node));
  for (const node of reachable(losses)) {
    if (!node.op?.detached && node.inputs.some((input) => between.has(input.node))) between.add(node);
  }
  return between;
}

/** The sum of two gradients, in the contribution's own kernel where that kernel can add onto a tensor. */
function accumulate(sum: Tensor | undefined, contribution: Tensor): Tensor {
  if (!sum) return contribution;
  return contribution.node.op?.accumulate?.(contribution, sum) ?? add(sum, contribution);
}
