/**
 * HTTP requests with errors that say what is wrong and what to do: no network, no answer, a refusal, or a
 * server error.
 */

/** The error for an unsuccessful HTTP status. */
export class RefusedRequest extends Error {
  override readonly name = "RefusedRequest";

  constructor(
    readonly status: number,
    /** The host, the status and the server's message. */
    readonly answer: string,
    advice: string,
  ) {
    super(`${answer}: ${advice}`);
  }
}

/** Timeout in seconds for a response or for the next chunk. */
export const patience = 60;

/**
 * `fetch` with a timeout and clear errors, for http(s) and file URLs. A signal of `init` ends it as well.
 * @throws RefusedRequest for an unsuccessful status, and Error when there is no response within `seconds`.
 * Both messages say what to do.
 */
export async function request(
  url: string | URL | Request,
  init: RequestInit = {},
  seconds: number = patience,
): Promise<Response> {
  const { host, protocol } = new URL(url instanceof Request ? url.url : url);
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(silence(seconds)), 1000 * seconds);
  const signal = init.signal ? AbortSignal.any([giveUp.signal, init.signal]) : giveUp.signal;
  const response = await fetch(url, { ...init, signal }).catch((error) => {
    throw new Error(protocol === "file:" ? ofFile(error) : unreached(host, error), { cause: error });
  }).finally(() => clearTimeout(timer));
  if (response.ok) return response;
  const { status, statusText } = response;
  throw new RefusedRequest(
    status,
    `${host} answered ${status} ${statusText}${await words(response)}`,
    advice(status),
  );
}

/**
 * The chunks of a response body as they arrive.
 * @throws Error when no chunk arrives for `seconds`.
 */
export async function* steadily(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  seconds: number = patience,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const reader = body.getReader();
  try {
    for (;;) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => late.reject(silence(seconds)), 1000 * seconds);
      const { done, value } = await Promise.race([reader.read(), late.promise]).finally(() =>
        clearTimeout(timer)
      );
      if (done) return;
      yield value;
    }
  } finally {
    // Stop the transfer if the body was not read to its end. If the stream failed, its error was thrown
    // above.
    await reader.cancel().catch(() => {});
  }
}

function silence(seconds: number): Error {
  return new Error(`nothing came for ${seconds} s`);
}

/** Causes of failed connections, recognised by patterns in the messages of Deno and the operating system. */
const obstacles: readonly (readonly [signs: RegExp, say: (host: string) => string])[] = [
  [
    /proxy authentication/i,
    () =>
      "the proxy wants a name and a password: write them into HTTPS_PROXY, as http://NAME:PASSWORD@HOST:PORT",
  ],
  [
    /certificate|corrupt message|InvalidContentType|tls|handshake/i,
    (host) =>
      `the TLS certificate that ${host} shows is not accepted: if your organisation's proxy signs for it, start with ` +
      `DENO_TLS_CA_STORE=system or DENO_CERT=FILE; else see to the clock, and to who answers there`,
  ],
  [
    /dns error|lookup|not known|resolve/i,
    (host) =>
      `the network is missing, or nobody here knows the name ${host}: connect, and check the name (and HTTPS_PROXY, if it is set)`,
  ],
  [
    /no route|unreachable|network is down/i,
    (host) => `the network is missing: there is no way from here to ${host}; connect, and run again`,
  ],
  [
    /refused/i,
    (host) =>
      `${host}, or the proxy that HTTPS_PROXY names, refuses connections: the network lets none through, or no server runs there; ` +
      `check the network, the address and the proxy`,
  ],
  [
    /timed out|nothing came/i,
    (host) =>
      `${host} does not answer: the network is missing or slow, or a firewall is between; run again later`,
  ],
  [
    /closed|reset|broken pipe|incomplete|reading a body/i,
    (host) => `the connection to ${host} broke off: run again`,
  ],
];

/** The error message for a server that was not reached: the cause, what to do, and Deno's own message. */
function unreached(host: string, error: Error): string {
  const own = wordsOf(error);
  // URLs are removed: they may contain any word.
  const bare = own.replaceAll(/\S*:\/\/\S*/g, "");
  const obstacle = obstacles.find(([signs]) => signs.test(bare));
  // Deno's words begin with the whole URL.
  const cause = own.replace(/^error sending request for url \(\S*\): (client error \(\w+\): )?/, "");
  return obstacle ? `${obstacle[1](host)} (${cause})` : own;
}

/** The message of the error's root cause. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : wordsOf(error.cause);
}

function ofFile(error: Error): string {
  return error.message.includes("No such file") ? "No such file: fetch its package anew" : error.message;
}

/** The server's explanation, if it is short and complete. */
async function words({ body }: Response): Promise<string> {
  if (!body) return "";
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const piece of steadily(body)) {
      text += decoder.decode(piece, { stream: true });
      if (text.length > 1000) return "";
    }
  } catch {
    // The status is more useful than an error about its explanation.
    return "";
  }
  const said = text.match(/^\s*\{\s*"(?:error|message)"\s*:\s*("(?:[^"\\\p{Cc}]|\\.)*")/u)?.[1];
  return said ? ` (${said})` : "";
}

/** Advice for an HTTP status. */
function advice(status: number): string {
  if (status === 407) return "the proxy wants a name and a password: write them into HTTPS_PROXY";
  if (status === 429) return "too many requests came from here: wait some minutes, and run again";
  if (status >= 500) return "the server is in trouble, not your network: run again later";
  if (status === 401 || status === 403) return "it gives this to some only: ask those who run it";
  return status === 404 ? "there is nothing of this name: check it" : "check the address";
}
