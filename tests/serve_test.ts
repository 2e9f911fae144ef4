/** `deno task serve` as its clients see it: npm's `openai` against a tiny decoder with two adapters, whose texts are the Writer's. */

import assert from "node:assert/strict";
import OpenAI, { APIError } from "npm:openai@7.59.0";
import { attach } from "../lib/adapters/attach.ts";
import { bora } from "../lib/adapters/bora.ts";
import { lora } from "../lib/adapters/lora.ts";
import { saveAdapter, type SavedAdapter } from "../lib/adapters/peft.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { NoRoomError } from "../lib/generate/text_room.ts";
import { type WriteOptions, Writer, type Written } from "../lib/generate/writer.ts";
import { encodeChat } from "../lib/models/chat_template.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { askedChat } from "../tasks/serve/requests.ts";
import { ServedModels } from "../tasks/serve/served_models.ts";
import { type ServerOptions, serveTexts } from "../tasks/serve/server.ts";
import { Turns } from "../tasks/serve/turns.ts";
import { outputOf, startTask } from "./support/command.ts";
import { cases, loraOptions, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";
import { testGpu } from "./support/ops.ts";
import { seeded } from "./support/seeded_checkpoint.ts";

const llama = cases["LLaMA 2"];
const context = 64;

/** Greedy: the first is ended by an end token, the second is as long as it may be. */
const [, stopping, going] = llama.generation.greedy.map(({ prompt }) => [...prompt]);

const plainTemplate = "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}" +
  "{% if add_generation_prompt %}<s>{% endif %}";

/** Files of the model's folder that are others than the fixture's. */
type Files = Readonly<Record<string, string>>;

async function withModel(files: Files, body: (model: Decoder, folder: string) => Promise<void>) {
  await withFolder(async (folder) => {
    const path = `${folder}/tiny`;
    await writeDecoder(path, llama);
    for (const [name, text] of Object.entries({ "chat_template.jinja": plainTemplate, ...files })) {
      await Deno.writeTextFile(`${path}/${name}`, text);
    }
    await body(await loadDecoder(path), folder);
  });
}

/** Adapters with weights drawn from their names. */
function adaptersOf(model: Decoder): Map<string, SavedAdapter> {
  const attached = {
    first: attach(model, lora, loraOptions),
    second: attach(model, bora, { ...loraOptions, blocks: 2 }),
  };
  return new Map(
    Object.entries(attached).map(([name, adapter]) => {
      const weights = new Map(
        [...adapter.parameters].map(([own, { shape }]) =>
          [own, { shape, data: seeded(own, shape) }] as const
        ),
      );
      return [name, { adapter, weights }];
    }),
  );
}

/** What a test has at hand. */
interface Served {
  readonly client: OpenAI;
  readonly model: Decoder;
  readonly models: ServedModels;
  readonly adapters: ReadonlyMap<string, SavedAdapter>;
  /** The base URL. */
  readonly url: string;
  /** What the Writer writes, greedily, alone or with an adapter. */
  write(prompt: string | readonly number[], options?: Partial<WriteOptions>, name?: string): Promise<Written>;
}

async function withServer(
  body: (served: Served) => Promise<void>,
  { files = {}, ...limits }: Partial<ServerOptions> & { readonly files?: Files } = {},
): Promise<void> {
  await withModel(files, async (model) => {
    const gpu = await testGpu();
    const adapters = adaptersOf(model);
    using models = new ServedModels({ gpu, model, adapters });
    await using server = await serveTexts({ models, port: 0, maxRequests: 4, maxTokens: 60, ...limits });
    const client = new OpenAI({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
    const write: Served["write"] = async (prompt, options, name) => {
      using writer = new Writer({ gpu, model, ...name === undefined ? {} : adapters.get(name)! });
      return (await writer.write([prompt], { maxTokens: 12, ...options }))[0];
    };
    await body({ client, model, models, adapters, url: server.url, write });
  });
}

const greedy = { model: "tiny", temperature: 0, max_tokens: 12 } as const;

/** The chunks of a streamed completion, and their text. */
async function streamed(client: OpenAI, asked: Omit<OpenAI.CompletionCreateParamsStreaming, "stream">) {
  const chunks = await Array.fromAsync(await client.completions.create({ ...asked, stream: true }));
  return { chunks, text: chunks.map(({ choices }) => choices.at(0)?.text ?? "").join("") };
}

/** Asserts that a request is refused, and gives the error's value. */
async function refused(request: Promise<unknown>, status: number, message: RegExp) {
  const error = await request.then(() => assert.fail("it was answered"), (error) => error);
  assert.ok(error instanceof APIError, String(error));
  assert.equal(error.status, status, error.message);
  assert.match(error.message, message);
  return error;
}

/** Posts what the client's types do not allow. */
function post(client: OpenAI, path: string, body: unknown): Promise<unknown> {
  return client.post(path, { body });
}

/** Fails when a promise takes longer than a test may. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("it takes longer than 30 seconds")), 30_000);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

Deno.test("a completion is the Writer's text, whole and streamed, with its end and numbers of tokens", () =>
  withServer(async ({ client, write }) => {
    for (const [prompt, reason] of [[stopping, "stop"], [going, "length"], ["Ab c", "length"]] as const) {
      const own = await write(typeof prompt === "string" ? prompt : [...prompt]);
      const whole = await client.completions.create({ ...greedy, prompt: prompt as string | number[] });
      const [{ text, finish_reason }] = whole.choices;
      assert.deepEqual([text, finish_reason, own.ended], [own.text, reason, reason]);
      const length = typeof prompt === "string" ? 5 : prompt.length;
      assert.deepEqual(whole.usage, {
        prompt_tokens: length,
        completion_tokens: own.ids.length,
        total_tokens: length + own.ids.length,
      });
      const { chunks, text: joined } = await streamed(client, {
        ...greedy,
        prompt: prompt as string | number[],
      });
      assert.equal(joined, own.text);
      const reasons = chunks.map(({ choices }) => choices[0].finish_reason as string | null);
      assert.deepEqual(reasons, [...new Array(chunks.length - 1).fill(null), reason]);
    }
  }));

Deno.test("a stream ends with [DONE], and has the numbers of tokens in a chunk of their own where they are asked for", () =>
  withServer(async ({ client, url, write }) => {
    const body = JSON.stringify({ ...greedy, prompt: going, stream: true });
    const response = await fetch(`${url}/completions`, { method: "POST", body });
    assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
    const events = (await response.text()).split("\n\n");
    assert.deepEqual(events.slice(-2), ["data: [DONE]", ""]);
    const values = events.slice(0, -2).map((event) => JSON.parse(event.slice("data: ".length)));
    assert.ok(values.every((value) => value.choices.length === 1 && !("usage" in value)));
    const { ids } = await write(going);
    const expected = {
      prompt_tokens: going.length,
      completion_tokens: ids.length,
      total_tokens: going.length + ids.length,
    };
    const { chunks } = await streamed(client, {
      ...greedy,
      prompt: going,
      stream_options: { include_usage: true },
    });
    const { choices, usage } = chunks.at(-1)!;
    assert.deepEqual([choices, usage], [[], expected]);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.choices.length === 1 && chunk.usage === null));
  }));

Deno.test("a chat is written on as the template has it, whole and streamed; no content is an empty one", () =>
  withServer(async ({ client, model, write }) => {
    const messages = [
      { role: "system", content: "Be </s>" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "assistant", content: null },
      { role: "user", content: "c" },
    ] as const;
    const { templates, tokenizer } = model.language;
    const ids = await encodeChat(templates!, tokenizer, {
      where: "the test",
      messages: [
        messages[0],
        { role: "user", content: "a\nb" },
        { role: "assistant", content: "" },
        messages[3],
      ],
      addGenerationPrompt: true,
    });
    const own = await write(ids);
    const asked = { ...greedy, messages: messages as unknown as OpenAI.ChatCompletionMessageParam[] };
    // The tiny vocabulary has no line feed, so that its ids do not tell.
    const { input } = askedChat(new TextEncoder().encode(JSON.stringify(asked)));
    assert.ok("messages" in input);
    assert.equal(input.messages[1].content, "a\nb");
    const whole = await client.chat.completions.create(asked);
    assert.deepEqual(whole.choices, [{
      index: 0,
      message: { role: "assistant", content: own.text, refusal: null },
      logprobs: null,
      finish_reason: own.ended,
    }]);
    assert.equal(whole.usage!.prompt_tokens, ids.length);
    const stream = await client.chat.completions.create({ ...asked, stream: true });
    const chunks = (await Array.fromAsync(stream)).map(({ choices: [choice] }) => choice);
    assert.deepEqual(chunks[0].delta, { role: "assistant", content: "" });
    assert.equal(chunks.map(({ delta }) => delta.content ?? "").join(""), own.text);
    const reasons = chunks.map(({ finish_reason }) => finish_reason);
    assert.deepEqual(reasons, [...new Array(chunks.length - 1).fill(null), own.ended]);
    // The answer can be sent back as it came.
    const next = [...asked.messages, whole.choices[0].message, { role: "user", content: "d" } as const];
    assert.ok((await client.chat.completions.create({ ...asked, messages: next.slice(-3) })).choices[0]);
  }));

Deno.test("the model and each adapter write their own texts under their names, which are listed", () =>
  withServer(async ({ client, write }) => {
    const names = (await Array.fromAsync(client.models.list())).map(({ id }) => id);
    assert.deepEqual(names, ["tiny", "first", "second"]);
    const texts = [];
    for (const model of names) {
      const { choices: [{ text }] } = await client.completions.create({ ...greedy, model, prompt: going });
      assert.equal(text, (await write(going, {}, model === "tiny" ? undefined : model)).text);
      texts.push(text);
    }
    assert.equal(new Set(texts).size, 3);
    const error = await refused(
      client.completions.create({ ...greedy, model: "third", prompt: "a" }),
      404,
      /there is no model "third" here, only tiny, first, second/,
    );
    assert.deepEqual([error.code, error.param, error.type], [
      "model_not_found",
      "model",
      "invalid_request_error",
    ]);
  }));

Deno.test("a stop string over several tokens ends the text before it, and none of it is streamed", () =>
  withServer(async ({ client, write }) => {
    const { text } = await write(going);
    const stop = text.slice(4, 8);
    for (
      const [stops, expected, reason] of [
        [stop, text.slice(0, text.indexOf(stop)), "stop"],
        [[`${text.slice(0, 3)}☃`, stop], text.slice(0, text.indexOf(stop)), "stop"],
        [[text], "", "stop"],
        [[`${text}☃`], text, "length"],
      ] as const
    ) {
      const asked = { ...greedy, prompt: going, stop: stops as string | string[] };
      const { choices: [whole] } = await client.completions.create(asked);
      assert.deepEqual([whole.text, whole.finish_reason], [expected, reason]);
      const { chunks, text: joined } = await streamed(client, asked);
      assert.deepEqual([joined, chunks.at(-1)!.choices[0].finish_reason], [expected, reason]);
    }
  }));

Deno.test("a character whose bytes are in several tokens is streamed whole", async () => {
  const { ids } = llama.generation.greedy[2];
  await withModel({}, async (_, folder) => {
    // The two bytes of "é", as byte-level vocabularies write them, for two tokens that come one after the other.
    const description = JSON.parse(await Deno.readTextFile(`${folder}/tiny/tokenizer.json`));
    const names = new Map([[ids[1], "Ã"], [ids[2], "©"]]);
    description.model.vocab = Object.fromEntries(
      Object.entries<number>(description.model.vocab).map(([token, id]) => [names.get(id) ?? token, id]),
    );
    await withServer(async ({ client, model, write }) => {
      const own = await write(going);
      assert.match(own.text, /^ é/);
      const { text } = await streamed(client, { ...greedy, prompt: going });
      assert.equal(text, own.text);
      assert.equal(text, model.language.tokenizer.decode(own.ids, { continues: true }));
    }, { files: { "tokenizer.json": JSON.stringify(description) } });
  });
});

Deno.test("a conversation that the template refuses, and one without a template, are the request's fault", async () => {
  const template =
    `{{ raise_exception('System role not supported') if messages[0].role == 'system' }}${plainTemplate}`;
  await withServer(async ({ client }) => {
    const asked = { ...greedy, messages: [{ role: "system", content: "a" }, { role: "user", content: "b" }] };
    for (const stream of [false, true]) {
      const error = await refused(
        post(client, "/chat/completions", { ...asked, stream }),
        400,
        /the request, message 1 \(system\): the chat template refuses it: System role not supported/,
      );
      assert.deepEqual([error.param, error.type], ["messages", "invalid_request_error"]);
    }
  }, { files: { "chat_template.jinja": template } });
  await withServer(async ({ client, model }) => {
    Object.assign(model.language, { templates: undefined });
    const request = client.chat.completions.create({ ...greedy, messages: [{ role: "user", content: "a" }] });
    await refused(request, 400, /tiny has no chat template: use \/v1\/completions/);
  });
});

Deno.test("a prompt beyond the context is refused with both numbers, and one before its end gets what fits", () =>
  withServer(async ({ client, write }) => {
    const prompt = (length: number) => Array.from({ length }, (_, i) => 1 + i % 30);
    for (const stream of [false, true]) {
      const error = await refused(
        client.completions.create({ ...greedy, prompt: prompt(context), stream }),
        400,
        /the prompt has 64 tokens, and tiny's context is 64 tokens/,
      );
      assert.equal(error.code, "context_length_exceeded");
    }
    const near = prompt(context - 5);
    const own = await write(near, { maxTokens: 5 });
    const { choices: [{ text, finish_reason }], usage } = await client.completions.create({
      ...greedy,
      prompt: near,
    });
    assert.deepEqual([text, finish_reason, usage!.completion_tokens], [own.text, "length", 5]);
  }));

Deno.test("a request that names no number of tokens gets what the server gives at most: a completion 16, a chat all", () =>
  withServer(async ({ client, write }) => {
    const { max_tokens: _, ...asked } = greedy;
    const completion = await client.completions.create({ ...asked, prompt: going });
    assert.equal(completion.choices[0].text, (await write(going, { maxTokens: 5 })).text);
    const messages = [{ role: "user", content: "Ab c" } as const];
    const chat = await client.chat.completions.create({ ...asked, messages });
    assert.equal(chat.usage!.completion_tokens, 5);
  }, { maxTokens: 5 }));

Deno.test("what is drawn depends on the seed; without a temperature it is drawn, as in OpenAI's API", () =>
  withServer(async ({ client, write }) => {
    const asked = { model: "tiny", prompt: going, max_tokens: 12, top_p: 0.9, seed: 7 };
    const own = await write(going, { temperature: 1, topP: 0.9, seed: 7 });
    assert.equal((await client.completions.create(asked)).choices[0].text, own.text);
    assert.notEqual((await client.completions.create({ ...asked, seed: 8 })).choices[0].text, own.text);
    const unseeded = { ...asked, seed: null };
    const texts = new Set();
    for (let i = 0; i < 3; i++) texts.add((await client.completions.create(unseeded)).choices[0].text);
    assert.ok(texts.size > 1);
  }));

Deno.test("a field that would change the answer is refused by name, and one that would not is ignored", () =>
  withServer(async ({ client, write }) => {
    const completion = (fields: object) =>
      post(client, "/completions", { ...greedy, prompt: going, ...fields });
    const chat = (fields: object) =>
      post(client, "/chat/completions", {
        ...greedy,
        messages: [{ role: "user", content: "a" }],
        ...fields,
      });
    for (
      const [fields, message] of [
        [{ n: 2 }, /n: only 1 is supported here/],
        [{ logprobs: 3 }, /logprobs: not supported here: leave it out/],
        [{ echo: true }, /echo: only false is supported here/],
        [{ best_of: 2 }, /best_of: only 1/],
        [{ presence_penalty: 0.5 }, /presence_penalty: only 0/],
        [{ logit_bias: { 5: 100 } }, /logit_bias\.5: not supported here/],
        [{ temprature: 0 }, /temprature: not supported here: leave it out/],
        [{ temperature: -1 }, /temperature: Invalid value/],
        [{ temperature: "hot" }, /temperature: Invalid type: Expected number but received "hot"/],
        [{ top_p: 1.5 }, /top_p: Invalid value/],
        [{ seed: -1 }, /seed: Invalid value/],
        [{ stop: "" }, /stop: give a text that is not empty/],
        [{ stop: 5 }, /stop: .*a list of up to 4/],
        [{ stop: ["a", "b", "c", "d", "e"] }, /stop: give up to 4 texts/],
        [{ max_tokens: 0 }, /max_tokens: Invalid value/],
        [{ max_tokens: 61 }, /61 new tokens are asked for: this server writes 60 at most/],
        [{ prompt: ["a", "b"] }, /prompt: give a text or a list of ids, each prompt in a request of its own/],
        [{ prompt: null }, /prompt: it is missing/],
        [{ prompt: [96] }, /the prompt has the id 96, which is none of tiny's/],
        [{ prompt: [] }, /the prompt is empty/],
        [{ prompt: "\ud800" }, /prompt: .*half a surrogate pair/],
      ] as const
    ) await refused(completion(fields), 400, message);
    for (
      const [fields, message] of [
        [{ logprobs: true }, /logprobs: only false/],
        [{ tools: [{ type: "function", function: { name: "f" } }] }, /tools: not supported here/],
        [{ response_format: { type: "json_object" } }, /response_format\.type: only text/],
        [{ messages: [] }, /messages: there are none/],
        [
          { messages: [{ role: "tool", content: "a" }] },
          /messages\.0\.role: give "system", "user" or "assistant"/,
        ],
        [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, /messages\.0\.content/],
        [{ messages: [{ role: "user", content: "a", name: "b" }] }, /messages\.0\.name: not supported here/],
        [{ max_tokens: 1, max_completion_tokens: 1 }, /give max_tokens or max_completion_tokens, not both/],
      ] as const
    ) await refused(chat(fields), 400, message);
    for (const field of ["max_tokens", "max_completion_tokens"]) {
      const { param } = await refused(chat({ max_tokens: undefined, [field]: 61 }), 400, /60 at most/);
      assert.equal(param, field);
    }
    const harmless = {
      ...{ user: "me", metadata: {}, store: true, service_tier: "auto", safety_identifier: "x" },
      ...{ n: 1, logprobs: null, echo: false, presence_penalty: 0, logit_bias: {}, suffix: null },
      prompt: [going],
    };
    const { choices: [{ text }] } = await completion(harmless) as OpenAI.Completion;
    assert.equal(text, (await write(going)).text);
  }));

Deno.test("a body that is no JSON, one that is too long, and another path are refused in OpenAI's shape", () =>
  withServer(async ({ url }) => {
    const errorOf = async (body: BodyInit, path = "/completions") => {
      const response = await fetch(url + path, { method: "POST", body });
      const { error } = await response.json();
      assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
      return `${response.status} ${error.message}`;
    };
    assert.match(await errorOf("{"), /^400 the body is no JSON text in UTF-8: /);
    assert.match(await errorOf(Uint8Array.of(34, 0xff, 34)), /^400 the body is no JSON text in UTF-8: /);
    assert.match(await errorOf(""), /^400 the body is no JSON text in UTF-8: /);
    assert.match(await errorOf("null"), /^400 the body: Invalid type: Expected Object/);
    assert.match(await errorOf("[]"), /^400 model: it is missing/);
    const deep = "[".repeat(2 ** 19) + "]".repeat(2 ** 19);
    assert.match(await errorOf(deep), /^400 /);
    const long = new Uint8Array(2 ** 20 + 1).fill(32);
    assert.equal(await errorOf(long), "413 the body is longer than 1048576 bytes");
    // Without a length that is told before, the rest is not waited for: the connection is closed.
    const inPieces = (...pieces: Uint8Array[]) => errorOf(ReadableStream.from(pieces));
    await assert.rejects(inPieces(long.subarray(1), long.subarray(0, 1)), TypeError);
    const [first, second] = ['{"model": ', '"none", "prompt": ""}'].map((text) =>
      new TextEncoder().encode(text)
    );
    assert.match(await inPieces(first, second), /^404 there is no model "none" here/);
    assert.equal(await errorOf("{}", "/embeddings"), "404 there is no POST /v1/embeddings");
  }));

Deno.test("web pages are refused: by the Origin that they send, and by the name that leads them here", () =>
  withServer(async ({ url }) => {
    const { port } = new URL(url);
    await assert.rejects(Deno.connect({ hostname: "127.0.0.2", port: Number(port) }), "another address");
    /** The status line of a request with these headers, and the answer's headers. */
    const ask = async (headers: string, method = "GET") => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
      const request = `${method} /v1/models HTTP/1.1\r\n${headers}\r\nConnection: close\r\n\r\n`;
      await connection.write(new TextEncoder().encode(request));
      return await new Response(connection.readable).text();
    };
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example"]) {
      assert.match(await ask(`Host: ${host}`), /^HTTP\/1\.1 403 .*use 127\.0\.0\.1 or localhost/s, host);
    }
    for (const origin of ["https://evil.example", "null", `http://127.0.0.1:${port}`]) {
      const answer = await ask(`Host: 127.0.0.1:${port}\r\nOrigin: ${origin}`);
      assert.match(answer, /^HTTP\/1\.1 403 .*only programs on this machine/s, origin);
      assert.doesNotMatch(answer, /access-control/i);
    }
    const preflight = await ask(`Host: localhost:${port}\r\nOrigin: https://evil.example`, "OPTIONS");
    assert.match(preflight, /^HTTP\/1\.1 403 /);
    assert.doesNotMatch(preflight, /access-control/i);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, "localhost"]) {
      assert.match(await ask(`Host: ${host}`), /^HTTP\/1\.1 200 /, host);
    }
  }));

