/** Writing with decoders: against transformers' texts (fixtures/decoder_reference.py), and what must not depend on the batch. */

import assert from "node:assert/strict";
import { type Adapter, attach } from "../lib/adapters/attach.ts";
import { lora } from "../lib/adapters/lora.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { byValue, indexOfHighest, keptCount, nextToken, penalize } from "../lib/generate/sampling.ts";
import { BeamSearch, logProbabilitiesOf } from "../lib/generate/beams.ts";
import type { DecodingParts } from "../lib/generate/decoding.ts";
import { likeliestContinuations } from "../lib/generate/likeliest_continuations.ts";
import { mostTexts, NoRoomError, textBytes } from "../lib/generate/text_room.ts";
import { checkFinite, tokenLogits } from "../lib/generate/token_logits.ts";
import { Writer, type WriterOptions } from "../lib/generate/writer.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { Decoder } from "../lib/models/model.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import {
  cases,
  type DecoderCase,
  loraOptions,
  newTokens,
  numBeams,
  repetitionPenalty,
  writeDecoder,
} from "./support/decoder_reference.ts";
import { logitsOf } from "./support/decoder_logits.ts";
import { withFolder } from "./support/files.ts";
import { withoutMemoryFor } from "./support/devices.ts";
import { testGpu } from "./support/ops.ts";
import { seeded } from "./support/seeded_checkpoint.ts";

async function withDecoder(of: DecoderCase, body: (model: Decoder) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    await writeDecoder(`${folder}/model`, of);
    await body(await loadDecoder(`${folder}/model`));
  });
}

for (const [name, expected] of Object.entries(cases)) {
  Deno.test(`${name}: greedy texts are transformers', alone, together and in another order`, () =>
    withDecoder(expected, async (model) => {
      using writer = new Writer({ gpu: await testGpu(), model });
      const { greedy, penalized = [] } = expected.generation;
      const options = { maxTokens: newTokens };
      for (const { prompt, ids } of greedy) {
        const [alone] = await writer.write([prompt], options);
        assert.deepEqual(alone.ids, ids);
        assert.equal(alone.ended, expected.generation.eos.includes(ids.at(-1)!) ? "stop" : "length");
      }
      const together = await writer.write(greedy.map(({ prompt }) => prompt), options);
      assert.deepEqual(together.map(({ ids }) => ids), greedy.map(({ ids }) => ids));
      const reversed = await writer.write(greedy.map(({ prompt }) => prompt).toReversed(), options);
      assert.deepEqual(reversed.map(({ ids }) => ids), greedy.map(({ ids }) => ids).toReversed());
      for (const { prompt, ids } of penalized) {
        const [own] = await writer.write([prompt], { ...options, repetitionPenalty });
        assert.deepEqual(own.ids, ids);
      }
    }));

  if (!expected.generation.beams) continue;
  Deno.test(`${name}: beams and their scores are transformers'`, () =>
    withDecoder(expected, async (model) => {
      using writer = new Writer({ gpu: await testGpu(), model });
      for (const { prompt, found } of expected.generation.beams!) {
        const own = await writer.beams(prompt, { maxTokens: newTokens, beams: numBeams });
        assert.deepEqual(own.map(({ ids }) => ids), found.map(({ ids }) => ids));
        const error = relativeError(own.map(({ score }) => score), found.map(({ score }) => score));
        assert.ok(error < 1e-5, `scores: relative error ${error}`);
      }
      const prompts = expected.generation.beams!.map(({ prompt }) => prompt);
      const together = await writer.search(prompts, { maxTokens: newTokens, beams: numBeams });
      const ids = expected.generation.beams!.map(({ found }) => found.map(({ ids }) => ids));
      assert.deepEqual(together.map((beams) => beams.map(({ ids }) => ids)), ids);
    }));
}

const llama = cases["LLaMA 2"];

