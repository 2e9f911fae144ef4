/**
 * Symbolic tensors. Model code traces a step once into a `Graph` of pure ops; `grad` appends the backward ops to the
 * same graph; `compile` turns it into a GPU program and `interpret` runs it in float64 on the CPU.
 */

import type { DeviceTraits, Grid, Kernel } from "../gpu/kernel.ts";
import { type Packing, storageNamed } from "./storages/registry.ts";

/**
 * Element type of a tensor. Every op computes f32; the storages other than f32 are for frozen weights.
 */
export type DType = "u32" | "f32" | "f32 in panels" | Packing;

/** Shape and element type. */
export interface Spec {
  /** Extents, slowest first. */
  readonly shape: readonly number[];
  /** What an element is. */
  readonly dtype: DType;
}

/** A value of the graph: the `index`-th output of `node`. */
export interface Tensor extends Spec {
  /** The node it is an output of. */
  readonly node: Node;
  /** Its place among the outputs. */
  readonly index: number;
}

/**
 * Where a tensor that no op computes comes from.
 * `input`: written before each step. `frozen`: a weight that never changes. `trainable`: a weight with a gradient.
 * `state`: what an earlier run of the program left there, zeros at first.
 */
export type Source = "input" | "frozen" | "trainable" | "state";

/** One op application. */
// deno-lint-ignore no-explicit-any -- a heterogeneous list of ops: each op's attributes are typed where it is defined
export interface Node<A = any> {
  /** The graph it is in. */
  readonly graph: Graph;
  /** `undefined` for sources. */
  readonly op: Op<A> | undefined;
  /** `undefined` for ops. */
  readonly source: Source | undefined;
  /** Sources: the parameter's or input's name. Ops: the module path it was traced under, such as `layer.0.query`. */
  readonly name: string;
  /** What the op reads. */
  readonly inputs: readonly Tensor[];
  /** The op's attributes. */
  readonly attrs: A;
  /** The tensors it computes. */
  readonly outputs: readonly Tensor[];
}

/** One kernel launch of an op. `bindings` maps the WGSL's variable names to tensors of the node. */
export interface Dispatch {
  /** What is launched. */
  readonly kernel: Kernel;
  /** The WGSL's uniform parameters. */
  readonly params: Readonly<Record<string, number>>;
  /** The tensors it reads and writes. */
  readonly bindings: Readonly<Record<string, Tensor>>;
  /** How many workgroups. */
  readonly grid: Grid;
  /** The multiply-adds of a product; absent of launches that are little beside a step's products. */
  readonly multiplyAdds?: number;
}

/** @internal Interchangeable kernels for the autotuner. */
export interface Variants {
  /** The key of the choice: nodes of one bucket use the same kernel. */
  readonly bucket: string;
  /**
   * The kernels by name, the default first. All give the same bits. `kernel` is one of the launches, for a
   * digest of the source.
   */
  readonly candidates: readonly { readonly name: string; readonly kernel: Kernel }[];
  /** The amount of work. */
  readonly multiplyAdds: number;
  /** The one among them that the device takes, and why. */
  choice(): Choice;
}

/** @internal Why a node gets its kernel. */
export interface Choice {
  /** What is computed, such as `NT 1024×768×768 of f32`. */
  readonly problem: string;
  /** The kernel's name. */
  readonly kernel: string;
  /** Whether it was tuned, or which default it is, and the traits that decided. */
  readonly why: string;
  /** The other candidates. */
  readonly insteadOf: readonly string[];
}

/**
 * An op: its shape rule, its derivative rule and its computation, once in float64 for reading and testing and
 * once as kernels. To add one, write a file in `ops/` that exports the op and a function that traces it.
 */
