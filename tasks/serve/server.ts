/** The HTTP server: OpenAI's paths over a decoder and its adapters, for programs on this machine only. */

import { createAdaptorServer } from "npm:@hono/node-server@2.1.9";
import { type Context, Hono } from "npm:hono@4.13.19";
import { bodyLimit } from "npm:hono@4.13.19/body-limit";
import { streamSSE } from "npm:hono@4.13.19/streaming";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { NoRoomError } from "../../lib/generate/text_room.ts";
import type { WriteOptions, Writer, Written } from "../../lib/generate/writer.ts";
import { encodeChat } from "../../lib/models/chat_template.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { printable } from "../usage.ts";
import { type AnswerShape, shapeOf, usageOf } from "./answers.ts";
import { ApiError } from "./api_error.ts";
import { askedChat, askedCompletion, type AskedText } from "./requests.ts";
import type { ServedModels } from "./served_models.ts";
import { Turns } from "./turns.ts";

/** What is served, and how much of it. */
export interface ServerOptions {
  readonly models: ServedModels;
  /** 0 is a free one. */
  readonly port: number;
  /** Requests that may wait or be answered at a time. */
  readonly maxRequests: number;
  /** New tokens that a request may ask for. */
  readonly maxTokens: number;
}

/** A server at work. Disposing of it ends the texts that are being written. */
export interface TextServer extends AsyncDisposable {
  /** The base URL for clients, such as `http://127.0.0.1:8000/v1`. */
  readonly url: string;
}

/** Bytes of a request's body: many times what a long context's text has. */
const longestBody = 2 ** 20;

/**
 * Starts to serve on 127.0.0.1, by Node's server: Deno's own (2.9) does not notice that a client goes away whose body came in more
 * than one piece. Throws an Error when the port is taken.
 */
export async function serveTexts(options: ServerOptions): Promise<TextServer> {
  const ending = new AbortController();
  const turns = new Turns(options.maxRequests);
  const app = appOf({ ...options, turns, ending: ending.signal });
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once("error", ({ message }) => reject(new Error(`${message}: name another port (--port)`)));
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    async [Symbol.asyncDispose]() {
      ending.abort(new ApiError(503, "the server is ending"));
      await turns.emptied();
      await closed(server);
    },
  };
}

/** Milliseconds that last answers have to reach their clients. */
const grace = 1000;

/** Closes a server: at once where no connection is in use. */
async function closed(server: Server): Promise<void> {
  const closing = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), grace);
  await closing;
  clearTimeout(timer);
}

/** What all requests share. */
interface Shared {
  readonly models: ServedModels;
  readonly maxTokens: number;
  readonly turns: Turns;
  readonly ending: AbortSignal;
}

function appOf(shared: Shared): Hono {
  const created = Math.floor(Date.now() / 1000);
  const app = new Hono();
  app.use((c, next) => {
    checkSender(c.req.raw.headers);
    return next();
  });
  app.use(bodyLimit({
    maxSize: longestBody,
    onError: () => {
      throw new ApiError(413, `the body is longer than ${longestBody} bytes`);
    },
  }));
  const bodyOf = async (c: Context) => new Uint8Array(await c.req.arrayBuffer());
  app.post("/v1/completions", async (c) => answer(c, askedCompletion(await bodyOf(c)), shared));
  app.post("/v1/chat/completions", async (c) => answer(c, askedChat(await bodyOf(c)), shared));
  app.get("/v1/models", (c) => {
    const data = shared.models.names.map((id) => ({ id, object: "model", created, owned_by: "bora" }));
    return c.json({ object: "list", data });
  });
  app.notFound((c) => failed(c, new ApiError(404, `there is no ${c.req.method} ${c.req.path}`)));
  app.onError((error, c) => failed(c, errorFor(error)));
  return app;
}

/**
 * Refuses what a web page asks: every POST of a page says its Origin, and a page whose own name was made to lead to 127.0.0.1 says
 * that name as Host. Programs on this machine send no Origin.
 */
function checkSender(headers: Headers): void {
  const host = headers.get("host") ?? "";
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/i.test(host)) {
    throw new ApiError(403, `the request is for the host "${host}": use 127.0.0.1 or localhost`);
  }
  if (headers.has("origin")) {
    throw new ApiError(403, "the request comes from a web page: only programs on this machine are served");
  }
}

function failed(c: Context, error: ApiError): Response {
  return c.json(error.body, error.status);
}

/** What the client is told. An error of the server's own is printed as well. */
function errorFor(error: Error): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof NoRoomError) return new ApiError(400, error.message, "context_length_exceeded");
  // The client went away before its request's body was whole.
  if ("code" in error && error.code === "ECONNRESET") return clientIsGone();
  console.error(printable(error.stack ?? error.message));
  return new ApiError(500, `the server failed: ${error.message}`);
}

