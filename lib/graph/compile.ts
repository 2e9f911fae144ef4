/** From a traced graph to a program on the GPU: plan, allocate, bind. */

import type { Gpu } from "../gpu/device.ts";
import { type BufferView, buildProgram, type Call, type Copy, type Program } from "../gpu/program.ts";
import { callsOf } from "./calls.ts";
import { contestsOf } from "./contests.ts";
import { bytesOf, type Node, reachable, type Tensor } from "./graph.ts";
import { dumpPlan, type Plan, plan } from "./plan.ts";

/** Options of `compile`. */
export interface CompileOptions {
  /** For labels and errors, such as `train 32×16`. */
  readonly label: string;
  /** The buffer of each weight, by name. */
  readonly weights: (name: string) => BufferView;
  /** Where to write these tensors instead of a planned slot. */
  readonly destinations?: ReadonlyMap<Tensor, BufferView>;
  /**
   * @internal Calls to run after the graph's own, such as the optimizer's; `view` gives the buffer of any
   * tensor.
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
  readonly #buffers: GPUBuffer[] = [];
  /** The programs that use each buffer. */
  readonly #users = new Map<GPUBuffer, number>();

  /** An arena without buffers. */
  constructor(private readonly gpu: Gpu) {}

  /**
   * Buffers of at least the sizes asked for, until `leave`. A slot that must grow gets a new buffer and programs already
   * built keep the old one, so build the largest program first.
   */
  take(slotBytes: readonly number[]): GPUBuffer[] {
    const order = slotBytes.map((_, i) => i).sort((a, b) => slotBytes[b] - slotBytes[a]);
    const result: GPUBuffer[] = [];
    order.forEach((slot, rank) => {
      const known = this.#buffers[rank];
      if (!known || known.size < slotBytes[slot]) {
        this.#buffers[rank] = this.gpu.createBuffer(`arena ${rank}`, slotBytes[slot]);
        this.#users.set(this.#buffers[rank], 0);
        if (known && this.#users.get(known) === 0) this.#free(known);
      }
      result[slot] = this.#buffers[rank];
      this.#users.set(result[slot], this.#users.get(result[slot])! + 1);
    });
    return result;
  }

  /** Gives buffers back. Those that have become too small are freed with their last user. */
  leave(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      const others = this.#users.get(buffer)! - 1;
      this.#users.set(buffer, others);
      if (others === 0 && !this.#buffers.includes(buffer)) this.#free(buffer);
    }
  }

  #free(buffer: GPUBuffer): void {
    this.#users.delete(buffer);
    this.gpu.destroyBuffer(buffer);
  }

  /** Frees all buffers. */
  [Symbol.dispose](): void {
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
  /** The buffer that holds a tensor after a run: any output, or any tensor with `noReuse`. */
  view(tensor: Tensor): BufferView;
  /** Writes the graph's inputs, by name. Throws an Error when one of them is not given. */
  upload(values: Readonly<Record<string, Values>>): void;
  /** Submits one run: the dispatches, what states become, then `copies`. Does not wait. */
  run(copies?: readonly Copy[]): void;
  /** Reads a tensor back, or its first `most` values. Waits for every run so far. */
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
  const { updates } = outputs[0].node.graph;
  const roots = [...outputs, ...updates.values()];
  const external = new Set(destinations.keys());
  const planned = plan(roots, { external, updates, noReuse: options.noReuse, device: gpu.traits });
  await gpu.tuner?.tune(gpu, contestsOf(gpu, planned.nodes));
  using owned = new DisposableStack();
  const arena = options.arena ?? owned.use(new Arena(gpu));
  const buffers = owned.adopt(arena.take(planned.slotBytes), (own) => arena.leave(own));
  const inputs = new Map<string, BufferView>();
  const sources = new Map<Node, BufferView>();
  for (const node of reachable(roots)) {
    if (node.op) continue;
    const bytes = bytesOf(node.outputs[0]);
    if (node.source === "input") {
      const buffer = owned.adopt(
        gpu.createBuffer(`${label} ${node.name}`, bytes),
        (own) => gpu.destroyBuffer(own),
      );
      inputs.set(node.name, { buffer, offset: 0, bytes });
    }
    const source = inputs.get(node.name) ?? weights(node.name);
    if (source.bytes !== bytes) {
      throw new Error(
        `${label}: "${node.name}" holds ${source.bytes} bytes; its shape [${
          node.outputs[0].shape
        }] wants ${bytes}`,
      );
    }
    const inPanels = node.outputs[0].dtype === "f32 in panels";
    if (inPanels !== (source.inPanels ?? false)) {
      const [lies, wanted] = inPanels ? ["row by row", "in panels"] : ["in panels", "row by row"];
      throw new Error(
        `${label}: "${node.name}" lies ${lies}, and the graph reads it ${wanted}: ` +
          "use FrozenWeights.of, or trace it as the dtype that it has there",
      );
    }
    sources.set(node, source);
  }
  const written = new Map(
    [...updates].filter(([, { node }]) => planned.overwritten.has(node))
      .map(([state, value]) => [value, sources.get(state.node)!]),
  );
  const view = (tensor: Tensor): BufferView => {
    const slot = planned.slots.get(tensor);
    if (slot !== undefined) return { buffer: buffers[slot], offset: 0, bytes: bytesOf(tensor) };
    const known = destinations.get(tensor) ?? written.get(tensor) ?? sources.get(tensor.node);
    if (!known) throw new Error(`${label}: "${tensor.node.name}" is not part of this program`);
    return known;
  };
  const calls = planned.nodes.flatMap((node) => callsOf(node, planned.inPlace.has(node), gpu.traits, view));
  const program = owned.use(
    await buildProgram(gpu, label, [...calls, ...(options.epilogue?.(view) ?? [])]),
  );
  const moved = [...updates].filter(([, value]) => !written.has(value)).map(([state, value]): Copy => {
    const { buffer, offset } = view(state);
    return { from: view(value), to: buffer, toOffset: offset };
  });
  const all = owned.move();
  return {
    program,
    plan: planned,
    inputs,
    view,
    upload(values) {
      for (const [name, { buffer }] of inputs) {
        if (!values[name]) throw new Error(`${label}: there are no values for the input "${name}"`);
        gpu.upload(buffer, values[name]);
      }
    },
    run: (copies = []) => program.replay([...moved, ...copies]),
    async read(tensor, most = Infinity) {
      const { buffer, offset, bytes } = view(tensor);
      return new Float32Array(await gpu.read(buffer, Math.min(bytes, 4 * most), offset));
    },
    dump: () => dumpPlan(planned, gpu.traits),
    [Symbol.dispose]: () => all.dispose(),
  };
}