Deno.test("a continuation's score is the sum of its tokens' logarithms of probability, with or without a cache", () =>
  withDecoder(llama, async (model) => {
    const gpu = await testGpu();
    using writer = new Writer({ gpu, model });
    const prompts = [[1, 20, 33], [1, 7], [1, 50, 51, 52, 53, 54, 55, 56, 57, 58]];
    const continuations = [[5], [6, 7, 8], [9, 10]];
    const scores = await writer.score(prompts, continuations);
    for (const [i, prompt] of prompts.entries()) {
      for (const [j, continuation] of continuations.entries()) {
        const [logits] = await logitsOf(gpu, model, [[...prompt, ...continuation]]);
        const expected = continuation.reduce((sum, id, t) => {
          const at = (prompt.length - 1 + t) * model.vocabulary;
          const row = logits.subarray(at, at + model.vocabulary);
          const top = Math.max(...row);
          return sum + row[id] - top - Math.log(row.reduce((all, value) => all + Math.exp(value - top), 0));
        }, 0);
        assert.ok(Math.abs(scores[i][j] - expected) < 1e-4, `${i} ${j}: ${scores[i][j]}, ${expected}`);
      }
    }
  }));

Deno.test("a continuation's score is the sum of its parts' scores, also where a row of the vocabulary is no token's", () =>
  withDecoder(llama, async (model) => {
    const { language } = model;
    const gpu = await testGpu();
    using usual = new Writer({ gpu, model });
    const [{ ids: [likely] }] = await usual.write([[1, 7, 20, 33]], { maxTokens: 1 });
    const tokenizer = { ...language.tokenizer, unused: [likely] };
    using writer = new Writer({ gpu, model: { ...model, language: { ...language, tokenizer } } });
    const [[whole, first]] = await writer.score([[1, 7]], [[20, 33, 5], [20, 33]]);
    const [[second]] = await writer.score([[1, 7, 20, 33]], [[5]]);
    assert.ok(Math.abs(whole - first - second) < 1e-4, `${whole}, ${first} + ${second}`);
  }));

Deno.test("a cache of halves takes half the room, and scores a thousandth off", () =>
  withDecoder(llama, async (model) => {
    using gpu = await openGpu();
    const prompts = [[1, 20, 33], [1, 50, 51, 52, 53, 54, 55, 56, 57, 58]];
    const continuations = [[5, 6, 7], [9, 10, 11, 12]];
    const createBuffer = gpu.createBuffer.bind(gpu);
    let bytes = 0;
    gpu.createBuffer = (label, size, usage) => {
      if (/^(keys|values) of/.test(label)) bytes += size;
      return createBuffer(label, size, usage);
    };
    const of = async (cache: "f32" | "f16") => {
      bytes = 0;
      using writer = new Writer({ gpu, model, cache });
      const scores = await writer.score(prompts, continuations);
      const beams = await writer.beams(prompts[0], { beams: 3, maxTokens: 6 });
      return { scores: scores.flat(), bytes, beams: beams.map(({ ids }) => ids) };
    };
    const [whole, half] = [await of("f32"), await of("f16")];
    assert.equal(half.bytes, whole.bytes / 2);
    assert.notDeepEqual(half.scores, whole.scores);
    half.scores.forEach((score, i) => {
      const expected = whole.scores[i];
      assert.ok(Math.abs(score - expected) < 1e-3 * Math.abs(expected), `${score}, ${expected}`);
    });
    assert.deepEqual(half.beams, whole.beams);
  }));

