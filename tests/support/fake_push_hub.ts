/**
 * A local server that stands in for the hub when a folder is pushed. It speaks what `@huggingface/hub` does: who is asking, a
 * repository's files, making one, the mode of each file, LFS's batch and uploads, and the commit as lines of JSON. It takes
 * nothing that does not fit: a commit's large files must have been uploaded before, with the bytes that their SHA-256 names.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Line } from "./line.ts";

export const token = "hf_secret";

interface Repository {
  readonly visibility: string;
  readonly files: Map<string, Uint8Array<ArrayBuffer>>;
  /** Titles, the newest last. */
  readonly commits: string[];
}

/** A line of a commit. */
type CommitLine =
  | { readonly key: "header"; readonly value: { readonly summary: string } }
  | {
    readonly key: "file";
    readonly value: { readonly path: string; readonly content: string; readonly encoding: "base64" };
  }
  | {
    readonly key: "lfsFile";
    readonly value: {
      readonly path: string;
      readonly algo: "sha256";
      readonly oid: string;
      readonly size: number;
    };
  }
  | { readonly key: "deletedFile"; readonly value: { readonly path: string } };

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The bytes that are sent; undefined where the line has broken amid them. */
async function bodyOf(request: Request): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return new Uint8Array(await request.arrayBuffer());
  } catch (error) {
    if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Http) return undefined;
    throw error;
  }
}

