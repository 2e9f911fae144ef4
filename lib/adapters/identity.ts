/**
 * The identity matrix as a constant of an adapter. Applying an adapter to it gives the columns of the update
 * ΔW.
 */

import type { ParameterSpec } from "../models/parameter.ts";

/** I: n×n, row-major. */
export function identityValues(n: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0));
}

/** I: n×n, shared by all layers with n inputs. */
export function identitySpec(n: number): ParameterSpec {
  return {
    shape: [n, n],
    init: { kind: "given", values: () => identityValues(n) },
    frozen: true,
    shared: "identity",
  };
}
