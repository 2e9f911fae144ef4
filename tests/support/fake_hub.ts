/** A local server that stands in for the hub. */

import { createHash } from "node:crypto";

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const model = "acme/tiny-roberta";

/** A hub with one model, and what it does wrong. */
export class FakeHub implements AsyncDisposable {
  /** `GET path range`, of every request for a file. */
  readonly requests: string[] = [];
  readonly tokens = new Set<string | null>();
  /** After so many bytes, downloads of these files break off. */
  readonly breaksAfter = new Map<string, number>();
  /** Files that are announced with this size, or with this hash, whatever they really are. */
  readonly announced = new Map<string, number>();
  readonly hashes = new Map<string, string>();
  /** Bytes that were read of files whose announced size is wrong. */
  taken = 0;
  /** The commit of the main branch. */
  head = commit;
  /** Files whose bytes are not those that were announced. */
  readonly garbled = new Set<string>();
  /**
   * Requests whose path matches get this status and, if `page` is given, this page instead of the hub's
   * message.
   */
  refusal: { readonly path: RegExp; readonly status: number; readonly page?: string } | undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(readonly files: Map<string, Uint8Array<ArrayBuffer>>) {
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => this.#answer(request),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  #answer(request: Request): Response {
    const { pathname } = new URL(request.url);
    this.tokens.add(request.headers.get("authorization"));
    if (this.refusal?.path.test(pathname)) {
      const { status, page } = this.refusal;
      return page === undefined
        ? Response.json({ error: "the hub's own words" }, { status })
        : new Response(page, { status });
    }
    if (pathname === `/api/models/${model}/revision/HEAD`) {
      return Response.json({ id: model, sha: this.head });
    }
    const [, folder] = pathname.match(new RegExp(`^/api/models/${model}/tree/${commit}/?(.*)$`)) ?? [];
    if (folder !== undefined) return Response.json(this.#entries(folder && `${folder}/`));
    const name = pathname.replace(`/${model}/resolve/${commit}/`, "");
    const content = this.files.get(name);
    if (!content) return Response.json({ error: "Repository not found" }, { status: 404 });
    return this.#file(name, content, request.headers.get("range"));
  }

  /** What is in a folder. Weights are large files, which the hub names by their SHA-256. */
  #entries(folder: string) {
    const within = [...this.files].filter(([path]) => path.startsWith(folder));
    const isHere = (path: string) => !path.slice(folder.length).includes("/");
    const folders = within.filter(([path]) => !isHere(path)).map(([path]) => path.split("/")[0]);
    const ofFolders = [...new Set(folders)].map((path) => ({
      type: "directory",
      path,
      size: 0,
      oid: commit,
    }));
    const ofFiles = within.filter(([path]) => isHere(path)).map(([path, content]) => ({
      type: "file",
      path,
      size: this.announced.get(path) ?? content.length,
      oid: this.hashes.get(path) ??
        createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex"),
      ...path.endsWith(".safetensors")
        ? {
          lfs: {
            oid: createHash("sha256").update(content).digest("hex"),
            size: this.announced.get(path) ?? content.length,
            pointerSize: 130,
          },
        }
        : {},
    }));
    return [...ofFolders, ...ofFiles];
  }

  #file(name: string, content: Uint8Array<ArrayBuffer>, range: string | null): Response {
    const [begin, end] = range?.match(/^bytes=(\d+)-(\d+)$/)?.slice(1).map(Number) ?? [0, content.length - 1];
    const isProbe = range === "bytes=0-0";
    if (!isProbe) this.requests.push(`${name} ${range ?? "whole"}`);
    const bytes = content.slice(begin, end + 1);
    if (this.garbled.has(name)) bytes[bytes.length - 1] ^= 1;
    const most = isProbe ? undefined : this.breaksAfter.get(name);
    const headers = {
      etag: `"${name}"`,
      "content-length": String(bytes.length),
      ...range ? { "content-range": `bytes ${begin}-${end}/${content.length}` } : {},
    };
    const status = range ? 206 : 200;
    if (this.announced.has(name) && !isProbe) return new Response(this.#counted(bytes), { status, headers });
    if (most === undefined) return new Response(bytes, { status, headers });
    const broken = new ReadableStream({
      async start(controller) {
        controller.enqueue(bytes.slice(0, most));
        // The client must have what was sent before the connection ends.
        await new Promise((resolve) => setTimeout(resolve, 50));
        controller.close();
      },
    });
    return new Response(broken, { status, headers });
  }

  /** The bytes in pieces, counted as they are taken. */
  #counted(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
    const piece = 2 ** 16;
    let at = 0;
    return new ReadableStream({
      pull: (controller) => {
        controller.enqueue(bytes.slice(at, at += piece));
        this.taken = at;
        if (at >= bytes.length) controller.close();
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
