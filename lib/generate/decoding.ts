/**
 * A batch of texts that are being written: the keys and values of their tokens, kept on the GPU, and two kinds of programs over
 * them. One reads whole prompts, the other a token more of each text.
 */

import type { Adapter } from "../adapters/attach.ts";
import { tracer } from "../adapters/trace.ts";
import type { Gpu } from "../gpu/device.ts";
import { Arena, compile, type CompiledGraph } from "../graph/compile.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { attention } from "../graph/ops/attention.ts";
import { cachedAttention } from "../graph/ops/cached_attention.ts";
import { lastToken } from "../graph/ops/last_token.ts";
import { matmul } from "../graph/ops/product/product.ts";
import { takeRows } from "../graph/ops/take_rows.ts";
import { vocabularyLoss } from "../graph/ops/vocabulary_loss.ts";
import { writeRows } from "../graph/ops/write_rows.ts";
import type { Cache, Decoder, Tokens, Tracer } from "../models/model.ts";
import { partsOfRows } from "../objectives/language.ts";
import { bucketOfLength } from "../run/batches.ts";
import { Kept } from "../run/kept.ts";
import { States } from "../run/states.ts";
import { tokenInputs } from "../run/step.ts";
import { type WeightPlace, WeightStore } from "../run/weight_store.ts";

/** What writes. */
export interface DecodingParts {
  readonly gpu: Gpu;
  readonly model: Decoder;
  readonly adapter: Adapter;
  /** The model's weights and the adapter's. */
  readonly weights: readonly WeightPlace[];
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

/** Whole prompts, a token more of each text, or tokens whose probabilities are asked for. */
type Kind = "start" | "next" | "judge";

/** A program that reads `length` tokens more of each text. */
interface Program extends Disposable {
  readonly compiled: CompiledGraph;
  /** Logits of the next token, in pieces of the vocabulary: [texts, tokens] each; or of every label its −log p, [texts · length]. */
  readonly outputs: readonly Tensor[];
}

/** Reads and writes a batch of texts. */
export class Decoding implements Disposable {
  readonly #programs = new Kept<Program>(mostPrograms);
  readonly #reorderings = new Kept<Program>(Infinity);
  readonly #states: States;
  readonly #weights: WeightStore;
  readonly #arena: Arena;
  /** Where logits are copied to be read. */
  readonly #staging: GPUBuffer;
  /** Tokens of each text so far. */
  #lengths: number[] = [];

  constructor(private readonly own: DecodingParts, readonly size: DecodingSize) {
    const { gpu, model } = own;
    this.#states = new States(gpu, this.#stateSizes());
    this.#weights = new WeightStore(...own.weights, this.#states);
    this.#arena = new Arena(gpu);
    this.#staging = gpu.createStaging("logits", 4 * size.texts * model.vocabulary);
  }

  /** Tokens of each text so far. */
  get lengths(): readonly number[] {
    return this.#lengths;
  }

  #stateSizes(): [string, number][] {
    const { texts, capacity } = this.size;
    const { model } = this.own;
    const bytes = 4 * texts * capacity * model.language.cached.width;
    return this.#layers().flatMap((path) =>
      [[keysOf(path), bytes], [valuesOf(path), bytes]] as [string, number][]
    );
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
  async reorder(order: readonly number[]): Promise<void> {
    if (order.every((from, i) => from === i)) return;
    const { texts } = this.size;
    const all = Array.from({ length: texts }, (_, i) => order[i] ?? i);
    for (const path of this.#layers()) {
      for (const state of [keysOf(path), valuesOf(path)]) {
        await this.#reorderings.use([state], () => this.#reordering(state), ({ compiled }) => {
          compiled.upload({ order: Uint32Array.from(all), back: new Uint32Array(texts) });
          compiled.run();
        });
      }
    }
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

  #reordering(state: string): Promise<Program> {
    const { texts, capacity } = this.size;
    const graph = new Graph();
    const width = this.own.model.language.cached.width;
    const before = graph.state(state, [texts, capacity * width]);
    const [order, back] = ["order", "back"].map((name) => graph.input(name, [texts], "u32"));
    const after = takeRows(before, { rows: order, places: back, from: 0, count: texts });
    graph.update(before, after);
    return this.#compiled(`reorder ${state}`, [after]);
  }

  #use<T>(kind: Kind, length: number, body: (program: Program) => T | Promise<T>): Promise<T> {
    return this.#programs.use([kind, length], () => this.#program(kind, length), body);
  }

  #program(kind: Kind, length: number): Promise<Program> {
    const { model, adapter } = this.own;
    const graph = new Graph();
    const tokens: Tokens = {
      ...tokenInputs(graph, this.size.texts, length),
      cache: this.#cache(graph, kind, length),
    };
    const own = tracer(graph, model, adapter, {
      lengths: tokens.lengths,
      storage: (name) => this.#weights.storage(name),
    });
    const hidden = model.trace(own, tokens);
    const last = () => length === 1 ? hidden : lastToken(hidden, tokens.lengths);
    const outputs = kind === "judge" ? [nllOf(model, own, hidden)] : logitsOf(model, own, last());
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

  /** The cache as a graph sees it. What is judged is not kept. */
  #cache(graph: Graph, kind: Kind, length: number): Cache {
    const { texts, capacity } = this.size;
    const at = graph.input("at", [texts], "u32");
    const places = graph.input("places", [texts, length], "u32");
    const lengths = graph.input("lengths", [texts], "u32");
    const { width } = this.own.model.language.cached;
    return {
      attend(path, q, k, v, options) {
        const [keys, values] = [[keysOf(path), k] as const, [valuesOf(path), v] as const].map(
          ([name, rows]) => {
            const before = graph.state(name, [texts * capacity, width]);
            const after = writeRows(before, rows, at);
            graph.update(before, after);
            return after;
          },
        );
        if (kind === "start") return attention(q, k, v, lengths, { ...options, causal: true });
        return cachedAttention(q, keys, values, places, { texts, ...options });
      },
    };
  }

  [Symbol.dispose](): void {
    this.#reorderings[Symbol.dispose]();
    this.#programs[Symbol.dispose]();
    this.#arena[Symbol.dispose]();
    this.#states[Symbol.dispose]();
    this.own.gpu.destroyBuffer(this.#staging);
  }
}

const keysOf = (path: string) => `keys of ${path}`;
const valuesOf = (path: string) => `values of ${path}`;

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

/** The logits of the tokens after these rows, in pieces of the vocabulary. */
function logitsOf({ language: { output } }: Decoder, own: Tracer, rows: Tensor): Tensor[] {
  return own.graph.scope(
    output,
    () => own.table(output).map(({ weight }) => matmul(rows, weight, { transposeB: true })),
  );
}

/** −log p of a label for each row. */
function nllOf({ language: { output, tokenizer } }: Decoder, own: Tracer, hidden: Tensor): Tensor {
  const { graph } = own;
  const [rows] = hidden.shape;
  const all = graph.input("all rows", [rows], "u32");
  return graph.scope(output, () =>
    vocabularyLoss(partsOfRows(hidden, all, all), own.table(output), {
      labels: graph.input("labels", [rows], "u32"),
      weights: graph.input("weights", [rows]),
      limit: tokenizer.size,
    }).nll);
}