Deno.test("the room for texts that stays on the GPU does not grow with the number of adapters", () =>
  withModel({}, async (model) => {
    using gpu = await openGpu();
    const { adapter, weights } = adaptersOf(model).get("first")!;
    const names = ["a", "b", "c", "d"];
    using models = new ServedModels({
      gpu,
      model,
      adapters: new Map(names.map((name) => [name, { adapter, weights }])),
    });
    const buffersAfter = async (name: string) => {
      for (const texts of [1, 2]) {
        await models.writerOf(name)!.write(Array.from({ length: texts }, () => going), { maxTokens: 2 });
      }
      return gpu.memory.buffers;
    };
    const one = await buffersAfter("a");
    for (const name of names.slice(1)) assert.equal(await buffersAfter(name), one, name);
  }));

/** Makes a name's writer wait for ever, or until the request is given up; resolves when it has begun and when it is given up. */
function stall(models: ServedModels, name: string) {
  const begun = Promise.withResolvers<void>();
  const givenUp = Promise.withResolvers<void>();
  models.writerOf(name)!.write = (_, { signal }) =>
    new Promise((_, reject) => {
      begun.resolve();
      signal!.addEventListener("abort", () => {
        givenUp.resolve();
        reject(signal!.reason);
      });
    });
  return { begun: begun.promise, givenUp: givenUp.promise };
}

