/**
 * Matrices in panels of columns: a panel's rows lie one after another, as does a panel after the one before. A product that walks
 * down B's columns (dx = dY W) finds its next row beside the last one, not a whole row of the matrix on, in another page of memory;
 * one that walks along its rows (y = x Wᵀ) still finds 256 bytes in a row. How a training run keeps its frozen weights on a
 * software driver.
 */

/** Columns of a panel. */
export const panelWidth = 64;

/** Whether a matrix can lie in panels, and be read in fours along either side. */
export function fitsPanels([rows, columns]: readonly number[]): boolean {
  return rows % 4 === 0 && columns % panelWidth === 0;
}

/**
 * Hands `write` the values of a row-major matrix, or of a piece of one that begins at its element `from`, with the place in the panels
 * where each run of them belongs. What it is handed holds only until it returns.
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
