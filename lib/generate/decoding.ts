/**
 * A batch of texts that are being written: the keys and values of their tokens, kept on the GPU, and two kinds of programs over
 * them. One reads whole prompts, the other a token more of each text.
 */

import type { Adapter } from "../adapters/attach.ts";
import type { Gpu } from "../gpu/device.ts";
import { Arena, compile, type CompiledGraph } from "../graph/compile.ts";
import type { Tensor } from "../graph/graph.ts";
import type { Decoder } from "../models/model.ts";
import { bucketOfLength } from "../run/batches.ts";
import { Kept } from "../run/kept.ts";
import type { Shared } from "../run/shared.ts";
import { States } from "../run/states.ts";
import { type WeightPlace, WeightStore } from "../run/weight_store.ts";
import { type CacheStorage, keysOf, type ReadingKind, traceReading, valuesOf } from "./reading.ts";
import { textBytes, tokenBytes } from "./text_room.ts";

/** What writes. */
export interface DecodingParts {
  readonly gpu: Gpu;
  readonly model: Decoder;
  readonly adapter: Adapter;
  /** The model's weights and the adapter's. */
  readonly weights: readonly WeightPlace[];
  /** What a Writer has uploaded of them, which stays while a program reads it. */
  readonly uploaded: Shared<Disposable>;
  readonly cache: CacheStorage;
}

/** The texts that can be written at a time, and their longest. */
export interface DecodingSize {
  readonly texts: number;
  /** Tokens of each, prompt included. */
  readonly capacity: number;
}

/** Programs kept: one for a token more, and some for prompts of several lengths. */
const mostPrograms = 16;

/** Continuations up to this length are not padded: each length needs a program, and most are short. */
const mostExact = 4;

/** A program that reads `length` tokens more of each text. */
interface Program extends Disposable {
  readonly compiled: CompiledGraph;
  /** Logits of the next token, in pieces of the vocabulary: [texts, tokens] each; or of every label its −log p, [texts · length]. */
  readonly outputs: readonly Tensor[];
}

/** What a call gets of a Writer that has been disposed of. */
export const disposedError = (): Error =>
  new Error("this Writer has been disposed of: use it within its scope");

/** Reads and writes a batch of texts. */
export class Decoding implements Disposable {
  readonly #programs = new Kept<Program>(mostPrograms);
  readonly #states: States;
  readonly #weights: WeightStore;
  readonly #arena: Arena;
  /** Where logits are copied to be read. */
  readonly #staging: GPUBuffer;
  /** Where texts that change places are put aside. */
  readonly #aside: GPUBuffer;
  /** Tokens of each text so far. */
  #lengths: number[] = [];

