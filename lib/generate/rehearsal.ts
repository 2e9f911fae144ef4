/** Evaluates without a model's weights: what is asked is made and checked, and nothing is computed. */

import type { Gpu } from "../gpu/device.ts";
import type { Decoder } from "../models/model.ts";
import type { Answering } from "./evaluate.ts";
import { checkContinuations, continuationIds, type Prompt, promptIds } from "./prompts.ts";
import { checkTexts, roomFor } from "./text_room.ts";
import type { Written } from "./writer.ts";

const nothing: Written = { text: "", ids: [], ended: "stop" };

/** Writes nothing, and finds everything as likely. Throws an Error where a `Writer` on this GPU would refuse what it is asked. */
export function rehearsal(gpu: Gpu, model: Decoder): Answering {
  const idsOf = (prompt: Prompt) => promptIds(model, prompt);
  const check = (prompts: readonly Prompt[], newTokensOf: (prompt: number) => number, beams?: number) =>
    checkTexts({ gpu, model, cache: "f32" }, roomFor(model, prompts.map(idsOf), newTokensOf, beams));
  return {
    maxTokens: model.maxTokens!,
    idsOf,
    continuationIds: (continuation) => continuationIds(model, continuation),
    write: (prompts, { maxTokens }) =>
      new Promise((resolve) => {
        check(prompts, () => maxTokens);
        resolve(prompts.map(() => nothing));
      }),
    search: (prompts, { maxTokens, beams }) =>
      new Promise((resolve) => {
        check(prompts, () => maxTokens, beams);
        resolve(prompts.map(() => [{ ...nothing, score: 0 }]));
      }),
    scoreEach: (prompts, continuations) =>
      new Promise((resolve) => {
        const ends = continuations.map((own) => own.map((end) => continuationIds(model, end)));
        checkContinuations(model, prompts.length, ends);
        check(prompts, (i) => Math.max(...ends[i].map(({ length }) => length)));
        resolve(ends.map((own) => own.map(() => 0)));
      }),
  };
}
