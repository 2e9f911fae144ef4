/** ReLU, tanh and (exact, erf) GELU, and their derivatives. */

import erf from "npm:@stdlib/math-base-special-erf@0.2.6";
import type { Op, Tensor } from "../graph.ts";
import { elementwise, sameShape } from "./elementwise.ts";

/** Names of the activations. */
export type Activation = "relu" | "tanh" | "gelu";

const cdf = (x: number) => 0.5 * (1 + erf(x * Math.SQRT1_2));
const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);

/** f, in float64. */
export const valueOf: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
  gelu: (x) => x * cdf(x),
};

/** The derivative f′ in float64, computed from the output (relu, tanh) or from the input (gelu). */
export const slopeOf: Readonly<Record<Activation, (value: number) => number>> = {
  relu: (y) => y > 0 ? 1 : 0,
  tanh: (y) => 1 - y * y,
  gelu: (x) => cdf(x) + x * density(x),
};

/** f(x), element by element. */
export function activate(name: Activation, x: Tensor): Tensor {
  return x.node.graph.apply(activationOp, [x], name)[0];
}

/** `gradient ⊙ f′`, with f′ computed from `value`: the activation's output (relu, tanh) or input (gelu). */
export function activationGradient(name: Activation, value: Tensor, gradient: Tensor): Tensor {
  return value.node.graph.apply(activationGradientOp, [value, gradient], name)[0];
}

/** The op of `activate`. */
export const activationOp: Op<Activation> = {
  name: "activation",
  infer: ([x]) => [{ shape: x.shape, dtype: "f32" }],
  derivative: ({ attrs, inputs, outputs }, [gradient]) => [
    activationGradient(attrs, attrs === "gelu" ? inputs[0] : outputs[0], gradient!),
  ],
  evaluate: ([x], { attrs }) => [x.map(valueOf[attrs])],
  dispatches: ({ attrs, inputs, outputs }) => elementwise(attrs, outputs[0], inputs[0]),
};

/** The op of `activationGradient`. */
export const activationGradientOp: Op<Activation> = {
  name: "activationGradient",
  infer([value, gradient]) {
    sameShape(value, gradient);
    return [{ shape: value.shape, dtype: "f32" }];
  },
  evaluate: ([value, gradient], { attrs }) => [gradient.map((g, i) => g * slopeOf[attrs](value[i]))],
  dispatches: ({ attrs, inputs, outputs }) =>
    elementwise(`${attrs}Gradient`, outputs[0], inputs[0], inputs[1]),
};