/** For nobody, and not printed. */
const clientIsGone = () => new ApiError(503, "the client is gone");

/** Aborted when the client goes away. */
function goneSignal(c: Context): AbortSignal {
  const gone = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => gone.abort(clientIsGone()));
  return gone.signal;
}

async function answer(c: Context, asked: AskedText, shared: Shared): Promise<Response> {
  const writer = writerFor(asked, shared);
  const signal = AbortSignal.any([goneSignal(c), shared.ending]);
  using turn = new DisposableStack();
  turn.use(await shared.turns.take(signal));
  const { model } = shared.models;
  const prompt = await promptOf(asked, model, writer);
  const { sampling, stop } = asked;
  const maxTokens = newTokens(asked, prompt, model, shared.maxTokens);
  const options: WriteOptions = { ...sampling, stop, maxTokens, signal };
  const shape = shapeOf(asked);
  if (!asked.stream) {
    const [written] = await writer.write([prompt], options);
    return c.json(shape.whole(written, usageOf(prompt, written)));
  }
  const held = turn.move();
  return streamSSE(c, async (events) => {
    let sent = Promise.resolve();
    // The writing does not wait for it: a client that does not read must not keep the others from their turns, and a text is short.
    const send = (value: object | string) => {
      const data = typeof value === "string" ? value : JSON.stringify(value);
      sent = sent.then(() => events.writeSSE({ data }));
    };
    try {
      using _ = held;
      const written = await sendPieces(writer.stream(prompt, options), shape, send);
      if (asked.includeUsage) send(shape.usage(usageOf(prompt, written)));
      send("[DONE]");
    } catch (error) {
      send(errorFor(error as Error).body);
    }
    await sent;
  });
}

/** Sends a text as it comes, and its end. */
async function sendPieces(
  pieces: AsyncGenerator<string, Written>,
  shape: AnswerShape,
  send: (chunk: object) => void,
): Promise<Written> {
  if (shape.begin) send(shape.begin);
  while (true) {
    const { value, done } = await pieces.next();
    if (!done) {
      send(shape.chunk(value, null));
      continue;
    }
    send(shape.chunk("", value.ended));
    return value;
  }
}

function writerFor(
  { model, maxTokens, maxTokensField }: AskedText,
  { models, maxTokens: most }: Shared,
): Writer {
  const writer = models.writerOf(model);
  if (!writer) {
    const names = models.names.join(", ");
    throw new ApiError(404, `there is no model "${model}" here, only ${names}`, "model_not_found", "model");
  }
  if (maxTokens !== undefined && maxTokens > most) {
    throw new ApiError(
      400,
      `${maxTokens} new tokens are asked for: this server writes ${most} at most (--max-tokens)`,
      null,
      maxTokensField,
    );
  }
  return writer;
}

/** The prompt's ids. What cannot be made ids, such as a system message for a template that knows none, is the request's fault. */
async function promptOf(
  { input }: AskedText,
  { name, vocabulary, language: { templates, tokenizer } }: Decoder,
  writer: Writer,
): Promise<readonly number[]> {
  if ("messages" in input && !templates) {
    throw new ApiError(400, `${name} has no chat template: use /v1/completions`, null, "messages");
  }
  const conversation = { where: "the request", addGenerationPrompt: true };
  try {
    const ids = "prompt" in input
      ? writer.idsOf(input.prompt)
      : await encodeChat(templates!, tokenizer, { ...conversation, messages: input.messages });
    if (ids.length === 0) throw new Error("the prompt is empty: there is nothing to go on from");
    const wrong = ids.find((id) => id >= vocabulary);
    if (wrong !== undefined) throw new Error(`the prompt has the id ${wrong}, which is none of ${name}'s`);
    return ids;
  } catch (error) {
    throw new ApiError(400, (error as Error).message, null, "prompt" in input ? "prompt" : "messages");
  }
}

/** How many tokens are written: what the context has room for, if more are asked for. */
function newTokens(
  { input, maxTokens, usualTokens }: AskedText,
  prompt: readonly number[],
  { name, maxTokens: context }: Decoder,
  most: number,
): number {
  const room = context! - prompt.length;
  if (room <= 0) {
    throw new ApiError(
      400,
      `the prompt has ${prompt.length} tokens, and ${name}'s context is ${context} tokens, of which the answer needs one`,
      "context_length_exceeded",
      "prompt" in input ? "prompt" : "messages",
    );
  }
  return Math.min(maxTokens ?? Math.min(usualTokens, most), room);
}
