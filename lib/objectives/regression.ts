/** A number for a text or a pair: mean squared error. */

import { meanSquaredError } from "../graph/ops/losses.ts";
import type { ObjectiveKind } from "./objective.ts";
import { refuseTexts, textObjective } from "./text_head.ts";

/** A value for a text, or for a pair of texts. */
export const regression: ObjectiveKind = {
  problemType: "regression",
  outputNames: () => ["LABEL_0"],
  of(model, { texts }) {
    refuseTexts("regression", texts);
    return textObjective(model, {
      description: { shape: texts === 1 ? "single" : "pair", objective: "regression", texts, outputs: 1 },
      texts,
      outputs: 1,
      rows: 1,
      labels: "values",
      loss: meanSquaredError,
      faultOf: (label) => Number.isFinite(label) ? undefined : `its value ${label} is not a finite number`,
      decide: ([value]) => value,
    });
  },
};