Deno.test("continuations of each prompt's own, of several lengths and numbers, have the scores that they have alone", () =>
  withDecoder(llama, async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    // The first fills its room but for less than what lengths are rounded up to.
    const prompts = [Array.from({ length: 58 }, (_, i) => i + 4), [1, 20, 33], [1, 7]];
    const continuations = [[[20, 21, 22, 23, 24, 25], [4, 5]], [[5, 6, 7], [8]], [[6, 7, 8, 9, 10, 11], [9], [
      5,
      6,
    ]]];
    const together = await writer.scoreEach(prompts, continuations);
    for (const [i, prompt] of prompts.entries()) {
      const alone = await Promise.all(
        continuations[i].map(async (own) => (await writer.score([prompt], [own]))[0][0]),
      );
      assert.equal(together[i].length, alone.length);
      assert.ok(
        alone.every((score, j) => Math.abs(score - together[i][j]) < 1e-4),
        `${together[i]}, ${alone}`,
      );
    }
    // Each prompt has room for its own continuations, whatever is asked of the others.
    const [[last], [far]] = await writer.scoreEach([prompts[0], [1, 7]], [[[20, 21]], [
      Array.from({ length: 40 }, (_, i) => i + 5),
    ]]);
    assert.ok(Number.isFinite(far));
    assert.ok(Math.abs(last - (await writer.score([prompts[0]], [[20, 21]]))[0][0]) < 1e-4);
    await assert.rejects(() => writer.scoreEach(prompts, [[[5]]]), /1 lists of continuations for 3 prompts/);
    await assert.rejects(() => writer.scoreEach([[1]], [[]]), /prompt 0 has no continuations/);
    await assert.rejects(() => writer.score([[1]], [[5], []]), /continuation 1 of prompt 0 is empty/);
    await assert.rejects(() => writer.score([], [[5]]), /there are no prompts/);
    for (const id of [-1, 1.5, 96, 1e9]) {
      const wrong = new RegExp(
        `^Error: continuation 1 of prompt 0 has the id ${id}, which is no token of model's$`,
      );
      for (const ids of [[id], [5, id], [5, id, 6]]) {
        await assert.rejects(() => writer.score([[1]], [[5], ids]), wrong);
      }
    }
  }));

/** Values for all tensors of an adapter. */
function weightsOf({ parameters }: Adapter, valuesOf: typeof seeded) {
  return new Map(
    [...parameters].map(([name, { shape }]) => [name, { shape, data: valuesOf(name, shape) }] as const),
  );
}

Deno.test("an adapter writes what its logits say, and pieces of a stream are the text", () =>
  withDecoder(llama, async (model) => {
    const gpu = await testGpu();
    const adapter = attach(model, lora, loraOptions);
    const weights = weightsOf(adapter, seeded);
    using bare = new Writer({ gpu, model });
    using writer = new Writer({ gpu, model, adapter, weights });
    const prompt = [1, 20, 33];
    const [own] = await writer.write([prompt], { maxTokens: 10 });
    assert.notDeepEqual(own.ids, (await bare.write([prompt], { maxTokens: 10 }))[0].ids);
    const pieces = await Array.fromAsync(writer.stream(prompt, { maxTokens: 10 }));
    assert.equal(pieces.join(""), own.text);
    const stop = own.text.slice(3, 5);
    const [stopped] = await writer.write([prompt], { maxTokens: 10, stop: [stop] });
    assert.deepEqual([stopped.text, stopped.ended], [own.text.slice(0, own.text.indexOf(stop)), "stop"]);
    const streamed = await Array.fromAsync(writer.stream(prompt, { maxTokens: 10, stop: [stop] }));
    assert.equal(streamed.join(""), stopped.text);
    const controller = new AbortController();
    const aborted = async () => {
      for await (const _ of writer.stream(prompt, { maxTokens: 10, signal: controller.signal })) {
        controller.abort(new Error("enough"));
      }
    };
    await assert.rejects(aborted, /^Error: enough$/);
  }));

Deno.test("a broken adapter's logits become no text, no beams and no scores", () =>
  withDecoder(llama, async (model) => {
    const adapter = attach(model, lora, loraOptions);
    const weights = weightsOf(adapter, (name, shape) => seeded(name, shape).fill(1e30));
    using writer = new Writer({ gpu: await testGpu(), model, adapter, weights });
    const options = { maxTokens: 4 };
    const broken =
      /^Error: the logits of the next token are not finite \((NaN|-?Infinity)\): the model or its adapter is broken$/;
    await assert.rejects(() => writer.write(["ab"], options), broken);
    await assert.rejects(() => Array.fromAsync(writer.stream("ab", { ...options, temperature: 1 })), broken);
    await assert.rejects(() => writer.beams("ab", { ...options, beams: 2 }), broken);
    await assert.rejects(() => likeliestContinuations(writer, ["ab"], ["c", "de"], 1), broken);
    const scores = "the scores of continuations";
    assert.throws(
      () => checkFinite([-1, NaN], scores),
      /^Error: the scores of continuations are not finite \(NaN\)/,
    );
    checkFinite([-1, 0, 1e308], scores);
  }));