export interface Op<A> {
  /** Name in messages and labels. */
  readonly name: string;
  /**
   * True if differentiation treats the outputs as constants, as the definition of the method that uses the op
   * requires.
   */
  readonly detached?: true;
  /**
   * True if output 0 is a loss, [1]: the derivative is that of the loss, counted once, and no gradient flows back through any
   * output.
   */
  readonly isLoss?: true;
  /** Specs of the outputs. Throws an Error naming the shapes when the inputs do not fit. */
  infer(inputs: readonly Spec[], attrs: A): readonly Spec[];
  /** Gradients of the inputs from those of the outputs (undefined: no gradient flows), built from other ops. */
  derivative?(node: Node<A>, gradients: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[];
  /** Index of an input that has no gradient of its own because those of other inputs hold its share. Absent for none. */
  readonly sharedInput?: number;
  /**
   * `gradient + onto` in one kernel, for ops that can add their result onto another tensor; used by `grad`.
   */
  accumulate?(gradient: Tensor, onto: Tensor): Tensor | undefined;
  /**
   * The op in float64, written to be read: takes the values of the inputs and returns those of the outputs
   * (row-major).
   */
  evaluate(inputs: readonly Float64Array[], node: Node<A>): readonly Float64Array[];
  /**
   * @internal The op's kernel launches. `inPlace`: outputs take over buffers of inputs (see
   * `overwrites`).
   */
  dispatches(node: Node<A>, inPlace: boolean, device: DeviceTraits): readonly Dispatch[];
  /**
   * @internal Tensors that the node's launches on the device leave to each other, with no place among its outputs: the same
   * objects at each call. Absent for none.
   */
  scratch?(node: Node<A>, device: DeviceTraits): readonly Tensor[];
  /**
   * @internal The kernels that `dispatches` chooses from by `device.choices`; absent if there is only one.
   */
  variants?(node: Node<A>, device: DeviceTraits): Variants;
  /** Index of the input that may have any storage, or "any"; the others are f32 or u32. Absent for none. */
  readonly storedInput?: number | "any";
  /** Indices of the inputs that are u32. Absent for none. */
  readonly wholeInputs?: readonly number[];
  /**
   * Indices of the inputs that outputs 0, 1, … may overwrite when nothing later reads them, all of them or none. Absent for
   * none.
   */
  overwrites?(node: Node<A>): readonly number[];
}

/** Number of elements. */
export function sizeOf(spec: Spec): number {
  return spec.shape.reduce((product, extent) => product * extent, 1);
}

/** Bytes on the GPU. */
export function bytesOf(spec: Spec): number {
  return sizeOf(spec) * (spec.dtype === "u32" ? 4 : storageNamed(spec.dtype).bits / 8);
}

/** `[512, 768] f32`, for messages. */
export function describe(spec: Spec): string {
  return `[${spec.shape.join(", ")}] ${spec.dtype}`;
}

/**
 * A traced step: nodes in the order they were made, which is an order they can run in.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Graph, interpret, matmul } from "@bora/webgpu/graph";
 *
 * const graph = new Graph();
 * const [a, b] = ["a", "b"].map((name) => graph.input(name, [2, 2]));
 * const values = new Map([["a", Float64Array.of(1, 2, 3, 4)], ["b", Float64Array.of(0, 1, 1, 0)]]);
 * assert.deepEqual(interpret([matmul(a, b)], values), [Float64Array.of(2, 1, 4, 3)]);
 * ```
 */
export class Graph {
  /** Sources and ops, in the order they were made. */
  readonly nodes: Node[] = [];
  readonly #updates = new Map<Tensor, Tensor>();
  #scope = "";
  #streams = 0;

  /** A tensor written before each step. */
  input(name: string, shape: readonly number[], dtype: DType = "f32"): Tensor {
    return this.#source("input", name, { shape, dtype });
  }

  /**
   * A weight, with a gradient if `trainable`. Asking twice for the same name returns the same tensor.
   * @throws Error for a trainable weight that is not f32, and for a name that is another source's.
   */
  weight(name: string, shape: readonly number[], trainable: boolean, dtype: DType = "f32"): Tensor {
    if (trainable && dtype !== "f32") {
      throw new Error(`"${name}" is ${dtype}, and only f32 weights are trained: pass trainable as false`);
    }
    return this.#source(trainable ? "trainable" : "frozen", name, { shape, dtype });
  }

  /** A tensor that keeps its value from one run to the next, such as the keys and values of earlier tokens. */
  state(name: string, shape: readonly number[], dtype: "f32" | "f16" = "f32"): Tensor {
    return this.#source("state", name, { shape, dtype });
  }

  /**
   * Makes `value` what `state` holds after a run.
   * @throws Error for what is no state, for another shape or graph, and for a second update.
   */
  update(state: Tensor, value: Tensor): void {
    const { name } = state.node;
    this.#refuseForeign(`the update of "${name}"`, [state, value]);
    if (state.node.source !== "state") {
      throw new Error(`"${name}" is ${kindOf(state)} and no state: only what Graph.state returns is updated`);
    }
    if (describe(state) !== describe(value)) {
      throw new Error(`"${name}", a state ${describe(state)}, cannot become ${describe(value)}`);
    }
    if (this.#updates.has(state)) {
      throw new Error(`"${name}" cannot become two values: it is updated already`);
    }
    this.#updates.set(state, value);
  }

  /** What the states hold after a run, by state. */
  get updates(): ReadonlyMap<Tensor, Tensor> {
    return this.#updates;
  }

  /** Runs `body` with `path` as the module path of the nodes it makes. */
  scope<T>(path: string, body: () => T): T {
    const outer = this.#scope;
    this.#scope = path;
    try {
      return body();
    } finally {
      this.#scope = outer;
    }
  }

