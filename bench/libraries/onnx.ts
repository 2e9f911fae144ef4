/** ONNX Runtime's Node package on the CPU: builds a model in code and runs it forward. */

// A CommonJS module without named exports.
import proto, { type onnx } from "npm:onnx-proto@8.0.1";
import type * as onnxRuntime from "npm:onnxruntime-common@1.30.0";
import type { Input, Runner } from "../work.ts";

const { AttributeProto, ModelProto, TensorProto } = proto.onnx;

/**
 * A specifier that the compiler cannot see, because type-checking the bench must not fetch its 288 MB. Other
 * readers of deno.lock must not fetch it either, so `deno task bench` has its own lock, bench/deno.lock. The
 * types come from onnxruntime-common.
 */
const runtime = ["npm:onnxruntime-node", "1.30.0"].join("@");

/** An operator's attribute: an integer, a float (for names that need one), or a list of integers. */
export type Attribute = { readonly int: number } | { readonly float: number } | {
  readonly ints: readonly number[];
};

/** Builds a graph. Values are referred to by tensor name. */
export class OnnxGraph {
  readonly #nodes: onnx.INodeProto[] = [];
  readonly #constants: onnx.ITensorProto[] = [];

  /** Adds an operator and returns its first output. `domain` is for operators outside of ONNX's own set. */
  add(
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = "",
  ): string {
    const output = `value ${this.#nodes.length}`;
    const attribute = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
    this.#nodes.push({ opType: type, domain, input: [...inputs], output: [output], attribute });
    return output;
  }

  /** Adds a constant tensor to the model. */
  constant(name: string, { shape, data }: Input): string {
    const { FLOAT } = TensorProto.DataType;
    this.#constants.push({ name, dims: [...shape], dataType: FLOAT, rawData: bytesOf(data) });
    return name;
  }

  /** Adds constant integers to the model, such as a shape or ids. */
  integers(name: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    const { INT64 } = TensorProto.DataType;
    const data = BigInt64Array.from(values, BigInt);
    this.#constants.push({ name, dims: [...shape], dataType: INT64, rawData: bytesOf(data) });
    return name;
  }

  /** The model's bytes. */
  encode(inputs: Readonly<Record<string, Input>>, outputs: readonly string[]): Uint8Array {
    const { FLOAT } = TensorProto.DataType;
    const info = (name: string, shape?: readonly number[]): onnx.IValueInfoProto => ({
      name,
      type: {
        tensorType: { elemType: FLOAT, shape: shape && { dim: shape.map((dimValue) => ({ dimValue })) } },
      },
    });
    return ModelProto.encode({
      irVersion: 9,
      opsetImport: [{ domain: "", version: 20 }, { domain: "com.microsoft", version: 1 }],
      graph: {
        name: "bench",
        node: this.#nodes,
        initializer: this.#constants,
        input: Object.entries(inputs).map(([name, { shape }]) => info(name, shape)),
        output: outputs.map((name) => info(name)),
      },
    }).finish();
  }
}

function attributeOf(name: string, value: Attribute): onnx.IAttributeProto {
  const { FLOAT, INT, INTS } = AttributeProto.AttributeType;
  if ("int" in value) return { name, type: INT, i: value.int };
  if ("float" in value) return { name, type: FLOAT, f: value.float };
  return { name, type: INTS, ints: [...value.ints] };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Adds the work's operators to the graph, using inputs with these names, and returns its outputs. */
export type OnnxWork = (graph: OnnxGraph) => readonly string[];

/** A runner of a work in ONNX Runtime. */
export async function onnxRunner(inputs: Readonly<Record<string, Input>>, work: OnnxWork): Promise<Runner> {
  if (import.meta.resolve(runtime).startsWith("npm:")) {
    console.error("onnxruntime-node is not here yet: fetching 288 MB, once");
  }
  const { InferenceSession, Tensor }: typeof onnxRuntime = await import(runtime);
  const graph = new OnnxGraph();
  const outputs = work(graph);
  const session = await InferenceSession.create(graph.encode(inputs, outputs));
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, new Tensor("float32", data, [...shape])]),
  );
  return {
    async results() {
      const found = await session.run(feeds);
      return outputs.map((name) => Float32Array.from(found[name].data as Float32Array));
    },
    async lap(times) {
      for (let i = 0; i < times; i++) await session.run(feeds);
    },
    dispose: () => void session.release(),
  };
}
