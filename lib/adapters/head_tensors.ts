/** The head's tensors in an adapter folder: their names, and the shapes that fit the model. */

import { headPathsOf, type Model } from "../models/model.ts";

/** Names of the head's tensors. */
export function headNames({ head }: Pick<Model, "head">): string[] {
  return headPathsOf(head).flatMap((path) => [`${path}.weight`, `${path}.bias`]);
}

/**
 * Checks that `shapes` are those of a complete head for this model (see `text_head.ts`, which creates
 * heads). The number of outputs is that of the projection's rows.
 * @throws Error that begins with `where` when a tensor is missing or has another shape.
 */
export function checkHead(
  model: Model,
  shapes: ReadonlyMap<string, readonly number[]>,
  where: string,
): void {
  const names = headNames(model);
  const missing = names.filter((name) => !shapes.has(name));
  if (missing.length > 0) {
    throw new Error(
      `${where}: of ${model.name}'s head it has ${
        names.filter((name) => shapes.has(name)).join(", ")
      } and not ${
        missing.join(", ")
      }: a head is saved whole, in PEFT by modules_to_save=["${model.head.module}"]`,
    );
  }
  const { dense, projection } = model.head;
  const [outputs, width] = shapes.get(`${projection}.weight`)!;
  if (!(outputs >= 1)) throw new Error(`${where}: the head's "${projection}.weight" has no outputs`);
  // A head that compares two texts takes four vectors concatenated (see `compareFeatures`).
  const widths = [1, 2].map((texts) => model.width * model.pairing.vectorsOf(texts));
  const columns = widths.includes(width) ? width : model.width;
  const wanted = new Map([
    ...dense ? [[`${dense}.weight`, [columns, columns]], [`${dense}.bias`, [columns]]] as const : [],
    [`${projection}.weight`, [outputs, columns]] as const,
    [`${projection}.bias`, [outputs]] as const,
  ]);
  for (const [name, shape] of wanted) {
    const found = shapes.get(name)!;
    if (found.join() !== shape.join()) {
      throw new Error(
        `${where}: the head's "${name}" is [${found}], and a head of ${outputs} outputs on ${model.name} has [${shape}]`,
      );
    }
  }
}