Deno.test("too many requests are refused, and one that the client gives up makes room for those that wait", () =>
  withServer(async ({ client, models, write }) => {
    const { begun, givenUp } = stall(models, "first");
    const running = new AbortController();
    const ask = (model: string, signal?: AbortSignal) =>
      client.completions.create({ ...greedy, model, prompt: going }, { signal });
    const gone = assert.rejects(ask("first", running.signal), /aborted/);
    await inTime(begun);
    // One of the two waits, the other is refused.
    const both = [ask("tiny"), ask("tiny")];
    const error = await inTime(refused(Promise.race(both), 429, /2 requests wait or are being answered/));
    assert.deepEqual([error.code, error.type], ["rate_limit_exceeded", "rate_limit_error"]);
    running.abort();
    await Promise.all([gone, inTime(givenUp)]);
    assert.equal((await inTime(Promise.any(both))).choices[0].text, (await write(going)).text);
  }, { maxRequests: 2 }));

Deno.test("turns come in the order in which they were asked for; who gives up while waiting makes room at once", async () => {
  const turns = new Turns(2);
  const never = new AbortController().signal;
  const first = await turns.take(never);
  const waiting = new AbortController();
  const second = turns.take(waiting.signal);
  await assert.rejects(turns.take(never), /2 requests wait or are being answered/);
  waiting.abort(new Error("enough"));
  await assert.rejects(second, /^Error: enough$/);
  await assert.rejects(turns.take(waiting.signal), /^Error: enough$/);
  let called = false;
  const third = turns.take(never).then((turn) => {
    called = true;
    return turn;
  });
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(!called);
  first[Symbol.dispose]();
  const last = await third;
  let empty = false;
  const emptied = turns.emptied().then(() => empty = true);
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(!empty);
  last[Symbol.dispose]();
  await emptied;
});