  /**
   * A new random stream. Its number depends only on how many were asked for before, so it is the same in
   * every trace.
   */
  randomStream(): number {
    return this.#streams++;
  }

  /** Applies `op`. Throws the errors of its shape rule, with the module path. */
  apply<A>(op: Op<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
    const name = this.#scope;
    this.#refuseForeign(`${op.name} at "${name}"`, inputs);
    for (const [i, { shape, dtype }] of inputs.entries()) {
      const wantsWhole = op.wholeInputs?.includes(i) ?? false;
      if (wantsWhole !== (dtype === "u32")) {
        const wanted = wantsWhole ? "u32" : "f32";
        throw new Error(
          `${op.name} at "${name}": input ${i} is [${shape}] ${dtype}, and the op reads it as ${wanted}`,
        );
      }
      const mayBeStored = op.storedInput === "any" || op.storedInput === i;
      if (dtype !== "f32" && dtype !== "u32" && !mayBeStored) {
        throw new Error(`${op.name} at "${name}" reads [${shape}] row by row as f32, and it is ${dtype}`);
      }
      if (!isWhole(shape)) {
        throw new Error(`${op.name} at "${name}": shape [${shape}] has an empty or fractional dimension`);
      }
    }
    return this.#add(op, undefined, name, inputs, attrs, inferred(op, name, inputs, attrs));
  }

  #source(source: Source, name: string, spec: Spec): Tensor {
    const known = this.nodes.find((node) => node.source !== undefined && node.name === name);
    if (!known) return this.#add(undefined, source, name, [], undefined, [spec])[0];
    const tensor = known.outputs[0];
    if (known.source !== source || describe(tensor) !== describe(spec)) {
      throw new Error(
        `"${name}" is ${known.source} ${describe(tensor)}, and asked for as ${source} ${describe(spec)}`,
      );
    }
    return tensor;
  }

  /** Throws an Error when one of the tensors is of another graph. */
  #refuseForeign(what: string, tensors: readonly Tensor[]): void {
    const at = tensors.findIndex(({ node }) => node.graph !== this);
    if (at < 0) return;
    throw new Error(
      `${what}: ${
        kindOf(tensors[at])
      } is of another graph than the others: trace all of a program into one Graph`,
    );
  }

  #add<A>(
    op: Op<A> | undefined,
    source: Source | undefined,
    name: string,
    inputs: readonly Tensor[],
    attrs: A,
    specs: readonly Spec[],
  ): readonly Tensor[] {
    const outputs: Tensor[] = [];
    const node: Node<A> = { graph: this, op, source, name, inputs, attrs, outputs };
    specs.forEach((spec, index) => outputs.push({ ...spec, node, index }));
    this.nodes.push(node);
    return outputs;
  }
}

function isWhole(shape: readonly number[]): boolean {
  return shape.every((extent) => Number.isInteger(extent) && extent >= 1);
}

/** The specs of an op's outputs. Throws the errors of its shape rule with the module path, and an Error for an impossible shape. */
function inferred<A>(op: Op<A>, name: string, inputs: readonly Tensor[], attrs: A): readonly Spec[] {
  try {
    const specs = op.infer(inputs, attrs);
    const odd = specs.find(({ shape }) => !isWhole(shape));
    if (odd) throw new Error(`would make ${describe(odd)}, which has an empty or fractional dimension`);
    return specs;
  } catch (error) {
    throw new Error(`${op.name} at "${name}": ${(error as Error).message}`, { cause: error });
  }
}

/** What a tensor is, for messages: `input "x" [2] f32`, or the op that computes it. */
export function kindOf(tensor: Tensor): string {
  const { op, source, name } = tensor.node;
  return `${op?.name ?? source} "${name}" ${describe(tensor)}`;
}

/** The graph of a program's outputs. Throws an Error when there are none, or when they are of several graphs. */
export function graphOf(what: string, outputs: readonly Tensor[]): Graph {
  if (outputs.length === 0) throw new Error(`${what} has no outputs: give at least one`);
  const { graph } = outputs[0].node;
  const foreign = outputs.find(({ node }) => node.graph !== graph);
  if (foreign) {
    throw new Error(`${what} has outputs of two graphs: ${kindOf(outputs[0])} and ${kindOf(foreign)}`);
  }
  return graph;
}

/** The nodes that `outputs` depend on, in the order they were made. */
export function reachable(outputs: readonly Tensor[]): Node[] {
  const wanted = new Set<Node>();
  const stack = outputs.map((tensor) => tensor.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (wanted.has(node)) continue;
    wanted.add(node);
    stack.push(...node.inputs.map((tensor) => tensor.node));
  }
  return outputs.length === 0 ? [] : outputs[0].node.graph.nodes.filter((node) => wanted.has(node));
}