Deno.test("a Writer refuses weights that are not its adapter's, and an adapter and weights of another model", () =>
  withDecoder(llama, async (model) => {
    const gpu = await testGpu();
    const adapter = attach(model, lora, loraOptions);
    const weights = weightsOf(adapter, seeded);
    const [name] = weights.keys();
    const refused = (options: Partial<WriterOptions>, message: RegExp) =>
      assert.throws(() => new Writer({ gpu, model, ...options }), message);
    refused({ weights }, /^Error: the Writer has weights, and no adapter that they are of: give it as well$/);
    refused(
      { adapter },
      /^Error: no values for model\.layers\.0\.self_attn\.q_proj\.A, .*: pass every trained/,
    );
    const one = attach(model, lora, { ...loraOptions, target: loraOptions.target.slice(0, 1) });
    refused({ adapter: one, weights }, /" is no tensor of this LoRA or of the head: leave it out$/);
    const narrow = attach(model, lora, { ...loraOptions, r: 2 });
    refused(
      { adapter: narrow, weights },
      new RegExp(`^Error: "${name}" is \\[4,48\\], and the adapter's is`),
    );
    await withDecoder(cases["Qwen3"], (other) => {
      const foreign = attach(other, lora, loraOptions);
      refused({ adapter: foreign, weights }, /it was attached to another model: attach it to model$/);
      return Promise.resolve();
    });
    await withDecoder(llama, (other) => {
      using frozen = FrozenWeights.forTraining(gpu, other);
      refused(
        { frozen },
        /^Error: frozen holds the weights of another model than model: make them of the model/,
      );
      return Promise.resolve();
    });
  }));

Deno.test("what is drawn depends on the seed alone", () =>
  withDecoder(llama, async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    const draw = async (seed: number) =>
      (await writer.write([[1, 20, 33]], { maxTokens: 12, temperature: 1.5, topK: 40, topP: 0.95, seed }))[0]
        .ids;
    assert.deepEqual(await draw(1), await draw(1));
    assert.notDeepEqual(await draw(1), await draw(2));
    const alike = Array.from({ length: 3 }, () => [1, 20, 33]);
    const options = { maxTokens: 12, temperature: 1.5 };
    const together = (await writer.write(alike, options)).map(({ ids }) => ids);
    assert.equal(new Set(together.map(String)).size, 3);
    const rest = await writer.write(alike.slice(1), { ...options, firstRow: 1 });
    assert.deepEqual(rest.map(({ ids }) => ids), together.slice(1));
  }));

Deno.test("after the first tokens, a token makes no buffer and no bind group", () =>
  withDecoder(llama, async (model) => {
    using gpu = await openGpu();
    using writer = new Writer({ gpu, model });
    await writer.write([[1, 20, 33]], { maxTokens: 3 });
    const made: string[] = [];
    for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync"] as const) {
      const original = gpu.device[name].bind(gpu.device) as (...args: unknown[]) => unknown;
      Object.defineProperty(gpu.device, name, {
        configurable: true,
        value: (...args: unknown[]) => {
          made.push(name === "createBuffer" ? (args[0] as GPUBufferDescriptor).label! : name);
          return original(...args);
        },
      });
    }
    await writer.write([[1, 20, 34]], { maxTokens: 8 });
    assert.deepEqual(made, []);
  }));

