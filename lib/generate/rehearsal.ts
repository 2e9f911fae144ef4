/** Evaluates without a model's weights: what is asked is made and checked, and nothing is computed. */

import type { Decoder } from "../models/model.ts";
import type { Answering } from "./evaluate.ts";
import { continuationIds, promptIds } from "./prompts.ts";
import type { Written } from "./writer.ts";

const nothing: Written = { text: "", ids: [], ended: "stop" };

/** Writes nothing, and finds everything as likely. */
export function rehearsal(model: Decoder): Answering {
  return {
    maxTokens: model.maxTokens!,
    idsOf: (prompt) => promptIds(model, prompt),
    continuationIds: (continuation) => continuationIds(model, continuation),
    write: (prompts) => Promise.resolve(prompts.map(() => nothing)),
    search: (prompts) => Promise.resolve(prompts.map(() => [{ ...nothing, score: 0 }])),
    scoreEach: (_, continuations) => Promise.resolve(continuations.map((own) => own.map(() => 0))),
  };
}
