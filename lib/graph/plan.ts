/**
 * Which buffer each tensor of a program lives in. Tensors share slots by liveness: a slot is free again after the last
 * op that reads its tensor. A slot is a buffer of its own, not a range of one big buffer, because WebGPU refuses a
 * buffer that one dispatch both reads and writes, whatever the ranges.
 */

import type { DeviceTraits } from "../gpu/kernel.ts";
import { type Node, reachable, sizeOf, type Tensor } from "./graph.ts";

/** Options of `plan`. */
export interface PlanOptions {
  /** Tensors that something else provides room for, such as gradients in the optimizer's flat buffer. */
  readonly external?: ReadonlySet<Tensor>;
  /** Gives every tensor a slot of its own, so that each can be read back after a run (debugging). */
  readonly noReuse?: boolean;
}

/** Slots of a program's tensors. */
export interface Plan {
  readonly nodes: readonly Node[];
  /** Slot of every computed tensor that is not external. */
  readonly slots: ReadonlyMap<Tensor, number>;
  /** Bytes of each slot. */
  readonly slotBytes: readonly number[];
  /** Nodes whose first output overwrites one of their inputs. */
  readonly inPlace: ReadonlySet<Node>;
  /** Σ of the slots: what the program allocates. */
  readonly peakBytes: number;
  /** The most bytes that are alive at once: no plan can do with less. */
  readonly lowerBoundBytes: number;
}

/** Assigns slots for computing `outputs`, which all stay readable after a run. */
export function plan(outputs: readonly Tensor[], options: PlanOptions = {}): Plan {
  const nodes = reachable(outputs).filter((node) => node.op !== undefined);
  const lastUse = lastUses(nodes, outputs);
  const slots = new Map<Tensor, number>();
  const slotBytes: number[] = [];
  const free = new Set<number>();
  const inPlace = new Set<Node>();
  let live = 0;
  let lowerBoundBytes = 0;

  nodes.forEach((node, step) => {
    const computed = node.outputs.filter((tensor) => !options.external?.has(tensor));
    const donor = options.noReuse ? undefined : donorOf(node, step, lastUse, slots);
    for (const tensor of computed) {
      const bytes = sizeOf(tensor) * 4;
      live += bytes;
      if (donor && tensor.index === 0) {
        inPlace.add(node);
        slots.set(tensor, slots.get(donor)!);
        live -= bytes;
      } else {
        slots.set(tensor, takeSlot(bytes, slotBytes, free));
      }
    }
    lowerBoundBytes = Math.max(lowerBoundBytes, live);
    for (const tensor of new Set([...node.inputs, ...computed])) {
      if (!slots.has(tensor) || (lastUse.get(tensor) ?? step) > step) continue;
      if (tensor === donor && inPlace.has(node)) continue;
      live -= sizeOf(tensor) * 4;
      if (!options.noReuse) free.add(slots.get(tensor)!);
    }
  });
  const peakBytes = slotBytes.reduce((sum, bytes) => sum + bytes, 0);
  return { nodes, slots, slotBytes, inPlace, peakBytes, lowerBoundBytes };
}

/** Step of the last node that reads each tensor; never for outputs. */
function lastUses(nodes: readonly Node[], outputs: readonly Tensor[]): Map<Tensor, number> {
  const last = new Map<Tensor, number>();
  nodes.forEach((node, step) => node.inputs.forEach((tensor) => last.set(tensor, step)));
  outputs.forEach((tensor) => last.set(tensor, Infinity));
  return last;
}

/** The input whose slot output 0 may take over: computed here, of the same size, and read for the last time. */
function donorOf(
  node: Node,
  step: number,
  lastUse: ReadonlyMap<Tensor, number>,
  slots: ReadonlyMap<Tensor, number>,
): Tensor | undefined {
  const index = node.op!.inPlaceInput?.(node) ?? -1;
  const donor = node.inputs[index];
  if (!donor || !slots.has(donor) || lastUse.get(donor) !== step) return undefined;
  const readTwice = node.inputs.some((tensor, i) => i !== index && tensor === donor);
  return !readTwice && sizeOf(donor) === sizeOf(node.outputs[0]) ? donor : undefined;
}

/** The smallest free slot that is large enough, else the largest free one grown, else a new one. */
function takeSlot(bytes: number, slotBytes: number[], free: Set<number>): number {
  const candidates = [...free].sort((a, b) => slotBytes[a] - slotBytes[b]);
  const slot = candidates.find((candidate) => slotBytes[candidate] >= bytes) ?? candidates.at(-1);
  if (slot === undefined) return slotBytes.push(bytes) - 1;
  free.delete(slot);
  slotBytes[slot] = Math.max(slotBytes[slot], bytes);
  return slot;
}

/**
 * The plan as text, a line a kernel launch on `device`: op, module, kernel, shapes, slot and bytes. For debugging and golden
 * files.
 */
export function dumpPlan(
  { nodes, slots, slotBytes, inPlace, peakBytes, lowerBoundBytes }: Plan,
  device: DeviceTraits,
): string {
  const place = (tensor: Tensor) => {
    const slot = slots.get(tensor);
    const where = slot !== undefined ? `#${slot}` : tensor.node.op ? "external" : tensor.node.name;
    return `[${tensor.shape.join("×")}] ${where}`;
  };
  const lines = nodes.flatMap((node) =>
    node.op!.dispatches(node, inPlace.has(node), device).map(({ kernel, grid }) =>
      `${node.op!.name} ${node.name || "-"}: ${kernel.label} grid ${grid.join("×")}\n` +
      `    ${node.inputs.map(place).join(", ")} -> ${node.outputs.map(place).join(", ")}` +
      (inPlace.has(node) ? " in place" : "")
    )
  );
  return [
    ...lines,
    `slots: ${slotBytes.map((bytes, i) => `#${i} ${bytes}`).join(", ")}`,
    `bytes: ${peakBytes} planned, ${lowerBoundBytes} alive at most`,
  ].join("\n") + "\n";
}
