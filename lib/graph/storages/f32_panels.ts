/**
 * Matrices stored in panels of `panelWidth` columns: one panel after another, each row-major. A product that
 * walks down the columns of B (dx = dY W) finds the next row of B right after the last one, not a whole
 * matrix row further on in another page of memory. A product that walks along the rows (y = x Wᵀ) still reads
 * 256 contiguous bytes. Training runs on a software driver keep their frozen weights in this layout.
 */

import type { Storage } from "./storage.ts";

/** Columns per panel. */
export const panelWidth = 64;

/** Whether a matrix can be stored in panels and read as vec4 along either dimension. */
export function fitsPanels([rows, columns]: readonly number[]): boolean {
  return rows % 4 === 0 && columns % panelWidth === 0;
}

const start = `
  // Within a panel, the next load of B (four values along k, or the next row) is adjacent to the last one.
#if TRANS_B
#for j in 0..TILE_N
  var b_at\${j} = min(col0 + \${j}u, params.n - 1u) * \${PANEL / 4}u;
#end
  let to_panel = (params.stride_b - \${PANEL}u) / 4u;
#else
#for q in 0..TILE_N / 4
  let column\${q} = min(col0 + \${4 * q}u, params.n - 4u);
  var b_at\${q} = (column\${q} / \${PANEL}u * params.stride_b + params.start_b / params.ld_b * \${PANEL}u + column\${q} % \${PANEL}u) / 4u;
#end
  let b_step = \${PANEL / 4}u;
#end`;

const hop = `
#if TRANS_B
    if (k % \${PANEL}u == \${PANEL - 4}u) {
#for j in 0..TILE_N
      b_at\${j} += to_panel;
#end
    }
#end`;

/** f32 in panels. */
export const f32Panels: Storage = {
  name: "f32 in panels",
  bits: 32,
  strideOf: (rows) => rows * panelWidth,
  refusal: (shape) => fitsPanels(shape) ? undefined : "wants a shape that fits panels",
  reading: {
    defines: { PANEL: panelWidth },
    bindings: ({ name, binding }) =>
      `@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4f>;`,
    load: (name) =>
      `  let quads = params.ld_b / 4u;
  let quad = i % quads;
  return ${name}[quad / \${PANEL / 4}u * (params.stride_b / 4u) + i / quads * \${PANEL / 4}u + quad % \${PANEL / 4}u];`,
    walk: { start: start.slice(1), hop: hop.slice(1) },
  },
};

/**
 * Converts a row-major matrix, or a piece of one that starts at element `from`, to panels. Calls `write` with
 * each contiguous run and the element of the panels where it starts; the run is valid only until `write`
 * returns.
 */
export function toPanels(
  values: Float32Array<ArrayBuffer>,
  from: number,
  [rows, columns]: readonly number[],
  write: (run: Float32Array<ArrayBuffer>, at: number) => void,
): void {
  const placeOf = (row: number, panel: number) => (panel * rows + row) * panelWidth;
  const writeWithinRow = (begin: number, end: number) => {
    for (let at = begin; at < end;) {
      const column = at % columns;
      const length = Math.min(end - at, panelWidth - column % panelWidth);
      const place = placeOf(Math.floor(at / columns), Math.floor(column / panelWidth));
      write(values.subarray(at - from, at - from + length), place + column % panelWidth);
      at += length;
    }
  };
  const to = from + values.length;
  const [first, last] = [Math.ceil(from / columns), Math.floor(to / columns)];
  if (first > last) return writeWithinRow(from, to);
  writeWithinRow(from, first * columns);
  const run = new Float32Array((last - first) * panelWidth);
  for (let panel = 0; run.length > 0 && panel < columns / panelWidth; panel++) {
    for (let row = first; row < last; row++) {
      const at = row * columns + panel * panelWidth - from;
      run.set(values.subarray(at, at + panelWidth), (row - first) * panelWidth);
    }
    write(run, placeOf(first, panel));
  }
  writeWithinRow(last * columns, to);
}