Deno.test("a stream that the client leaves is not written on, and the next request is answered", () =>
  withServer(async ({ client, models, write }) => {
    const writer = models.writerOf("tiny")!;
    const stream = writer.stream.bind(writer);
    const left = Promise.withResolvers<number>();
    writer.stream = async function* (prompt, options) {
      const pieces = stream(prompt, options);
      const gone = new Promise((resolve) => options.signal!.addEventListener("abort", resolve));
      let count = 0;
      try {
        yield (await pieces.next()).value as string;
        await gone;
        while (!(await pieces.next()).done) count++;
        return assert.fail("it was written to its end");
      } finally {
        left.resolve(count);
      }
    };
    const answer = await client.completions.create({ ...greedy, prompt: going, stream: true });
    for await (const _ of answer) break;
    assert.equal(await inTime(left.promise), 0);
    const { choices: [{ text }] } = await client.completions.create({ ...greedy, prompt: going });
    assert.equal(text, (await write(going)).text);
  }));

Deno.test("a client that goes amid its request's body is no fault of the server's, which prints nothing", () =>
  withServer(async ({ client, url, write }) => {
    const { error } = console;
    const printed: string[] = [];
    console.error = (line: string) => void printed.push(line);
    try {
      for (const framing of ["Content-Length: 99\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"]) {
        using connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(url).port) });
        const head = `POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n${framing}`;
        await connection.write(new TextEncoder().encode(head));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const { choices: [{ text }] } = await client.completions.create({ ...greedy, prompt: going });
      assert.equal(text, (await write(going)).text);
    } finally {
      console.error = error;
    }
    assert.deepEqual(printed, []);
  }));

