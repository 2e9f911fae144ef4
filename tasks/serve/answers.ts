/** Answers in the shapes of OpenAI's API: whole, and in chunks. */

import type { Written } from "../../lib/generate/writer.ts";
import type { AskedText } from "./requests.ts";

/** Why a text ends; null while it goes on. */
export type FinishReason = Written["ended"] | null;

/** Numbers of tokens, those of the text with the end token. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** The numbers of tokens of a prompt and its text. */
export function usageOf(prompt: readonly number[], { ids }: Written): Usage {
  const [prompt_tokens, completion_tokens] = [prompt.length, ids.length];
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** What the objects of one answer are made by. */
export interface AnswerShape {
  /** All at once. */
  whole(written: Written, usage: Usage): object;
  /** A piece of the text, or with a reason its end. */
  chunk(piece: string, finishReason: FinishReason): object;
  /** What comes before the first piece, if anything does. */
  readonly begin: object | undefined;
  /** The numbers of tokens, after the end. */
  usage(usage: Usage): object;
}

/** The shape of an answer to this request. */
export function shapeOf({ model, input, includeUsage }: AskedText): AnswerShape {
  const created = Math.floor(Date.now() / 1000);
  // As OpenAI's API does: where the last chunk has the numbers, the others say that they have none.
  const noUsage = includeUsage ? { usage: null } : {};
  if ("prompt" in input) {
    const own = { id: `cmpl-${crypto.randomUUID()}`, object: "text_completion", created, model };
    const choices = (text: string, finish_reason: FinishReason) => ({
      choices: [{ index: 0, text, logprobs: null, finish_reason }],
    });
    return {
      whole: ({ text, ended }, usage) => ({ ...own, ...choices(text, ended), usage }),
      chunk: (piece, finishReason) => ({ ...own, ...choices(piece, finishReason), ...noUsage }),
      begin: undefined,
      usage: (usage) => ({ ...own, choices: [], usage }),
    };
  }
  const own = { id: `chatcmpl-${crypto.randomUUID()}`, created, model };
  const chunk = (delta: object, finish_reason: FinishReason) => ({
    ...{ ...own, object: "chat.completion.chunk" },
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    ...noUsage,
  });
  return {
    whole: ({ text, ended }, usage) => ({
      ...{ ...own, object: "chat.completion" },
      choices: [{
        index: 0,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: null,
        finish_reason: ended,
      }],
      usage,
    }),
    chunk: (piece, finishReason) => chunk(finishReason === null ? { content: piece } : {}, finishReason),
    begin: chunk({ role: "assistant", content: "" }, null),
    usage: (usage) => ({ ...own, object: "chat.completion.chunk", choices: [], usage }),
  };
}
