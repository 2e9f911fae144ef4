/**
 * Matrices stored in panels of `panelWidth` columns: one panel after another, each row-major. A product that
 * walks down the columns of B (dx = dY W) finds the next row of B right after the last one, not a whole
 * matrix row further on in another page of memory. A product that walks along the rows (y = x Wᵀ) still reads
 * 256 contiguous bytes. Training runs on a software driver keep their frozen weights in this layout.
 */

/** Columns per panel. */
export const panelWidth = 64;

/** Whether a matrix can be stored in panels and read as vec4 along either dimension. */
export function fitsPanels([rows, columns]: readonly number[]): boolean {
  return rows % 4 === 0 && columns % panelWidth === 0;
}

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
