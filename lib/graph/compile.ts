/** From a traced graph to a program on the GPU: plan, allocate, bind. */

import type { Gpu } from "../gpu/device.ts";
import { type BufferView, buildProgram, type Call, type Copy, type Program } from "../gpu/program.ts";
import { callsOf } from "./calls.ts";
import { contestsOf } from "./contests.ts";
import { bytesOf, describe, graphOf, type Node, reachable, type Tensor } from "./graph.ts";
import { dumpPlan, type Plan, plan } from "./plan.ts";

/** Options of `compile`. */
export interface CompileOptions {
  /** For labels and errors, such as `train 32×16`. */
  readonly label: string;
  /** The buffer of each weight and state, by name. */
  readonly weights: (name: string) => BufferView;
  /** Where to write these computed tensors instead of a planned slot. */
  readonly destinations?: ReadonlyMap<Tensor, BufferView>;
  /**
   * @internal Calls to run after the graph's own, such as the optimizer's; `view` is the compiled graph's.
   */
  readonly epilogue?: (view: (tensor: Tensor) => BufferView) => readonly Call[];
  /**
   * @internal Buffers shared by several programs, the largest of which is compiled first. By default the
   * program allocates its own.
   */
  readonly arena?: Arena;
  /** Gives every tensor its own buffer, for debugging. */
  readonly noReuse?: boolean;
}

/** Slot buffers shared by programs that never run at the same time, such as one per text length. */
export class Arena implements Disposable {
  /** The largest buffer of each rank. */
  readonly #buffers: (GPUBuffer | undefined)[] = [];
  /** The programs that use each buffer. */
  readonly #users = new Map<GPUBuffer, number>();
  #isDisposed = false;

  /** An arena without buffers. */
  constructor(private readonly gpu: Gpu) {}

  /**
   * Buffers of at least the sizes asked for, until `leave`. A slot that must grow gets a new buffer and programs already
   * built keep the old one, so build the largest program first.
   * @throws Error after disposal.
   */
  take(slotBytes: readonly number[]): GPUBuffer[] {
    if (this.#isDisposed) {
      throw new Error("the programs' buffers have been disposed of: compile within their scope");
    }
    const order = slotBytes.map((_, i) => i).sort((a, b) => slotBytes[b] - slotBytes[a]);
    const result: GPUBuffer[] = [];
    using taken = new DisposableStack();
    order.forEach((slot, rank) => {
      const known = this.#buffers[rank];
      const buffer = known && known.size >= slotBytes[slot] ? known : this.#grown(rank, slotBytes[slot]);
      result[slot] = taken.adopt(buffer, (own) => this.giveUp([own]));
      this.#users.set(buffer, this.#users.get(buffer)! + 1);
    });
    taken.move();
    return result;
  }

  /** A new buffer of this rank. */
  #grown(rank: number, bytes: number): GPUBuffer {
    const known = this.#buffers[rank];
    const buffer = this.gpu.createBuffer(`arena ${rank}`, bytes);
    this.#buffers[rank] = buffer;
    this.#users.set(buffer, 0);
    if (known && this.#users.get(known) === 0) this.#free(known);
    return buffer;
  }

