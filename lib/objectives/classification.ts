/** One of several classes, for a text or a pair: softmax cross-entropy. */

import { crossEntropy } from "../graph/ops/losses.ts";
import type { ObjectiveKind } from "./objective.ts";
import { faultOfClass, highest, textObjective } from "./text_head.ts";

/** Classes of a text, or of a pair of texts. */
export const classification: ObjectiveKind = {
  problemType: "single_label_classification",
  outputNames: (classes) => classes,
  of: (model, { texts, classes: outputs }) =>
    textObjective(model, {
      description: { shape: texts === 1 ? "single" : "pair", objective: "classification", texts, outputs },
      texts,
      outputs,
      rows: 1,
      labels: "classes",
      loss: crossEntropy,
      faultOf: (label) => faultOfClass(label, outputs),
      decide: highest,
    }),
};
