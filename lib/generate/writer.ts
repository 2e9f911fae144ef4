/** Writes with a causal model: continuations of prompts, one streamed or several at a time, and the scores of given ones. */

import { type Adapter, attach } from "../adapters/attach.ts";
import { headOnly } from "../adapters/base_only.ts";
import { checkAdapter } from "../adapters/check_adapter.ts";
import { checkShapes } from "../adapters/check_weights.ts";
import { constantWeights } from "../adapters/starting_weights.ts";
import type { Gpu } from "../gpu/device.ts";
import type { ChatMessage } from "../models/chat_inputs.ts";
import { encodeChat } from "../models/chat_template.ts";
import type { Decoder, Weight } from "../models/model.ts";
import { stopScanner } from "../models/stop_strings.ts";
import { checkOptionNames } from "../option_names.ts";
import { FrozenWeights } from "../run/frozen_weights.ts";
import { Shared } from "../run/shared.ts";
import type { WeightPlace } from "../run/weight_store.ts";
import { type BeamOptions, BeamSearch, type Found, logProbabilitiesOf } from "./beams.ts";
import { checkContinuations, continuationIds, type Prompt, promptIds } from "./prompts.ts";
import type { CacheStorage } from "./reading.ts";
import { type Lease, Rooms } from "./rooms.ts";
import { checkSampling, nextToken, penalize, type SamplingOptions } from "./sampling.ts";
import { roomFor } from "./text_room.ts";
import { checkFinite, tokenLogits } from "./token_logits.ts";

/** What a `Writer` writes with. */
export interface WriterOptions {
  /** Where to run (`openGpu`). */
  readonly gpu: Gpu;
  /** The model (`loadDecoder`). */
  readonly model: Decoder;
  /** An adapter (`loadAdapter`, `attach`); by default the model writes alone. */
  readonly adapter?: Adapter;
  /** The adapter's trained weights. */
  readonly weights?: ReadonlyMap<string, Weight>;
  /** The model's weights, if they are on the GPU already. */
  readonly frozen?: WeightPlace;
  /** How the keys and values of earlier tokens are stored: as f32 (default), or as f16 in half the room. */
  readonly cache?: CacheStorage;
  /**
   * A Writer that takes turns with this one, such as one with another adapter: both together keep as much room for texts on the GPU
   * as one does.
   */
  readonly turnsWith?: Writer;
}

/** How a continuation is written. */
export interface WriteOptions extends SamplingOptions {
  /** The most new tokens, the end token among them. */
  readonly maxTokens: number;
  /** Strings that end a text; they are not part of it. */
  readonly stop?: readonly string[];
  /** Ends the writing when it is aborted: the reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A continuation. */
export interface Written {
  /** What was written, without the prompt. */
  readonly text: string;
  /** The new ids, the end token among them if one was found. */
  readonly ids: readonly number[];
  /** Whether the model or a stop string ended it, or it is as long as it may be. */
  readonly ended: "stop" | "length";
}

/** A continuation that a beam search has found. */
export interface WrittenBeam extends Written {
  /** Σ log p / (new tokens)^lengthPenalty. */
  readonly score: number;
}

/**
 * Writes with a causal model and, if there is one, its adapter. It owns GPU memory: declare it with `using`.
 *
 * @example
 * ```ts ignore
 * import { loadDecoder, openGpu, Writer } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * using writer = new Writer({ gpu, model: await loadDecoder("smollm2") });
 * for await (const piece of writer.stream("Water boils at", { maxTokens: 16 })) console.log(piece);
 * ```
 */
export class Writer implements Disposable {
  readonly #gpu: Gpu;
  readonly #model: Decoder;
  readonly #adapter: Adapter;
  readonly #uploaded: Shared<DisposableStack>;
  readonly #rooms: Rooms;

