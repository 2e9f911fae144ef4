/** A line to a local server that can break. */

/** Passes what comes at its own port on to a server's, and the answers back. */
export class Line {
  /** Breaks for good after so many bytes more from those who ask. */
  breaksAfter = Infinity;
  /** Breaks instead of giving an answer back. */
  losesAnswers = false;
  readonly #listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  readonly #open = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;

  constructor(private readonly to: number) {
    this.#serving = this.#serve();
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #serve(): Promise<void> {
    const lines: Promise<void>[] = [];
    for await (const client of this.#listener) lines.push(this.#connect(client));
    await Promise.all(lines);
  }

  async #connect(client: Deno.Conn): Promise<void> {
    this.#open.add(client);
    if (this.breaksAfter <= 0) return this.#hangUp(client);
    const server = await Deno.connect({ port: this.to, hostname: "127.0.0.1" });
    this.#open.add(server);
    const hangUp = () => [client, server].forEach((end) => this.#hangUp(end));
    await Promise.all([
      this.#pass(client, server, (bytes) => (this.breaksAfter -= bytes) > 0).finally(hangUp),
      this.#pass(server, client, () => !this.losesAnswers).finally(hangUp),
    ]);
  }

  /** Passes bytes on until the connection ends, or until there are some that `mayPass` holds back. */
  async #pass(from: Deno.Conn, to: Deno.Conn, mayPass: (bytes: number) => boolean): Promise<void> {
    const buffer = new Uint8Array(2 ** 14);
    try {
      for (let read; (read = await from.read(buffer)) !== null;) {
        if (!mayPass(read)) return;
        for (let at = 0; at < read;) at += await to.write(buffer.subarray(at, read));
      }
    } catch (error) {
      // One of the two has hung up.
      const { BadResource, BrokenPipe, ConnectionReset, Interrupted } = Deno.errors;
      if (![BadResource, BrokenPipe, ConnectionReset, Interrupted].some((kind) => error instanceof kind)) {
        throw error;
      }
    }
  }

  #hangUp(end: Deno.Conn): void {
    if (this.#open.delete(end)) end.close();
  }

  /** Hangs up, and listens no more. */
  async close(): Promise<void> {
    this.#listener.close();
    for (const end of this.#open) this.#hangUp(end);
    await this.#serving;
  }
}