Deno.test("two streams at once are each what they are alone, and one that is not read to its end leaves nothing behind", () =>
  withDecoder(llama, async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    const options = { maxTokens: 6 };
    const prompts = [[1, 20, 33], [1, 40]];
    const alone = [];
    for (const prompt of prompts) alone.push((await writer.write([prompt], options))[0].text);
    const streams = prompts.map((prompt) => writer.stream(prompt, options));
    const texts = ["", ""];
    for (let open = 2; open > 0;) {
      open = 0;
      for (const [i, stream] of streams.entries()) {
        const { value, done } = await stream.next();
        if (done) continue;
        texts[i] += value;
        open++;
      }
    }
    assert.deepEqual(texts, alone);
    for await (const _ of writer.stream(prompts[0], options)) break;
    assert.equal((await writer.write([prompts[1]], options))[0].text, alone[1]);
  }));

Deno.test("a Writer that is disposed of amid its texts ends them with an error, frees all, and leaves the GPU to others", () =>
  withDecoder(llama, async (model) => {
    using gpu = await openGpu();
    using other = new Writer({ gpu, model });
    const options = { maxTokens: 6 };
    const [expected] = await other.write([[1, 20, 33]], options);
    const { bytes } = gpu.memory;
    for (const isRunning of [false, true]) {
      const writer = new Writer({ gpu, model });
      const stream = writer.stream([1, 20, 33], options);
      // The programs are there from the third on.
      for (let piece = 0; piece < 3; piece++) await stream.next();
      const running = isRunning ? stream.next() : undefined;
      writer[Symbol.dispose]();
      await running;
      await assert.rejects(
        stream.next(),
        /^Error: this Writer has been disposed of: use it within its scope$/,
      );
      await assert.rejects(writer.write([[1]], options), /this Writer has been disposed of/);
      assert.equal(gpu.memory.bytes, bytes);
    }
    assert.deepEqual(await other.write([[1, 20, 33]], options), [expected]);
  }));

Deno.test("what cannot be written is refused with both numbers", () =>
  withDecoder(llama, async (model) => {
    using writer = new Writer({ gpu: await testGpu(), model });
    const refused = async (options: object, message: RegExp, prompt: readonly number[] = [1, 2]) =>
      await assert.rejects(() => writer.write([prompt], { maxTokens: 4, ...options }), message);
    await refused(
      { maxTokens: 63 },
      /prompt 0 has 2 tokens, and 63 new ones are wanted: model reads 64 in all/,
    );
    await refused({ maxTokens: 0 }, /maxTokens is 0: use a whole number from 1/);
    await refused({ temperature: -1 }, /temperature is -1: use a number from 0/);
    await refused({ temperature: null }, /temperature is null: use a number from 0/);
    await refused({ topP: 1.5 }, /topP is 1\.5: use a share/);
    await refused({ topP: "0.5" }, /topP is 0\.5: use a share/);
    await refused({ top_p: 0.5 }, /writing has no option "top_p"; it has maxTokens, stop, .*, topP, /);
    await refused({ stop: "a" }, /stop is "a": use a list of texts/);
    await refused({ stop: [1] }, /stop is \[1\]: use a list of texts/);
    await refused({ firstRow: -1 }, /firstRow is -1: use a whole number from 0/);
    await refused({ topK: 0 }, /topK is 0: use a whole number from 1/);
    await refused({ repetitionPenalty: 0 }, /repetitionPenalty is 0: use a number above 0/);
    await refused({}, /prompt 0 is empty/, []);
    await refused({}, /prompt 0 has the id 96, which is none of model's/, [96]);
    const half = /^Error: "a\\ud83d" has half a surrogate pair: give whole characters$/;
    await assert.rejects(() => writer.write(["a\ud83d"], { maxTokens: 2 }), half);
    await assert.rejects(() => writer.score([[1]], ["a\ud83d"]), half);
    await assert.rejects(() => writer.beams([1], { maxTokens: 2, beams: 0 }), /beams is 0/);
    await assert.rejects(
      () => writer.beams([1], { maxTokens: 2, beams: 2, stop: ["a"] }),
      /a beam search does not look for stop strings: leave stop out/,
    );
    await assert.rejects(
      () => writer.beams([1], { maxTokens: 2, beams: 2, temperature: 0.7 }),
      /a beam search draws nothing: leave temperature out/,
    );
    await assert.rejects(
      () => writer.beams([1], { maxTokens: 2, beams: 2, lengthPenalty: NaN }),
      /lengthPenalty is NaN: use a number/,
    );
  }));

Deno.test("beams and prompts that have no room are refused with how many have", () =>
  withDecoder(llama, async (model) => {
    const gpu = await testGpu();
    using writer = new Writer({ gpu, model });
    const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
    // The largest of a text are a layer's keys of 64 tokens, in 6 heads of 8.
    const most = Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize) / (4 * 64 * 48));
    assert.equal(mostTexts({ gpu, model, cache: "f32" } as DecodingParts, 64, 1), most);
    const room = new RegExp(
      ` are too many here: at most ${most} texts of up to 64 tokens have room at a time; take fewer, or fewer new tokens$`,
    );
    const told = (what: string) => (error: Error) =>
      error instanceof NoRoomError && error.message.startsWith(what) && room.test(error.message);
    const options = { maxTokens: 2 };
    await assert.rejects(
      () => writer.beams([1], { ...options, beams: most + 1 }),
      told(`${most + 1} beams are`),
    );
    await assert.rejects(
      () => writer.search([[1], [2]], { ...options, beams: most }),
      told(`${most} beams of each of 2 prompts are`),
    );
    const prompts = Array.from({ length: most + 1 }, () => [1]);
    await assert.rejects(() => writer.write(prompts, options), told(`${most + 1} prompts are`));
  }));

