/** One of several classes, for a text or a pair: softmax cross-entropy. */

import { crossEntropy } from "../graph/ops/losses.ts";
import type { ObjectiveKind } from "./objective.ts";
import { faultOfClass, highest, refuseTexts, textObjective } from "./text_head.ts";

/** Classes of a text, or of a pair of texts. */
export const classification: ObjectiveKind = {
  problemType: "single_label_classification",
  outputNames: (classes) => classes,
  of(model, { texts, classes: outputs }) {
    refuseTexts("classification", texts);
    if (outputs < 2) throw new Error(`classification wants 2 classes or more, not ${outputs}`);
    return textObjective(model, {
      description: { shape: texts === 1 ? "single" : "pair", objective: "classification", texts, outputs },
      texts,
      outputs,
      rows: 1,
      labels: "classes",
      loss: crossEntropy,
      faultOf: (label) => faultOfClass(label, outputs),
      decide: highest,
    });
  },
};
