/** The right one of a question's options: a score for each, and softmax cross-entropy over an example's scores. */

import { crossEntropy } from "../graph/ops/losses.ts";
import type { ObjectiveKind } from "./objective.ts";
import { faultOfClass, highest, textObjective } from "./text_head.ts";

/** Options of a question. An example's first text is the question, the others are the options. */
export const choice: ObjectiveKind = {
  problemType: "single_label_classification",
  outputNames: () => ["LABEL_0"],
  of(model, { texts }) {
    if (texts < 2) {
      throw new Error(
        `choice is of a question and its options, 2 texts or more, and these examples have ${texts}`,
      );
    }
    return textObjective(model, {
      description: { shape: "choice", objective: "classification", texts, outputs: 1 },
      texts,
      outputs: 1,
      rows: texts - 1,
      labels: "classes",
      loss: crossEntropy,
      faultOf: (label) => faultOfClass(label, texts - 1),
      decide: highest,
    });
  },
};
