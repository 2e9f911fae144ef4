/** An objective of one's own: values between −1 and 1, through a tanh. */

import { activate, meanSquaredError } from "http://repository.test/lib/front/graph.ts";
import { type ObjectiveKind, textObjective } from "http://repository.test/lib/front/models.ts";

/** A bounded value for a text. */
export const bounded: ObjectiveKind = {
  problemType: "regression",
  outputNames: () => ["LABEL_0"],
  of: (model, { texts }) =>
    textObjective(model, {
      description: { objective: "bounded", texts },
      texts,
      outputs: 1,
      rows: 1,
      labels: "values",
      loss: (x, targets, weights) => meanSquaredError(activate("tanh", x), targets, weights),
      faultOf: (label) => Math.abs(label) < 1 ? undefined : `its value ${label} is not between −1 and 1`,
      decide: ([value]) => Math.tanh(value),
    }),
};