/** The hub, its repositories by id, and what goes wrong with it. */
export class FakePushHub implements AsyncDisposable {
  readonly repositories = new Map<string, Repository>();
  /** Large files that were uploaded, by their SHA-256. */
  readonly uploaded = new Map<string, Uint8Array<ArrayBuffer>>();
  /** `METHOD path`, of every request. */
  readonly requests: string[] = [];
  /** What the token may do. */
  role = "write";
  /** Files of this size and more are uploaded as large ones. */
  largeFrom = 1000;
  /** Large files are uploaded in parts of this size, if it is set. */
  partSize: number | undefined;
  /** Requests whose method and path match are refused with this status. */
  refusal: { readonly request: RegExp; readonly status: number } | undefined;
  /** Requests whose method and path match get no answer. */
  silence: RegExp | undefined;
  readonly #end = Promise.withResolvers<void>();
  /** What is between the hub and those who ask it. */
  readonly line: Line;
  /** Answers are lost from the commit on, which is made all the same. */
  losesCommitsAnswer = false;
  readonly #parts = new Map<string, Uint8Array>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request) => this.#answer(request),
    );
    this.line = new Line(this.#server.addr.port);
  }

  get url(): string {
    return `http://127.0.0.1:${this.line.port}`;
  }

  /** Makes a repository with these files. */
  put(id: string, files: Readonly<Record<string, string | Uint8Array<ArrayBuffer>>>): Repository {
    const bytes = Object.entries(files).map(([path, content]) =>
      [path, typeof content === "string" ? new TextEncoder().encode(content) : content] as const
    );
    const repository = { visibility: "public", files: new Map(bytes), commits: [] };
    this.repositories.set(id, repository);
    return repository;
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const body = await bodyOf(request);
    if (body === undefined) return new Response(null, { status: 400 });
    const asked = `${request.method} ${pathname}`;
    this.requests.push(asked);
    if (this.silence?.test(asked)) await this.#end.promise;
    if (this.refusal?.request.test(asked)) {
      return Response.json({ error: "the hub's own words" }, { status: this.refusal.status });
    }
    // Storage is another server's: it takes no token, and wants to know the length.
    if (pathname.startsWith("/lfs/")) return this.#store(request, pathname.slice("/lfs/".length), body);
    if (request.headers.get("authorization") !== `Bearer ${token}`) {
      return Response.json({ error: "Invalid username or password." }, { status: 401 });
    }
    const text = new TextDecoder().decode(body);
    if (asked === "GET /api/whoami-v2") {
      const auth = { type: "access_token", accessToken: { displayName: "test", role: this.role } };
      return Response.json({ type: "user", id: "1", name: "acme", orgs: [], auth });
    }
    if (asked === "POST /api/repos/create") return this.#create(JSON.parse(text));
    const [, id] = pathname.match(/^\/(?:api\/models\/)?([^/]+\/[^/]+?)(?:\.git)?(?:\/|$)/)!;
    const repository = this.repositories.get(id);
    if (!repository) return Response.json({ error: "Repository not found" }, { status: 404 });
    const rest = pathname.slice(pathname.indexOf(id) + id.length);
    const [, path] = rest.match(/^\/resolve\/main\/(.+)$/) ?? [];
    if (request.method === "GET" && path) {
      return this.#ranged(repository.files.get(path)!, request.headers.get("range"));
    }
    switch (`${request.method} ${rest}`) {
      case "GET /tree/main":
        return Response.json(
          [...repository.files].map(([path, { length: size }]) => ({ type: "file", path, size })),
        );
      case "POST /preupload/main":
        return this.#modes(JSON.parse(text));
      case "POST .git/info/lfs/objects/batch":
        return this.#batch(JSON.parse(text));
      case "POST /commit/main":
        return this.#commit(repository, text);
    }
    return assert.fail(`the stand-in does not know ${asked}`);
  }

  #create({ name, organization, type, visibility }: Record<string, string>): Response {
    const id = `${organization}/${name}`;
    assert.equal(type, "model");
    if (this.repositories.has(id)) {
      return Response.json({ error: "You already created this model repo" }, { status: 409 });
    }
    this.put(id, { ".gitattributes": "*.safetensors filter=lfs" });
    this.repositories.set(id, { ...this.repositories.get(id)!, visibility });
    return Response.json({ url: `${this.url}/${id}`, id });
  }

  #ranged(bytes: Uint8Array<ArrayBuffer>, range: string | null): Response {
    if (range === null) return new Response(bytes);
    const [from, to] = range.match(/^bytes=(\d+)-(\d+)$/)!.slice(1).map(Number);
    if (from >= bytes.length) return new Response(null, { status: 416 });
    const headers = { etag: '"x"', "content-range": `bytes ${from}-${to}/${bytes.length}` };
    return new Response(bytes.slice(from, to + 1), { status: 206, headers });
  }

  #modes({ files }: { files: { path: string; size: number; sample: string }[] }): Response {
    return Response.json({
      files: files.map(({ path, size }) => ({
        path,
        uploadMode: size >= this.largeFrom ? "lfs" : "regular",
      })),
    });
  }

  #batch(
    { objects, transfers }: { objects: { oid: string; size: number }[]; transfers: string[] },
  ): Response {
    assert.ok(transfers.includes("basic"));
    const headerOf = (oid: string, size: number) => {
      if (this.partSize === undefined) return undefined;
      const parts = Array.from({ length: Math.ceil(size / this.partSize) }, (_, i) => [
        String(i + 1).padStart(5, "0"),
        `${this.url}/lfs/${oid}/${i + 1}`,
      ]);
      return { chunk_size: String(this.partSize), ...Object.fromEntries(parts) };
    };
    return Response.json({
      transfer: this.partSize === undefined ? "basic" : "multipart",
      objects: objects.map(({ oid, size }) => ({
        oid,
        size,
        ...this.uploaded.has(oid)
          ? {}
          : { actions: { upload: { href: `${this.url}/lfs/${oid}`, header: headerOf(oid, size) } } },
      })),
    });
  }

  #store({ method, headers }: Request, path: string, body: Uint8Array<ArrayBuffer>): Response {
    assert.equal(headers.get("authorization"), null, "the token is sent to the storage");
    const [oid, part] = path.split("/");
    if (method === "POST") {
      const { parts }: { parts: { partNumber: number; etag: string }[] } = JSON.parse(
        new TextDecoder().decode(body),
      );
      const pieces = parts.map(({ partNumber, etag }) => {
        assert.equal(etag, `"${partNumber}"`);
        return this.#parts.get(`${oid}/${partNumber}`)!;
      });
      return this.#keep(oid, new Uint8Array(pieces.flatMap((piece) => [...piece])));
    }
    assert.equal(headers.get("content-length"), String(body.length), "storage wants to know the length");
    if (part === undefined) return this.#keep(oid, body);
    this.#parts.set(path, body);
    return new Response("", { headers: { etag: `"${part}"` } });
  }

  #keep(oid: string, bytes: Uint8Array<ArrayBuffer>): Response {
    if (sha256(bytes) !== oid) return new Response("other bytes", { status: 400 });
    this.uploaded.set(oid, bytes);
    return new Response("");
  }

  /** All of a commit's lines, or none of them. */
  #commit({ files, commits }: Repository, text: string): Response {
    const [header, ...lines] = text.split("\n").map((line): CommitLine => JSON.parse(line));
    if (header.key !== "header") return assert.fail("a commit begins with its header");
    const after = new Map(files);
    for (const line of lines) {
      if (line.key === "file") after.set(line.value.path, Uint8Array.fromBase64(line.value.content));
      else if (line.key === "deletedFile") {
        assert.ok(after.delete(line.value.path), `no ${line.value.path} to delete`);
      } else if (line.key === "lfsFile") {
        const { path, oid, size } = line.value;
        const bytes = this.uploaded.get(oid);
        if (bytes?.length !== size) {
          return Response.json({ error: `LFS pointer of ${path}: no such object` }, { status: 400 });
        }
        after.set(path, bytes);
      } else assert.fail(`a commit has one header`);
    }
    files.clear();
    for (const [path, bytes] of after) files.set(path, bytes);
    commits.push(header.value.summary);
    if (this.losesCommitsAnswer) this.line.losesAnswers = true;
    return Response.json({ success: true, commitOid: "0".repeat(40), commitUrl: `${this.url}/commit` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.resolve();
    await this.line.close();
    await this.#server.shutdown();
  }
}
