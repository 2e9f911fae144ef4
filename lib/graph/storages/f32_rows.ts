/** Matrices as they are: f32, row after row. */

import type { Storage } from "./storage.ts";

/** f32, row-major. */
export const f32Rows: Storage = {
  name: "f32",
  bits: 32,
  refusal: () => undefined,
  reading: {
    bindings: ({ name, binding }) =>
      `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4f>;`,
    load: (name) => `  return ${name}[i];`,
  },
};
