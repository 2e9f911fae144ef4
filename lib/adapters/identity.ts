/**
 * The identity matrix as a constant of an adapter. Applying an adapter to it gives the columns of the update
 * ΔW.
 */

import type { ParameterSpec } from "../models/parameter.ts";

/** I: n×n, shared by all layers with n inputs. */
export function identitySpec(n: number): ParameterSpec {
  const values = () => Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
  return { shape: [n, n], init: { kind: "given", values }, frozen: true, shared: "identity" };
}