Deno.test("room that is kept for the next call counts as free, and goes where another call needs it", () =>
  withDecoder(llama, async (model) => {
    using gpu = await openGpu({ device: (await testGpu()).device, autotune: false });
    Object.assign(gpu.adapter, { software: true });
    using writer = new Writer({ gpu, model });
    const each = textBytes({ model, cache: "f32" }, 64);
    const write = async (texts: number, free: number) => {
      const { systemMemoryInfo } = Deno;
      Deno.systemMemoryInfo = () => ({ ...systemMemoryInfo(), available: free * each });
      try {
        await writer.write(Array.from({ length: texts }, () => [1, 7]), { maxTokens: 2 });
      } finally {
        Deno.systemMemoryInfo = systemMemoryInfo;
      }
    };
    await assert.rejects(
      write(1, 0.5),
      (error) =>
        error instanceof NoRoomError &&
        /^a text of up to 64 tokens has no room here: take a shorter prompt, /.test(error.message),
    );
    await write(2, 2.5);
    const { buffers } = gpu.memory;
    // What the first call has taken is there for the next one, whose texts are as many.
    await write(2, 0.5);
    // Three have room without the two that are kept, and four have not.
    await write(3, 1.5);
    assert.equal(gpu.memory.buffers, buffers);
    await assert.rejects(write(4, 0.5), /4 prompts are too many here: at most 3 texts/);
  }));

Deno.test("after texts that have no memory, fewer have the tokens that they always have", () =>
  withDecoder(llama, async (model) => {
    const { device } = await testGpu();
    // Keys of 64 tokens of three texts, in 6 heads of 8.
    const isTooLarge = ({ size }: GPUBufferDescriptor) => size === 3 * 4 * 64 * 48;
    using gpu = await openGpu({ device: withoutMemoryFor(device, isTooLarge), autotune: false });
    using writer = new Writer({ gpu, model });
    const { bytes } = gpu.memory;
    const three = [[1], [2], [3]];
    for (let time = 0; time < 2; time++) {
      await assert.rejects(writer.write(three, { maxTokens: 2 }), /Out of GPU memory/);
      assert.equal(gpu.memory.bytes, bytes);
    }
    using usual = new Writer({ gpu: await testGpu(), model });
    const two = three.slice(1);
    assert.deepEqual(await writer.write(two, { maxTokens: 2 }), await usual.write(two, { maxTokens: 2 }));
  }));