Deno.test("an error in one request, before its text or amid it, is told, and the next one is answered", () =>
  withServer(async ({ client, models, write }) => {
    const broken = models.writerOf("first")!;
    broken.write = () => Promise.reject(new Error("the device is out of memory"));
    broken.stream = async function* () {
      yield await Promise.resolve("a");
      throw new Error("the device is out of memory");
    };
    const { error } = console;
    const printed: string[] = [];
    console.error = (line: string) => void printed.push(line);
    try {
      const asked = { ...greedy, model: "first", prompt: going };
      await refused(client.completions.create(asked), 500, /the server failed: the device is out of memory/);
      await assert.rejects(streamed(client, asked), /the server failed: the device is out of memory/);
    } finally {
      console.error = error;
    }
    assert.equal(printed.length, 2);
    assert.match(printed[0], /^Error: the device is out of memory\n +at /);
    const { choices: [{ text }] } = await client.completions.create({ ...greedy, prompt: going });
    assert.equal(text, (await write(going)).text);
  }));

Deno.test("a request for which there is no room is the client's to shorten: it is not asked again, or printed", () =>
  withServer(async ({ client, models }) => {
    models.writerOf("tiny")!.write = () => Promise.reject(new NoRoomError("a text has no room here"));
    const { error } = console;
    console.error = (line: string) => assert.fail(line);
    try {
      const { code } = await refused(
        client.completions.create({ ...greedy, prompt: going }),
        400,
        /a text has no room here/,
      );
      assert.equal(code, "context_length_exceeded");
    } finally {
      console.error = error;
    }
  }));

