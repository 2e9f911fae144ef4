/**
 * Assigns each tensor of a program to a buffer. Tensors share slots by liveness: a slot is free again after
 * the last op that reads its tensor. Each slot is a separate buffer, not a range of one large buffer, because
 * WebGPU rejects a dispatch that reads and writes the same buffer, even in separate ranges.
 */

import type { DeviceTraits } from "../gpu/kernel.ts";
import { fuse } from "./fuse.ts";
import { fuseShared } from "./fuse_shared.ts";
import { bytesOf, type Choice, type Node, reachable, type Tensor } from "./graph.ts";

/** Options of `plan`. */
export interface PlanOptions {
  /** Tensors that are stored elsewhere, such as gradients in the optimizer's flat buffer. */
  readonly external?: ReadonlySet<Tensor>;
  /** What states hold after a run (see `Graph.update`). */
  readonly updates?: ReadonlyMap<Tensor, Tensor>;
  /** Gives every tensor its own slot, so that each can be read back after a run (debugging). */
  readonly noReuse?: boolean;
  /** What the program runs on, for what its launches leave to each other; by default nothing is planned for that. */
  readonly device?: DeviceTraits;
}

/** Slots of a program's tensors. */
export interface Plan {
  readonly nodes: readonly Node[];
  /** Slot of every computed tensor that is not external. */
  readonly slots: ReadonlyMap<Tensor, number>;
  /** Bytes of each slot. */
  readonly slotBytes: readonly number[];
  /** Nodes whose outputs overwrite inputs (see `Op.overwrites`). */
  readonly inPlace: ReadonlySet<Node>;
  /** The updates among their outputs, by which state each is written over; they have no slots. */
  readonly overStates: ReadonlyMap<Tensor, Tensor>;
  /** Total size of the slots: what the program allocates. */
  readonly peakBytes: number;
  /** The most bytes that are alive at once: no plan can use less. */
  readonly lowerBoundBytes: number;
}

/**
 * Assigns slots for computing `outputs`, which all stay readable after a run: in their slots, in external buffers, or, for
 * an update that an op can write over its state, in the state.
 */
export function plan(outputs: readonly Tensor[], options: PlanOptions = {}): Plan {
  const traced = reachable(outputs).filter((node) => node.op !== undefined);
  // Merging removes intermediate tensors, which could then not be read back.
  const kept = new Set([...outputs, ...options.external ?? []]);
  const nodes = options.noReuse ? traced : fuseShared(fuse(traced, kept, options.external));
  const { lives, inPlace, overStates } = livesOf(nodes, lastUses(nodes, outputs), options);
  const places = options.noReuse ? lives.map((_, i) => i) : placesOf(lives);
  const slotBytes: number[] = [];
  const slots = new Map<Tensor, number>();
  lives.forEach(({ tensors, bytes }, i) => {
    slotBytes[places[i]] = Math.max(slotBytes[places[i]] ?? 0, bytes);
    for (const tensor of tensors) slots.set(tensor, places[i]);
  });
  const peakBytes = slotBytes.reduce((sum, bytes) => sum + bytes, 0);
  return {
    nodes,
    slots,
    slotBytes,
    inPlace,
    overStates,
    peakBytes,
    lowerBoundBytes: mostAlive(lives, nodes.length),
  };
}

/** The steps during which a slot is occupied, by a tensor and by those that overwrite it in place. */
interface Life {
  readonly tensors: Tensor[];
  readonly bytes: number;
  readonly from: number;
  to: number;
}

/** The lives of all computed tensors, in the order they begin, and the nodes that overwrite an input. */
function livesOf(
  nodes: readonly Node[],
  lastUse: ReadonlyMap<Tensor, number>,
  { external, updates, noReuse, device }: PlanOptions,
): { lives: Life[]; inPlace: Set<Node>; overStates: Map<Tensor, Tensor> } {
  const lives: Life[] = [];
  const of = new Map<Tensor, Life>();
  const inPlace = new Set<Node>();
  const overStates = new Map<Tensor, Tensor>();
  nodes.forEach((node, step) => {
    for (const tensor of device ? node.op!.scratch?.(node, device) ?? [] : []) {
      lives.push({ tensors: [tensor], bytes: bytesOf(tensor), from: step, to: step });
    }
    const overwritten = noReuse
      ? []
      : overwrittenBy(node, step, { lastUse, updates, external, computed: of });
    if (overwritten.length > 0) inPlace.add(node);
    for (const [i, tensor] of node.outputs.entries()) {
      if (external?.has(tensor)) continue;
      const under = overwritten[i];
      if (under && !under.node.op) {
        overStates.set(tensor, under);
        continue;
      }
      const to = lastUse.get(tensor) ?? step;
      const life = under ? of.get(under)! : { tensors: [], bytes: bytesOf(tensor), from: step, to };
      if (!under) lives.push(life);
      life.tensors.push(tensor);
      life.to = to;
      of.set(tensor, life);
    }
  });
  return { lives, inPlace, overStates };
}

