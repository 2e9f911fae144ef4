/**
 * Errors for servers that cannot be reached, are silent, or refuse: each obstacle is named, with what to do.
 */

import assert from "node:assert/strict";
import { request, steadily } from "../lib/network.ts";
import { fetchBytes } from "../lib/npm_files.ts";

/** The address of a server that does this with each connection, for the time of `use`. */
async function withConnections(
  serve: (connection: Deno.Conn) => void,
  use: (host: string) => Promise<void>,
): Promise<void> {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const held: Deno.Conn[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      held.push(connection);
      serve(connection);
    }
  })();
  try {
    await use(`127.0.0.1:${listener.addr.port}`);
  } finally {
    listener.close();
    await serving;
    for (const connection of held) tryClose(connection);
  }
}

/** Closes a connection that may be closed already. */
function tryClose(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

Deno.test("a name that nobody knows, and a port where nobody listens", async () => {
  await assert.rejects(
    () => request("http://models.invalid/resolve/tls"),
    /^Error: the network is missing, or nobody here knows the name models\.invalid: connect, and check the name [^/]* \(dns error: [^/]+\)$/,
  );
  let dead = "";
  await withConnections(() => {}, (host) => Promise.resolve(void (dead = host)));
  await assert.rejects(
    () => request(`http://${dead}/certificate`),
    new RegExp(
      `^Error: ${dead}, or the proxy that HTTPS_PROXY names, refuses connections: .*check the network`,
    ),
  );
});

Deno.test("a server that is silent, one that hangs up, and one that speaks no TLS", async () => {
  await withConnections(() => {}, (host) =>
    assert.rejects(
      () => request(`http://${host}/`, {}, 0.1),
      new RegExp(
        `^Error: ${host} does not answer: the network is missing or slow, .*nothing came for 0\\.1 s`,
      ),
    ));
  await withConnections(tryClose, (host) =>
    assert.rejects(
      () => request(`http://${host}/`),
      new RegExp(`^Error: the connection to ${host} broke off: run again`),
    ));
  await withConnections(
    (connection) => void connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n")),
    (host) =>
      assert.rejects(
        () => request(`https://${host}/`),
        new RegExp(
          `^Error: the TLS certificate that ${host} shows is not accepted: .*DENO_TLS_CA_STORE=system`,
        ),
      ),
  );
});

Deno.test("a signal ends a request before the time is up", async () => {
  await withConnections(() => {}, async (host) => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("stopped by hand")), 20);
    await assert.rejects(() => request(`http://${host}/`, { signal: stop.signal }, 5), /stopped by hand/);
  });
});

Deno.test("a proxy that wants a password", async () => {
  await using proxy = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("", { status: 407 }),
  );
  using client = Deno.createHttpClient({ proxy: { url: `http://127.0.0.1:${proxy.addr.port}` } });
  for (const scheme of ["http", "https"]) {
    await assert.rejects(
      () => request(`${scheme}://models.invalid/`, { client } as RequestInit),
      /the proxy wants a name and a password: write them into HTTPS_PROXY/,
    );
  }
});

Deno.test("a body that stops coming is given up, and one that comes slowly is not", async () => {
  const pieces = (delays: readonly number[]) =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      async start(controller) {
        for (const delay of delays) {
          await new Promise((resolve) => setTimeout(resolve, delay));
          controller.enqueue(new Uint8Array(1));
        }
        if (delays.length > 1) controller.close();
      },
    });
  // In total this takes longer than the time limit for one piece.
  assert.equal((await Array.fromAsync(steadily(pieces([400, 400, 400]), 1))).length, 3);
  const taken: number[] = [];
  await assert.rejects(async () => {
    for await (const { length } of steadily(pieces([1]), 0.05)) taken.push(length);
  }, /^Error: nothing came for 0\.05 s/);
  assert.deepEqual(taken, [1]);
});

Deno.test("an npm package's file that comes in pieces is whole, and one that stops coming is given up", async () => {
  const whole = Uint8Array.from({ length: 5 }, (_, i) => i);
  const stopped = new Uint8Array(3);
  await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, ({ url }) => {
    const pieces = url.endsWith("whole") ? [whole.subarray(0, 2), whole.subarray(2)] : [stopped];
    const body = new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        if (pieces.length > 1) controller.close();
      },
    });
    return new Response(url.endsWith("empty") ? null : body);
  });
  const at = (path: string) => new URL(`http://127.0.0.1:${server.addr.port}/${path}`);
  assert.deepEqual(new Uint8Array(await fetchBytes(at("whole"))), whole);
  assert.equal((await fetchBytes(at("empty"))).byteLength, 0);
  await assert.rejects(
    () => fetchBytes(at("stopped"), 0.2),
    /\/stopped cannot be read: nothing came for 0\.2 s/,
  );
});

Deno.test("an npm package's file that is not there, on a server or in the cache, is named with the reason", async () => {
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    ({ url }) => new Response("", { status: url.includes("busy") ? 503 : 404 }),
  );
  const at = (path: string) => new URL(`http://127.0.0.1:${server.addr.port}/${path}`);
  await assert.rejects(
    () => fetchBytes(at("a@1/b")),
    /\/a@1\/b cannot be read: .* answered 404 .*: there is nothing of this name/,
  );
  await assert.rejects(
    () => fetchBytes(at("busy")),
    /\/busy cannot be read: .* answered 503 .*: the server is in trouble/,
  );
  const folder = await Deno.makeTempDir();
  await assert.rejects(
    () => fetchBytes(new URL(`file://${folder}/none`)),
    /none cannot be read: No such file: fetch its package anew/,
  );
  await Deno.remove(folder);
  await assert.rejects(
    () => fetchBytes(new URL("http://models.invalid/a")),
    /models\.invalid\/a cannot be read: the network is missing/,
  );
});

Deno.test("a refusal's own words are shown where they are short and come whole", async () => {
  const bodies: Record<string, BodyInit> = {
    "/said": JSON.stringify({ error: 'no "b" here' }),
    "/page": "<html>404</html>",
    "/endless": new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(500).fill(123)),
    }),
  };
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    ({ url }) => new Response(bodies[new URL(url).pathname], { status: 404 }),
  );
  const rejected = (path: string, message: RegExp) =>
    assert.rejects(() => request(`http://127.0.0.1:${server.addr.port}${path}`), message);
  await rejected("/said", /answered 404 Not Found \("no \\"b\\" here"\): there is nothing/);
  await rejected("/page", /answered 404 Not Found: there is nothing/);
  await rejected("/endless", /answered 404 Not Found: there is nothing/);
});
