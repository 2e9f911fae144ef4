/**
 * Bodies of requests as OpenAI's API has them. A field that would change the answer and is not served is refused by name, an unknown
 * one as well; null is the same as absent. Ignored are fields that only concern OpenAI's own service: `user`, `metadata`, `store`,
 * `service_tier`, `safety_identifier`, `prompt_cache_key` and `prompt_cache_retention`.
 */

import * as v from "npm:valibot@1.5.0";
import type { SamplingOptions } from "../../lib/generate/sampling.ts";
import type { Prompt } from "../../lib/generate/prompts.ts";
import type { ChatMessage } from "../../lib/models/chat_inputs.ts";
import { ApiError } from "./api_error.ts";

/** What a request asks for. */
export interface AskedText {
  /** A name among the served ones. */
  readonly model: string;
  /** A prompt as it is, or a conversation that the chat template makes one of. */
  readonly input: { readonly prompt: Prompt } | { readonly messages: readonly ChatMessage[] };
  /** Absent where the request leaves it to the server. */
  readonly maxTokens: number | undefined;
  /** The field of the request that says so. */
  readonly maxTokensField: "max_tokens" | "max_completion_tokens";
  /** What the server then writes at most, if it may write as many. */
  readonly usualTokens: number;
  readonly sampling: SamplingOptions;
  readonly stop: readonly string[];
  readonly stream: boolean;
  /** Whether the stream ends with the numbers of tokens. */
  readonly includeUsage: boolean;
}

/** Stop strings of a request, as in OpenAI's API. */
const mostStops = 4;

const text = v.pipe(
  v.string(),
  v.check((value) => value.isWellFormed(), "it has half a surrogate pair: write whole characters"),
);
const filled = v.pipe(text, v.nonEmpty("it is empty"));
const wholeNumber = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(least), v.maxValue(most));

/** A field that is allowed only with the value which does nothing. */
const only = <const T extends string | number | boolean>(value: T) =>
  v.optional(v.literal(value, `only ${JSON.stringify(value)} is supported here`));

const common = {
  model: filled,
  max_tokens: v.optional(wholeNumber(1)),
  temperature: v.optional(v.pipe(v.number(), v.finite(), v.minValue(0)), 1),
  top_p: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 1),
  seed: v.optional(wholeNumber(0, 2 ** 32 - 1)),
  stop: v.optional(
    v.union(
      [
        v.pipe(filled, v.transform((one) => [one])),
        v.pipe(v.array(filled), v.maxLength(mostStops, `give up to ${mostStops} texts`)),
      ],
      `give a text that is not empty, or a list of up to ${mostStops}`,
    ),
    [],
  ),
  stream: v.optional(v.boolean(), false),
  stream_options: v.optional(
    v.strictObject({ include_usage: v.optional(v.boolean(), false), include_obfuscation: only(false) }),
  ),
  n: only(1),
  presence_penalty: only(0),
  frequency_penalty: only(0),
  logit_bias: v.optional(v.strictObject({})),
  user: v.optional(v.unknown()),
  metadata: v.optional(v.unknown()),
  store: v.optional(v.unknown()),
  service_tier: v.optional(v.unknown()),
  safety_identifier: v.optional(v.unknown()),
  prompt_cache_key: v.optional(v.unknown()),
  prompt_cache_retention: v.optional(v.unknown()),
};

const ids = v.array(wholeNumber(0));

const completionSchema = v.strictObject({
  ...common,
  prompt: v.union(
    [text, ids, v.pipe(v.strictTuple([v.union([text, ids])]), v.transform(([one]) => one))],
    "give a text or a list of ids, each prompt in a request of its own",
  ),
  best_of: only(1),
  echo: only(false),
  suffix: only(""),
});

const part = v.strictObject({ type: v.literal("text", "only text is supported here"), text });

/** Parts are joined by line feeds, as llama.cpp and vLLM do. */
const contentSchema = v.union(
  [text, v.pipe(v.array(part), v.transform((parts) => parts.map((own) => own.text).join("\n")))],
  'give a text, or a list of {"type": "text", "text": …}',
);

const chatSchema = v.strictObject({
  ...common,
  messages: v.pipe(
    v.array(
      v.strictObject({
        role: v.picklist(["system", "user", "assistant"], 'give "system", "user" or "assistant"'),
        content: v.optional(contentSchema),
      }),
    ),
    v.nonEmpty("there are none"),
  ),
  max_completion_tokens: v.optional(wholeNumber(1)),
  logprobs: only(false),
  response_format: v.optional(
    v.strictObject({ type: v.literal("text", "only text is supported here") }),
  ),
});

/** Reads a body of /v1/completions. Throws an ApiError that names the field. */
export function askedCompletion(body: Uint8Array): AskedText {
  const { prompt, max_tokens, ...rest } = checked(completionSchema, body);
  // 16, as in OpenAI's API.
  const asked = { maxTokens: max_tokens, maxTokensField: "max_tokens", usualTokens: 16 } as const;
  return { ...askedText(rest), input: { prompt }, ...asked };
}

/** Reads a body of /v1/chat/completions. Throws an ApiError that names the field. */
export function askedChat(body: Uint8Array): AskedText {
  const { messages, max_tokens, max_completion_tokens, ...rest } = checked(chatSchema, body);
  if (max_tokens !== undefined && max_completion_tokens !== undefined) {
    throw new ApiError(400, "give max_tokens or max_completion_tokens, not both", null, "max_tokens");
  }
  const maxTokens = max_completion_tokens ?? max_tokens;
  const maxTokensField = max_completion_tokens === undefined ? "max_tokens" : "max_completion_tokens";
  return { ...askedText(rest), input: { messages }, maxTokens, maxTokensField, usualTokens: Infinity };
}

type Common = v.InferOutput<v.StrictObjectSchema<typeof common, undefined>>;

function askedText(
  { model, stream, stream_options, stop, temperature, top_p, seed }: Omit<Common, "max_tokens">,
) {
  const drawn = () => crypto.getRandomValues(new Uint32Array(1))[0];
  return {
    model,
    sampling: { temperature, topP: top_p, seed: seed ?? drawn() },
    stop,
    stream,
    includeUsage: stream_options?.include_usage ?? false,
  };
}

function checked<S extends v.GenericSchema>(schema: S, body: Uint8Array): v.InferOutput<S> {
  const { success, output, issues } = v.safeParse(schema, jsonOf(body), { abortEarly: true });
  if (success) return output;
  const [issue] = issues;
  const path = v.getDotPath(issue);
  const field = path === null ? "the body" : path;
  throw new ApiError(400, `${field}: ${reasonOf(issue)}`, null, path);
}

/** The longest message about a value: a value can be as long as the body. */
const longest = 300;

function reasonOf({ type, expected, received, message }: v.BaseIssue<unknown>): string {
  if (type === "strict_object" && expected === "never") return "not supported here: leave it out";
  if (type === "strict_object" && received === "undefined" && expected !== "Object") return "it is missing";
  return message.slice(0, longest);
}

/** The JSON value of a body, without fields that are null. */
function jsonOf(body: Uint8Array): unknown {
  try {
    const written = new TextDecoder("utf-8", { fatal: true }).decode(body);
    return JSON.parse(written, (_, value) => value === null ? undefined : value);
  } catch (error) {
    throw new ApiError(
      400,
      `the body is no JSON text in UTF-8: ${(error as Error).message.slice(0, longest)}`,
    );
  }
}