  constructor(private readonly own: DecodingParts, readonly size: DecodingSize) {
    const { gpu, model } = own;
    this.#states = new States(gpu, this.#stateSizes());
    this.#weights = new WeightStore(...own.weights, this.#states);
    this.#arena = new Arena(gpu);
    this.#staging = gpu.createStaging("logits", 4 * size.texts * model.vocabulary);
    this.#aside = gpu.createBuffer(
      "texts aside",
      size.texts > 1 ? size.texts * size.capacity * this.#tokenBytes : 0,
    );
  }

  /** Tokens of each text so far. */
  get lengths(): readonly number[] {
    return this.#lengths;
  }

  /** Bytes of what it keeps for its texts between calls, without its programs' own. */
  get bytes(): number {
    return this.size.texts * textBytes(this.own, this.size.capacity);
  }

  #stateSizes(): [string, number][] {
    const { texts, capacity } = this.size;
    const bytes = texts * capacity * this.#tokenBytes;
    return this.#layers().flatMap((path) =>
      [[keysOf(path), bytes], [valuesOf(path), bytes]] as [string, number][]
    );
  }

  get #tokenBytes(): number {
    return tokenBytes(this.own);
  }

  #layers(): string[] {
    const { cached } = this.own.model.language;
    return Array.from({ length: cached.layers }, (_, i) => `model.layers.${i}`);
  }

  /**
   * Reads prompts from their beginnings, and forgets the texts before. Missing ones are like the first.
   * @returns the logits of each prompt's next token, [vocabulary].
   */
  async start(prompts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const { texts, capacity } = this.size;
    const longest = Math.max(...prompts.map(({ length }) => length));
    const length = Math.min(bucketOfLength(longest), capacity);
    const all = Array.from({ length: texts }, (_, i) => prompts[i] ?? prompts[0]);
    return await this.#use("start", length, async (program) => {
      this.#lengths = all.map(({ length }) => length);
      program.compiled.upload({ ...tokensOf(all, length, () => 0), at: new Uint32Array(texts) });
      return await this.#logits(program, prompts.length);
    });
  }

  /** Reads a token more of each text. Missing ones, and −1, stay as they are. Returns the logits of the tokens after. */
  async next(tokens: readonly number[]): Promise<Float32Array[]> {
    const { texts } = this.size;
    return await this.#use("next", 1, async (program) => {
      const places = this.#lengths.slice();
      const ids = Array.from({ length: texts }, (_, i) => Math.max(tokens[i] ?? 0, 0));
      tokens.forEach((token, i) => {
        if (token >= 0) this.#lengths[i]++;
      });
      program.compiled.upload({
        ...tokensOf(ids.map((id) => [id]), 1, (row) => places[row]),
        at: Uint32Array.from(places),
      });
      return await this.#logits(program, tokens.length);
    });
  }

  /**
   * −log p of each token of a continuation of each text but the first, whose logits came before. The texts stay as they are: another
   * continuation can be asked about. They may be of several lengths.
   */
  async judge(continuations: readonly (readonly number[])[]): Promise<number[][]> {
    const { texts } = this.size;
    const longest = Math.max(...continuations.map((own) => own.length)) - 1;
    if (longest === 0) return continuations.map(() => []);
    // What fills up a row may lie beyond the capacity: nothing reads its results, and the cache leaves it out.
    const length = longest <= mostExact ? longest : bucketOfLength(longest);
    const labels = new Uint32Array(texts * length);
    continuations.forEach((own, i) => labels.set(own.slice(1), i * length));
    const all = await this.#use("judge", length, async ({ compiled, outputs }) => {
      compiled.upload({
        ...tokensOf(continuations.map((own) => own.slice(0, -1)), length, (row) => this.#lengths[row], texts),
        at: Uint32Array.from(this.#lengths),
        labels,
        weights: new Float32Array(texts * length).fill(1),
        "all rows": Uint32Array.from(labels, (_, row) => row),
      });
      compiled.run();
      return await compiled.read(outputs[0]);
    });
    return continuations.map((own, i) => [...all.subarray(i * length, i * length + own.length - 1)]);
  }

  /** Makes text i what text `order[i]` was. */
  reorder(order: readonly number[]): void {
    const all = Array.from({ length: this.size.texts }, (_, i) => order[i] ?? i);
    const moved = all.flatMap((from, to) => from === to ? [] : [{ from, to }]);
    if (moved.length === 0) return;
    const textBytes = this.size.capacity * this.#tokenBytes;
    const used = Math.max(...moved.map(({ from }) => this.#lengths[from])) * this.#tokenBytes;
    const { device } = this.own.gpu;
    const encoder = device.createCommandEncoder({ label: "reorder texts" });
    for (const [name] of this.#stateSizes()) {
      const { buffer } = this.#states.view(name)!;
      for (const { from, to } of moved) {
        encoder.copyBufferToBuffer(buffer, from * textBytes, this.#aside, to * textBytes, used);
      }
      for (const { to } of moved) {
        encoder.copyBufferToBuffer(this.#aside, to * textBytes, buffer, to * textBytes, used);
      }
    }
    device.queue.submit([encoder.finish()]);
    this.#lengths = all.map((from) => this.#lengths[from]);
  }

  /** Runs a program, and reads the logits of each text's next token, [vocabulary], which it leaves in pieces. */
  async #logits({ compiled, outputs }: Program, texts: number): Promise<Float32Array[]> {
    const views = outputs.map((piece) => compiled.view(piece));
    const starts = views.map((_, p) => views.slice(0, p).reduce((sum, { bytes }) => sum + bytes, 0));
    compiled.run(views.map((from, p) => ({ from, to: this.#staging, toOffset: starts[p] })));
    const read = await this.own.gpu.readStaging(this.#staging, this.#staging.size);
    return Array.from({ length: texts }, (_, i) => {
      const logits = new Float32Array(this.own.model.vocabulary);
      let first = 0;
      outputs.forEach(({ shape: [, tokens] }, p) => {
        logits.set(new Float32Array(read, starts[p] + 4 * i * tokens, tokens), first);
        first += tokens;
      });
      return logits;
    });
  }

  /** Throws an Error when the weights are no longer there. */
  async #use<T>(
    kind: ReadingKind,
    length: number,
    body: (program: Program) => T | Promise<T>,
  ): Promise<T> {
    const { uploaded } = this.own;
    if (uploaded.disposed) throw disposedError();
    const make = () => this.#program(kind, length);
    return await uploaded.use(() => this.#programs.use([kind, length], make, body));
  }

  #program(kind: ReadingKind, length: number): Promise<Program> {
    const { model, adapter, cache } = this.own;
    const reading = { kind, length, cache, ...this.size };
    const outputs = traceReading(model, adapter, reading, (name) => this.#weights.storage(name));
    return this.#compiled(`${kind} ${length}`, outputs);
  }

  async #compiled(label: string, outputs: readonly Tensor[]): Promise<Program> {
    const compiled = await compile(this.own.gpu, outputs, {
      label,
      weights: (name) => this.#weights.view(name),
      arena: this.#arena,
    });
    return { compiled, outputs, [Symbol.dispose]: () => compiled[Symbol.dispose]() };
  }

  [Symbol.dispose](): void {
    this.#programs[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
    this.#states[Symbol.dispose]();
    this.own.gpu.destroyBuffer(this.#staging);
    this.own.gpu.destroyBuffer(this.#aside);
  }
}

/** The inputs of `Tokens` for rows of ids, padded to `length`; `first` is the place of a row's first token. */
function tokensOf(
  rows: readonly (readonly number[])[],
  length: number,
  first: (row: number) => number,
  texts = rows.length,
) {
  const ids = new Uint32Array(texts * length);
  rows.forEach((row, i) => ids.set(row, i * length));
  return {
    ids,
    lengths: Uint32Array.from({ length: texts }, (_, i) => Math.max(rows[i]?.length ?? 1, 1)),
    places: Uint32Array.from(ids, (_, i) => (first(Math.floor(i / length)) ?? 0) + i % length),
    types: new Uint32Array(ids.length),
  };
}
