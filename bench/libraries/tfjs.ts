/** TensorFlow.js with its WebGPU backend, eager as its users run it. */

// The whole package registers the gradients, which its core alone does not.
import "npm:@tensorflow/tfjs@4.22.0";
import "npm:@tensorflow/tfjs-backend-webgpu@4.22.0";
import * as tf from "npm:@tensorflow/tfjs-core@4.22.0";
import type { Input, Runner } from "../work.ts";

export { tf };

/** Does the work on tensors of the inputs; what it makes on the way is freed by tfjs's `tidy`. */
export type TfjsWork = (inputs: Readonly<Record<string, tf.Tensor>>) => tf.Tensor[];

/** Opens the WebGPU backend. Throws an Error where there is none. */
export async function openTfjs(): Promise<void> {
  if (!await tf.setBackend("webgpu")) throw new Error("tfjs found no WebGPU backend");
  await tf.ready();
}

/** A runner of a work in tfjs. */
export async function tfjsRunner(inputs: Readonly<Record<string, Input>>, work: TfjsWork): Promise<Runner> {
  await openTfjs();
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]),
  );
  const once = () => tf.tidy(() => work(tensors));
  return {
    async results() {
      const outputs = once();
      const values = await Promise.all(outputs.map((output) => output.data<"float32">()));
      tf.dispose(outputs);
      return values.map((value) => Float32Array.from(value));
    },
    async lap(times) {
      for (let i = 1; i < times; i++) tf.dispose(once());
      const outputs = once();
      const first = tf.tidy(() => tf.slice(tf.reshape(outputs[0], [-1]), [0], [1]));
      await first.data();
      tf.dispose([first, ...outputs]);
    },
    dispose: () => tf.dispose(tensors),
  };
}