/** What decides whether a tensor may be overwritten. */
interface Uses {
  readonly lastUse: ReadonlyMap<Tensor, number>;
  readonly updates?: ReadonlyMap<Tensor, Tensor>;
  readonly external?: ReadonlySet<Tensor>;
  /** Tensors that have slots. */
  readonly computed: ReadonlyMap<Tensor, unknown>;
}

/** The inputs that the first outputs are written over: all that the op could overwrite, or none. */
function overwrittenBy(node: Node, step: number, uses: Uses): readonly Tensor[] {
  const places = node.op!.overwrites?.(node) ?? [];
  const isFree = (at: number, i: number) => {
    const input = node.inputs[at];
    const isReadOnce = node.inputs.filter((other) => other === input).length === 1;
    if (uses.external?.has(node.outputs[i]) || uses.lastUse.get(input) !== step || !isReadOnce) return false;
    return isStateOf(node.outputs[i], input, uses) || isDonor(node.outputs[i], input, uses);
  };
  return places.every(isFree) ? places.map((at) => node.inputs[at]) : [];
}

/** Whether `input` is a state that becomes `output`, and no other state does. */
function isStateOf(output: Tensor, input: Tensor, { updates = new Map() }: Uses): boolean {
  return updates.get(input) === output &&
    [...updates.values()].filter((value) => value === output).length === 1;
}

/** Whether `output` may take over the slot of `input`: computed here, and of the same size. */
function isDonor(output: Tensor, input: Tensor, { computed }: Uses): boolean {
  return computed.has(input) && bytesOf(input) === bytesOf(output);
}

/**
 * Assigns each life a slot so that lives in one slot do not overlap. Takes the largest first; each goes into
 * the slot where it leaves the shortest idle time next to a neighbour, or into a new one (greedy by size,
 * Pisarchyk & Lee 2020, §4).
 */
function placesOf(lives: readonly Life[]): number[] {
  const order = lives.map((_, i) => i).sort((a, b) => lives[b].bytes - lives[a].bytes || a - b);
  const slots: Life[][] = [];
  const places: number[] = [];
  for (const i of order) {
    let [best, least] = [slots.length, Infinity];
    slots.forEach((others, slot) => {
      const gap = gapTo(lives[i], others);
      if (gap < least) [best, least] = [slot, gap];
    });
    (slots[best] ??= []).push(lives[i]);
    places[i] = best;
  }
  return places;
}

/** Steps between a life and the nearest of the others; Infinity if it overlaps one. */
function gapTo({ from, to }: Life, others: readonly Life[]): number {
  return others.reduce((least, other) => {
    const gap = other.from > to ? other.from - to : from > other.to ? from - other.to : Infinity;
    return gap === Infinity || least === Infinity ? Infinity : Math.min(least, gap);
  }, Number.MAX_VALUE);
}

/** The most bytes that are alive at one step. */
function mostAlive(lives: readonly Life[], steps: number): number {
  const change = new Float64Array(steps + 1);
  for (const { bytes, from, to } of lives) {
    change[from] += bytes;
    change[Math.min(to + 1, steps)] -= bytes;
  }
  let [alive, most] = [0, 0];
  for (const step of change.subarray(0, steps)) most = Math.max(most, alive += step);
  return most;
}

/** Step of the last node that reads each tensor; Infinity for outputs. */
function lastUses(nodes: readonly Node[], outputs: readonly Tensor[]): Map<Tensor, number> {
  const last = new Map<Tensor, number>();
  nodes.forEach((node, step) => node.inputs.forEach((tensor) => last.set(tensor, step)));
  outputs.forEach((tensor) => last.set(tensor, Infinity));
  return last;
}

/** A choice as a sentence. */
export function choiceText({ problem, kernel, why, insteadOf }: Choice): string {
  return `${problem} by ${kernel}: ${why}; not ${insteadOf.join(", ") || "another: none fits"}`;
}

/**
 * The plan as text: op, module, kernel, grid, shapes and slots of each kernel launch on `device`, why it is this kernel
 * where there are several, then the sizes in bytes. For debugging and golden files.
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
    ).concat(node.op!.variants ? [`    ${choiceText(node.op!.variants(node, device).choice())}`] : [])
  );
  return [
    ...lines,
    `slots: ${slotBytes.map((bytes, i) => `#${i} ${bytes}`).join(", ")}`,
    `bytes: ${peakBytes} planned, ${lowerBoundBytes} alive at most`,
  ].join("\n") + "\n";
}