  /**
   * Uploads the model's weights, unless they are there, and the adapter's.
   * @throws Error when the adapter was attached to another model, the weights are not the adapter's (or there is none), and when
   * `frozen` holds another model's.
   */
  constructor(
    { gpu, model, adapter, weights = new Map(), frozen, cache = "f32", turnsWith }: WriterOptions,
  ) {
    [this.#gpu, this.#model] = [gpu, model];
    this.#adapter = adapter ?? attach(model, headOnly, { target: "all-linear" });
    if (!adapter && weights.size > 0) {
      throw new Error("the Writer has weights, and no adapter that they are of: give it as well");
    }
    checkAdapter(model, this.#adapter);
    checkShapes(model, this.#adapter, weights);
    if (frozen instanceof FrozenWeights) frozen.refuseOther(model);
    using owned = new DisposableStack();
    const own = owned.use(new FrozenWeights(gpu, [...constantWeights(model, this.#adapter), ...weights]));
    const base = frozen ?? owned.use(FrozenWeights.forTraining(gpu, model));
    this.#uploaded = new Shared(owned.move());
    const held = { weights: [own, base], uploaded: this.#uploaded };
    this.#rooms = new Rooms(
      { gpu, model, adapter: this.#adapter, cache, ...held },
      turnsWith && turnsWith.#rooms,
    );
  }

  /** The ids of a prompt. Special tokens that a text spells are text. Throws an Error for a text with half a surrogate pair. */
  idsOf(prompt: Prompt): readonly number[] {
    return promptIds(this.#model, prompt);
  }

  /**
   * The ids of a conversation, a prompt whose continuation is the model's next turn, by the model's own chat template.
   * @throws Error when the model has no chat template, and when the template refuses the conversation, which names the message.
   */
  async idsOfChat(messages: readonly ChatMessage[]): Promise<readonly number[]> {
    const { name, language: { templates, tokenizer } } = this.#model;
    if (!templates) throw new Error(`${name} has no chat template: give a text as the prompt`);
    const conversation = { where: "the conversation", messages, addGenerationPrompt: true };
    return await encodeChat(templates, tokenizer, conversation);
  }

  /** The ids of a text that goes on after a prompt, without marks. Throws as `idsOf` does. */
  continuationIds(continuation: Prompt): readonly number[] {
    return continuationIds(this.#model, continuation);
  }

  /** The most tokens that prompt and continuation can have in all. */
  get maxTokens(): number {
    return this.#model.maxTokens!;
  }

  /**
   * The continuation of one prompt, piece by piece, as it comes: never a part of a character, nor of a stop string. The pieces
   * together are the text of what it returns at the end, and of what `write` gives.
   * @throws Error when an option is not allowed, the prompt is empty, prompt and new tokens are too long for the model, or the logits
   * are not finite: then the model or the adapter is broken.
   */
  async *stream(prompt: Prompt, options: WriteOptions): AsyncGenerator<string, Written> {
    const ids = this.idsOf(prompt);
    using lease = this.#leaseFor([ids], options);
    const { decoding } = lease;
    const text = new Text(this.#model, ids, 0, options);
    let logits = (await decoding.start([ids]))[0];
    while (true) {
      options.signal?.throwIfAborted();
      const piece = text.take(logits);
      if (piece !== "") yield piece;
      if (text.ended) return text.written;
      logits = (await decoding.next([text.last]))[0];
    }
  }

  /**
   * The continuations of several prompts, written together. Each is what it would be alone but for rounding.
   * @throws Error as `stream` does.
   */
  async write(prompts: readonly Prompt[], options: WriteOptions): Promise<Written[]> {
    const all = prompts.map((prompt) => this.idsOf(prompt));
    using lease = this.#leaseFor(all, options);
    const { decoding } = lease;
    const texts = all.map((ids, row) => new Text(this.#model, ids, row, options));
    let logits = await decoding.start(all);
    while (true) {
      options.signal?.throwIfAborted();
      texts.forEach((text, i) => {
        if (!text.ended) text.take(logits[i]);
      });
      if (texts.every(({ ended }) => ended)) return texts.map((text) => text.written);
      logits = await decoding.next(texts.map((text) => text.ended ? -1 : text.last));
    }
  }

  /**
   * The best continuations of a prompt that a beam search finds, best first.
   * @throws Error as `stream` does, and when there are stop strings, which it does not look for, or a temperature, as it draws nothing.
   */
  async beams(prompt: Prompt, options: WriteOptions & BeamOptions): Promise<WrittenBeam[]> {
    return (await this.search([prompt], options))[0];
  }

  /**
   * The best continuations of each of several prompts, searched together, as `beams` finds them.
   * @throws Error as `beams` does.
   */
  async search(
    prompts: readonly Prompt[],
    { beams, lengthPenalty, ...options }: WriteOptions & BeamOptions,
  ): Promise<WrittenBeam[][]> {
    checkBeams({ beams, lengthPenalty }, options);
    const all = prompts.map((prompt) => this.idsOf(prompt));
    using lease = this.#leaseFor(all, options, beams);
    const { decoding } = lease;
    const ends = new Set(this.#model.language.tokenizer.eos);
    const searches = all.map(() => new BeamSearch({ beams, lengthPenalty }, ends, options.maxTokens));
    let logits = await decoding.start(all.flatMap((ids) => Array.from({ length: beams }, () => ids)));
    while (true) {
      options.signal?.throwIfAborted();
      const next = searches.flatMap((search, i) => {
        const rows = i * beams;
        // A search that has ended keeps its rows as they are.
        if (search.done) return Array.from({ length: beams }, (_, j) => ({ from: rows + j, token: -1 }));
        const own = this.#beamLogProbabilities(search, all[i], logits.slice(rows, rows + beams), options);
        return search.step(own).map(({ from, token }) => ({ from: rows + from, token }));
      });
      if (searches.every(({ done }) => done)) break;
      decoding.reorder(next.map(({ from }) => from));
      logits = await decoding.next(next.map(({ token }) => token));
    }
    return searches.map(({ found }) => found.map((own) => this.#writtenBeam(own)));
  }

  #beamLogProbabilities(
    { running }: BeamSearch,
    prompt: readonly number[],
    logits: readonly Float32Array[],
    { repetitionPenalty = 1 }: WriteOptions,
  ): Float64Array[] {
    return logits.map((own, i) => {
      const all = logProbabilitiesOf(tokenLogits(own, this.#model.language.tokenizer));
      if (repetitionPenalty === 1) return all;
      const values = Float32Array.from(all);
      penalize(values, [...prompt, ...running[i]], repetitionPenalty);
      return Float64Array.from(values);
    });
  }

  #writtenBeam({ ids, score }: Found): WrittenBeam {
    const { tokenizer } = this.#model.language;
    const ended = tokenizer.eos.includes(ids.at(-1)!);
    const text = tokenizer.decode(ended ? ids.slice(0, -1) : ids, { continues: true });
    return { ids, score, text, ended: ended ? "stop" : "length" };
  }

  /**
   * The logarithm of probability of each continuation after each prompt, Σ log p over its tokens: [prompt][continuation]. The
   * prompts are read once. Continuations are texts that go on, such as " animal", or ids.
   * @throws Error as `stream` does, and when a continuation is empty or has an id that is no token's.
   */
  score(prompts: readonly Prompt[], continuations: readonly Prompt[]): Promise<number[][]> {
    return this.scoreEach(prompts, prompts.map(() => continuations));
  }

  /**
   * As `score`, where each prompt has continuations of its own: [prompt][continuation].
   * @throws Error as `score` does, and when the prompts and the lists of continuations are not as many.
   */
  async scoreEach(
    prompts: readonly Prompt[],
    continuations: readonly (readonly Prompt[])[],
  ): Promise<number[][]> {
    const { size } = this.#model.language.tokenizer;
    const all = prompts.map((prompt) => this.idsOf(prompt));
    const ends = continuations.map((own) => own.map((end) => this.continuationIds(end)));
    checkContinuations(this.#model, all.length, ends);
    const wanted = roomFor(this.#model, all, (i) => Math.max(...ends[i].map(({ length }) => length)));
    using lease = this.#rooms.lease(wanted);
    const { decoding } = lease;
    const started = await decoding.start(all);
    // As in training, and for a continuation's later tokens, rows below `size` that are no token's have their share.
    const first = started.map((logits) => logProbabilitiesOf(tokenLogits(logits, { size, unused: [] })));
    const scores = first.map((own, i) => ends[i].map(([token]) => own[token]));
    for (let j = 0; j < Math.max(...ends.map(({ length }) => length)); j++) {
      // A prompt without a continuation j repeats its first.
      const rest = await decoding.judge(ends.map((own) => own[j] ?? own[0]));
      rest.forEach((values, i) => {
        if (j < ends[i].length) scores[i][j] -= values.reduce((sum, value) => sum + value, 0);
      });
    }
    for (const own of scores) checkFinite(own, "the scores of continuations");
    return scores;
  }

  /** Room for these prompts, or `beams` texts of each, and what is written after them. */
  #leaseFor(prompts: readonly (readonly number[])[], options: WriteOptions, beams?: number): Lease {
    checkOptions(options);
    return this.#rooms.lease(roomFor(this.#model, prompts, () => options.maxTokens, beams));
  }

  /** Frees the weights that it uploaded, and the texts. What is being written ends with an Error. */
  [Symbol.dispose](): void {
    this.#rooms[Symbol.dispose]();
    this.#uploaded[Symbol.dispose]();
  }
}

const optionNames: Readonly<Record<keyof WriteOptions, true>> = {
  ...{ maxTokens: true, stop: true, signal: true },
  ...{ temperature: true, topK: true, topP: true, repetitionPenalty: true, seed: true, firstRow: true },
};

/** Throws an Error that names an option that there is not, or one whose value is not allowed. */
function checkOptions(options: WriteOptions): void {
  checkOptionNames("writing", options, Object.keys(optionNames));
  const { stop = [] } = options;
  if (!Array.isArray(stop) || stop.some((text) => typeof text !== "string")) {
    throw new Error(`stop is ${JSON.stringify(stop)}: use a list of texts`);
  }
  checkSampling(options);
}

/** Throws an Error that names an option that a beam search cannot have. */
function checkBeams({ beams, lengthPenalty = 1 }: BeamOptions, { stop, temperature }: WriteOptions): void {
  if (!(Number.isSafeInteger(beams) && beams >= 1)) {
    throw new Error(`beams is ${beams}: use a whole number from 1`);
  }
  if (!Number.isFinite(lengthPenalty)) throw new Error(`lengthPenalty is ${lengthPenalty}: use a number`);
  if (stop && stop.length > 0) {
    throw new Error("a beam search does not look for stop strings: leave stop out");
  }
  if (temperature) throw new Error("a beam search draws nothing: leave temperature out");
}

/** A text that is being written. */
class Text {
  readonly #ids: number[] = [];
  readonly #decoder;
  readonly #scanner;
  #text = "";
  #ended: Written["ended"] | undefined;

  constructor(
    private readonly model: Decoder,
    private readonly prompt: readonly number[],
    private readonly row: number,
    private readonly options: WriteOptions,
  ) {
    this.#decoder = model.language.tokenizer.streamingDecoder({ continues: true });
    this.#scanner = stopScanner(options.stop ?? []);
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** The newest id. */
  get last(): number {
    return this.#ids.at(-1)!;
  }

  get written(): Written {
    return { text: this.#text, ids: this.#ids, ended: this.#ended! };
  }

  /** Takes the logits of the next token, and returns the text that can be sent. */
  take(logits: Float32Array): string {
    const { tokenizer } = this.model.language;
    const place = { row: this.row, step: this.#ids.length };
    const seen = [...this.prompt, ...this.#ids];
    const id = nextToken(tokenLogits(logits, tokenizer), seen, place, this.options);
    this.#ids.push(id);
    const isEnd = tokenizer.eos.includes(id);
    const { text, stopped } = this.#scanner.push(isEnd ? "" : this.#decoder.push(id));
    if (stopped || isEnd) this.#ended = "stop";
    else if (this.#ids.length === this.options.maxTokens) this.#ended = "length";
    const rest = this.#ended && !stopped ? this.#rest() : "";
    this.#text += text + rest;
    return text + rest;
  }

  /** What was held back, when the text ends. */
  #rest(): string {
    const { text, stopped } = this.#scanner.push(this.#decoder.end());
    return stopped ? text : text + this.#scanner.end();
  }
}