Deno.test("a server that ends gives up what it is writing and what waits", async () => {
  await withModel({}, async (model) => {
    using models = new ServedModels({ gpu: await testGpu(), model, adapters: new Map() });
    const server = await serveTexts({ models, port: 0, maxRequests: 2, maxTokens: 60 });
    const client = new OpenAI({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
    const { begun } = stall(models, "tiny");
    const one = refused(client.completions.create({ ...greedy, prompt: going }), 503, /the server is ending/);
    await inTime(begun);
    await inTime(Promise.resolve(server[Symbol.asyncDispose]()));
    await one;
  });
});

Deno.test("the command serves a folder's adapter by its name, ends at Ctrl-C, and refuses what it cannot take", () =>
  withModel({}, async (model, folder) => {
    for (const [name, { adapter, weights }] of adaptersOf(model)) {
      await saveAdapter(`${folder}/${name}`, model, adapter, weights);
    }
    const serve = (...args: string[]) =>
      startTask("serve", ["--model", `${folder}/tiny`, "--port", "0", ...args]);
    const child = serve("--adapter", `mine=${folder}/first`, "--adapter", `yours=${folder}/second`);
    const [own, shown] = child.stdout.tee();
    let line = "";
    for await (const piece of own.pipeThrough(new TextDecoderStream())) {
      line += piece;
      if (line.includes("\n")) break;
    }
    const [, baseURL] = line.match(
      /^(http:\/\/127\.0\.0\.1:\d+\/v1) {3}tiny, mine, yours {3}\(Ctrl-C ends it\)$/m,
    )!;
    await shown.cancel();
    const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
    const { choices: [{ text }] } = await client.completions.create({
      ...greedy,
      model: "mine",
      prompt: going,
    });
    using writer = new Writer({ gpu: await testGpu(), model, ...adaptersOf(model).get("first")! });
    assert.equal(text, (await writer.write([going], { maxTokens: 12 }))[0].text);
    const { port } = new URL(baseURL);
    const second = await outputOf(serve("--port", port));
    assert.match(second.stderr, /address already in use 127\.0\.0\.1:\d+: name another port/);
    assert.equal(second.code, 1);
    child.kill("SIGINT");
    const [{ code }, printed] = await Promise.all([child.status, new Response(child.stderr).text()]);
    assert.deepEqual([code, printed], [0, ""]);
    for (
      const [args, message] of [
        [["--adapter", "mine"], /--adapter wants NAME=DIR, not "mine"/],
        [["--adapter", "a=b", "--adapter", "a=c"], /two adapters are called "a"/],
        [["--adapter", `tiny=${folder}/first`], /"tiny" is the model itself/],
        [["--max-requests", "0"], /--max-requests wants a whole number from 1, not 0/],
      ] as const
    ) {
      const { code, stderr } = await outputOf(serve(...args));
      assert.match(stderr, message);
      assert.equal(code, 2);
    }
  }));
