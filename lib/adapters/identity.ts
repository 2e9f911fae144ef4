/** The identity matrix as an adapter's constant: pushed through an adapter it gives the update's columns. */

import type { ParameterSpec } from "./method.ts";

/** I: n×n, one for all layers with n inputs. */
export function identitySpec(n: number): ParameterSpec {
  const values = () => Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
  return { shape: [n, n], init: { kind: "given", values }, frozen: true, shared: "identity" };
}
