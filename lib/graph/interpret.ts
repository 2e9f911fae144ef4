/**
 * Computes the graph in float64 on the CPU. It is slow and simple; every kernel and gradient is tested
 * against it.
 */

import { graphOf, reachable, sizeOf, type Tensor } from "./graph.ts";

/** Values by source name (row-major; u32 inputs as numbers). */
export type SourceValues = ReadonlyMap<string, Float64Array>;

/**
 * The values of `outputs`. Tensors in `held` keep the values given there and are not computed (see `detachedValues`).
 * @throws Error for a source without a value, or one of the wrong length.
 */
export function interpret(
  outputs: readonly Tensor[],
  sources: SourceValues,
  held: ReadonlyMap<Tensor, Float64Array> = new Map(),
): Float64Array[] {
  const values = new Map<Tensor, Float64Array>(held);
  for (const node of reachable(outputs)) {
    if (values.has(node.outputs[0])) continue;
    if (node.op) {
      const results = node.op.evaluate(node.inputs.map((tensor) => values.get(tensor)!), node);
      node.outputs.forEach((tensor, i) => values.set(tensor, results[i]));
      continue;
    }
    const tensor = node.outputs[0];
    const value = sources.get(node.name);
    if (!value) throw new Error(`no value for ${node.source} "${node.name}"`);
    if (value.length !== sizeOf(tensor)) {
      throw new Error(
        `"${node.name}" holds ${value.length} values; its shape [${tensor.shape}] wants ${sizeOf(tensor)}`,
      );
    }
    values.set(tensor, value);
  }
  return outputs.map((tensor) => values.get(tensor)!);
}

/**
 * The values of `outputs`, and what the graph's states hold after the run, by name, each computed from what the states
 * held before. States without a value begin as zeros. An output that is itself a state is what the state holds after the
 * run, as `CompiledGraph.read` returns it.
 * @throws Error as `interpret` does, and without outputs.
 */
export function interpretRun(
  outputs: readonly Tensor[],
  sources: SourceValues,
): { readonly values: Float64Array[]; readonly states: Map<string, Float64Array> } {
  const { updates, nodes } = graphOf("interpretRun", outputs);
  const states = nodes.filter(({ source }) => source === "state").map((node) => node.outputs[0]);
  const zeros = states.map((state) => [state.node.name, new Float64Array(sizeOf(state))] as const);
  const after = (tensor: Tensor) => updates.get(tensor) ?? tensor;
  const values = interpret([...outputs, ...states].map(after), new Map([...zeros, ...sources]));
  const held = values.splice(outputs.length);
  return { values, states: new Map(states.map(({ node }, i) => [node.name, held[i]])) };
}

/**
 * The values of those tensors behind `outputs` that differentiation treats as constants. If they are held,
 * finite differences compute the same gradient as `grad`.
 */
export function detachedValues(
  outputs: readonly Tensor[],
  sources: SourceValues,
): Map<Tensor, Float64Array> {
  const detached = reachable(outputs).filter((node) => node.op?.detached).flatMap((node) => node.outputs);
  const values = interpret(detached, sources);
  return new Map(detached.map((tensor, i) => [tensor, values[i]]));
}