  /** Gives buffers back. Those that have become too small are freed with their last user. */
  leave(buffers: readonly GPUBuffer[]): void {
    if (this.#isDisposed) return;
    for (const buffer of buffers) {
      const others = this.#users.get(buffer)! - 1;
      this.#users.set(buffer, others);
      if (others === 0 && !this.#buffers.includes(buffer)) this.#free(buffer);
    }
  }

  /**
   * Gives the buffers of a program back that could not be built, for whose size there may be no memory. Those that no other program
   * uses are freed.
   */
  giveUp(buffers: readonly GPUBuffer[]): void {
    if (this.#isDisposed) return;
    for (const buffer of buffers) {
      const rank = this.#buffers.indexOf(buffer);
      if (rank >= 0 && this.#users.get(buffer) === 1) this.#buffers[rank] = undefined;
    }
    this.leave(buffers);
  }

  #free(buffer: GPUBuffer): void {
    this.#users.delete(buffer);
    this.gpu.destroyBuffer(buffer);
  }

  /** Frees all buffers. */
  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const buffer of [...this.#users.keys()]) this.#free(buffer);
  }
}

/** Values to write into a buffer. */
export type Values = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** A compiled graph. */
export interface CompiledGraph extends Disposable {
  /** The recorded dispatches. */
  readonly program: Program;
  /** @internal The nodes in order, and the slot of every tensor. */
  readonly plan: Plan;
  /** Buffers of the graph's inputs, by name; write them before a replay. */
  readonly inputs: ReadonlyMap<string, BufferView>;
  /**
   * The buffer that holds a tensor after a run: an output, what a state becomes, an input, weight or state (what it holds
   * then), or with `noReuse` any tensor.
   * @throws Error for a tensor of another program, and for one whose memory a later op may have taken.
   */
  view(tensor: Tensor): BufferView;
  /**
   * Writes the graph's inputs, by name; further values are not read.
   * @throws Error when an input is not given, or given with another length or type than it was traced with.
   */
  upload(values: Readonly<Record<string, Values>>): void;
  /**
   * Submits one run: the dispatches, what states become, then `copies`. Does not wait. Outputs and what states become are
   * computed from what the states held before.
   */
  run(copies?: readonly Copy[]): void;
  /**
   * Reads an f32 tensor back, or its first `most` values. Waits for every run so far.
   * @throws Error as `view` does, and for a tensor that is not row-major f32.
   */
  read(tensor: Tensor, most?: number): Promise<Float32Array<ArrayBuffer>>;
  /** The planned program as text. */
  dump(): string;
  /** Frees the program, its inputs, and its arena unless it was given one. */
  [Symbol.dispose](): void;
}

/**
 * Compiles the computation of `outputs`. Throws the errors of planning, allocation and shader compilation.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { openGpu } from "@bora/webgpu";
 * import { add, compile, Graph } from "@bora/webgpu/graph";
 *
 * using gpu = await openGpu();
 * const x = new Graph().input("x", [4]);
 * const twice = add(x, x);
 * using compiled = await compile(gpu, [twice], {
 *   label: "twice",
 *   weights: (name) => {
 *     throw new Error(`no weight "${name}"`);
 *   },
 * });
 * compiled.upload({ x: Float32Array.of(1, 2, 3, 4) });
 * compiled.run();
 * assert.deepEqual(await compiled.read(twice), Float32Array.of(2, 4, 6, 8));
 * ```
 */
export async function compile(
  gpu: Gpu,
  outputs: readonly Tensor[],
  options: CompileOptions,
): Promise<CompiledGraph> {
  const { label, weights, destinations = new Map<Tensor, BufferView>() } = options;
  const { updates } = graphOf(label, outputs);
  const roots = [...outputs, ...updates.values()];
  const external = new Set(destinations.keys());
  checkDestinations(label, destinations, roots);
  const planned = plan(roots, { external, updates, noReuse: options.noReuse, device: gpu.traits });
  await gpu.tuner?.tune(gpu, contestsOf(gpu, planned.nodes));
  using owned = new DisposableStack();
  const newBuffer = (name: string, bytes: number) =>
    owned.adopt(gpu.createBuffer(`${label} ${name}`, bytes), (own) => gpu.destroyBuffer(own));
  const arena = options.arena ?? owned.use(new Arena(gpu));
  let isBuilt = false;
  const buffers = owned.adopt(
    arena.take(planned.slotBytes),
    (own) => isBuilt ? arena.leave(own) : arena.giveUp(own),
  );
  const sourceNodes = reachable([...roots, ...updates.keys()]).filter(({ op }) => !op);
  const inputs = new Map(
    sourceNodes.filter(({ source }) => source === "input").map(({ name, outputs: [tensor] }) => {
      const bytes = bytesOf(tensor);
      return [name, { buffer: newBuffer(name, bytes), offset: 0, bytes }];
    }),
  );
  const sources = new Map(sourceNodes.map((node) => {
    const source = inputs.get(node.name) ?? weights(node.name);
    checkSource(label, node, source);
    return [node, source];
  }));
  const bound = (tensor: Tensor): BufferView => {
    const slot = planned.slots.get(tensor);
    if (slot !== undefined) return { buffer: buffers[slot], offset: 0, bytes: bytesOf(tensor) };
    const { node } = planned.overStates.get(tensor) ?? tensor;
    const known = destinations.get(tensor) ?? sources.get(node);
    if (!known) throw new Error(`${label}: "${node.name}" is not part of this program`);
    return known;
  };
  const readable = new Set([...roots, ...external]);
  const view = (tensor: Tensor): BufferView => {
    const own = bound(tensor);
    if (options.noReuse || !tensor.node.op || readable.has(tensor)) return own;
    throw new Error(
      `${label}: the ${tensor.node.op.name} at "${tensor.node.name}" is not an output, and its memory is used again: ` +
        "compile it as an output, or everything with noReuse",
    );
  };
  const copied = [...updates].filter(([, value]) => !planned.overStates.has(value));
  const moved = copiesOf(copied.map(([state, value]) => [bound(value), bound(state)]), newBuffer);
  const calls = planned.nodes.flatMap((node) => callsOf(node, planned.inPlace.has(node), gpu.traits, bound));
  const program = owned.use(
    await buildProgram(gpu, label, [...calls, ...(options.epilogue?.(view) ?? [])]),
  );
  isBuilt = true;
  const all = owned.move();
  const inUse = () => {
    if (all.disposed) throw new Error(`${label}: this program has been disposed of`);
  };
  return {
    program,
    plan: planned,
    inputs,
    view,
    upload(values) {
      inUse();
      for (const { name, source, outputs: [tensor] } of sourceNodes) {
        if (source !== "input") continue;
        checkValues(label, name, tensor, values[name]);
        gpu.upload(inputs.get(name)!.buffer, values[name]);
      }
    },
    run(copies = []) {
      inUse();
      program.replay([...moved, ...copies]);
    },
    async read(tensor, most = Infinity) {
      inUse();
      const { buffer, offset, bytes } = view(tensor);
      if (tensor.dtype !== "f32") {
        throw new Error(`${label}: "${tensor.node.name}" is ${describe(tensor)}, and read returns f32 alone`);
      }
      return new Float32Array(await gpu.read(buffer, Math.min(bytes, 4 * most), offset));
    },
    dump: () => dumpPlan(planned, gpu.traits),
    [Symbol.dispose]: () => all.dispose(),
  };
}

/** Throws an Error when a destination is not for a tensor that the program computes, or has another size. */
function checkDestinations(
  label: string,
  destinations: ReadonlyMap<Tensor, BufferView>,
  roots: readonly Tensor[],
): void {
  const nodes = new Set(reachable(roots));
  for (const [tensor, { bytes }] of destinations) {
    const { node } = tensor;
    if (!node.op || !nodes.has(node)) {
      throw new Error(`${label}: "${node.name}" has a destination, and this program does not compute it`);
    }
    if (bytes !== bytesOf(tensor)) {
      throw new Error(
        `${label}: the destination of "${node.name}" has ${bytes} bytes, not ${bytesOf(tensor)}`,
      );
    }
  }
}

/** Throws an Error when a buffer is not what the graph reads as the source `node`. */
function checkSource(label: string, { name, outputs: [tensor] }: Node, source: BufferView | undefined): void {
  if (!source) throw new Error(`${label}: \`weights\` has no buffer for "${name}"`);
  const bytes = bytesOf(tensor);
  if (source.bytes !== bytes) {
    throw new Error(
      `${label}: "${name}" holds ${source.bytes} bytes; its shape [${tensor.shape}] wants ${bytes}`,
    );
  }
  const inPanels = tensor.dtype === "f32 in panels";
  if (inPanels !== (source.inPanels ?? false)) {
    const [lies, wanted] = inPanels ? ["row by row", "in panels"] : ["in panels", "row by row"];
    throw new Error(
      `${label}: "${name}" lies ${lies}, and the graph reads it ${wanted}: ` +
        "use FrozenWeights.of, or trace it as the dtype that it has there",
    );
  }
}

/** Throws an Error when `values` cannot be uploaded to the input `name`. */
function checkValues(label: string, name: string, tensor: Tensor, values: Values | undefined): void {
  if (!values) throw new Error(`${label}: there are no values for the input "${name}"`);
  const [length, isWhole] = [bytesOf(tensor) / 4, tensor.dtype === "u32"];
  if (values.length === length && values instanceof (isWhole ? Uint32Array : Float32Array)) return;
  throw new Error(
    `${label}: the input "${name}" is ${describe(tensor)}, so it takes ${
      isWhole ? "a Uint32Array" : "a Float32Array"
    } ` +
      `of ${length}, not ${values.constructor.name} of ${values.length}`,
  );
}

/**
 * Copies that do not see each other's results: what lies in a buffer that one of them writes is set aside in a new buffer
 * before the first of them does.
 */
function copiesOf(
  pairs: readonly (readonly [from: BufferView, to: BufferView])[],
  newBuffer: (name: string, bytes: number) => GPUBuffer,
): Copy[] {
  const written = new Set(pairs.map(([, { buffer }]) => buffer));
  const aside: Copy[] = [];
  const copies = pairs.map(([from, { buffer: to, offset: toOffset }]): Copy => {
    if (!written.has(from.buffer)) return { from, to, toOffset };
    const buffer = newBuffer("set aside", from.bytes);
    aside.push({ from, to: buffer, toOffset: 0 });
    return { from: { ...from, buffer, offset: 0 }, to, toOffset };
  });
  return [...aside, ...copies];
}