Deno.test("penalty, top-p and temperature 0 are transformers'", () => {
  const values = Float32Array.of(4, -3, 1);
  penalize(values, [0, 1, 1], 2);
  assert.deepEqual([...values], [2, -6, 1]);
  const shares = [0.5, 0.3, 0.15, 0.05];
  assert.deepEqual([0.6, 0.85, 0, 1e-8, 1].map((p) => keptCount(shares, p)), [2, 3, 1, 1, 4]);
  assert.equal(indexOfHighest(Float32Array.of(1, 3, 3, 2)), 1);
});

Deno.test("rows that are no token's are neither taken nor drawn, in the middle nor at the end", () => {
  const logits = Float32Array.of(1, 9, 2, 9);
  const own = () => tokenLogits(logits, { size: 3, unused: [1] });
  assert.deepEqual([...own()], [1, -Infinity, 2]);
  assert.equal(nextToken(own(), [], { row: 0, step: 0 }, { repetitionPenalty: 2 }), 2);
  const drawn = Array.from(
    { length: 64 },
    (_, seed) => nextToken(own(), [1], { row: 0, step: 0 }, { temperature: 2, repetitionPenalty: 1.1, seed }),
  );
  assert.deepEqual(new Set(drawn), new Set([0, 2]));
  const [first, unused, third] = logProbabilitiesOf(own());
  assert.equal(unused, -Infinity);
  assert.ok(Math.abs(Math.exp(first) + Math.exp(third) - 1) < 1e-12);
});

Deno.test("ids are sorted by value, equal ones in their order", () => {
  const values = Float32Array.from(
    { length: 3000 },
    (_, i) => Math.fround(Math.sin(i * i) * 2 ** (i % 40 - 20)),
  );
  values.set([0, -0, 0, -Infinity, Infinity, 5e-46, -5e-46, 1.5, 1.5, -1.5, -1.5], 100);
  const expected = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  assert.deepEqual(byValue(values), expected);
});

Deno.test("a beam's score is divided by its new tokens: the longer one wins by 1, the shorter by 0", () => {
  const found = (lengthPenalty: number) => {
    const search = new BeamSearch({ beams: 2, lengthPenalty }, new Set([0]), 3);
    // The end at once, Σ −1; or token 1 and then the end, Σ −1.3, mean −0.65.
    search.step([Float64Array.of(-1, -0.3, -6), Float64Array.of(-1, -0.3, -6)]);
    search.step([Float64Array.of(-1, -3, -3), Float64Array.of(-4, -4, -4)]);
    assert.ok(search.done);
    return search.found[0].ids;
  };
  assert.deepEqual(found(0), [0]);
  assert.deepEqual(found(1), [1, 0]);
});

Deno.test("a conversation's prompt is what the chat template writes, up to the model's turn", () =>
  withFolder(async (folder) => {
    await writeDecoder(folder, cases["LLaMA 2"]);
    const messages = [
      { role: "user", content: "ab" },
      { role: "assistant", content: "c" },
      { role: "user", content: "d" },
    ];
    {
      using writer = new Writer({ gpu: await testGpu(), model: await loadDecoder(folder) });
      await assert.rejects(
        () => writer.idsOfChat(messages),
        /has no chat template: give a text as the prompt$/,
      );
    }
    await Deno.writeTextFile(
      `${folder}/chat_template.jinja`,
      "{% for m in messages %}{{ m.role[0] }}{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}a{% endif %}",
    );
    const model = await loadDecoder(folder);
    using writer = new Writer({ gpu: await testGpu(), model });
    const ids = await writer.idsOfChat(messages);
    assert.deepEqual(ids, model.language.tokenizer.encode("uab</s>ac</s>ud</s>a"));
    await assert.rejects(() => writer.idsOfChat([]), /^Error: the conversation has no messages: write one/);
  }));
