/** `deno task generate`: writes with a decoder and its adapter. `--help` lists the options. */

import process from "node:process";
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { loadAdapter } from "../lib/adapters/peft.ts";
import { methods } from "../lib/adapters/registry.ts";
import { readText } from "../lib/files.ts";
import { checkSampling, type SamplingOptions } from "../lib/generate/sampling.ts";
import type { Prompt } from "../lib/generate/prompts.ts";
import { type WriteOptions, Writer, type Written } from "../lib/generate/writer.ts";
import { openGpu } from "../lib/gpu/device.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import type { ChatMessage } from "../lib/models/chat_inputs.ts";
import { instructionPrompt } from "../lib/models/instruction_prompt.ts";
import type { Decoder } from "../lib/models/model.ts";
import { stopScanner } from "../lib/models/stop_strings.ts";
import { cacheOf, packingHelp, packingOf } from "./packing.ts";
import { asUsage, countIn, numberIn, printable, runCommand, UsageError } from "./usage.ts";

const help = `deno task generate --model SOURCE --prompt TEXT [options]

Writes on from a prompt with a decoder, and with an adapter if one is given. Standard output gets the continuation alone, as it
comes; without --prompt, --instruction and --prompts, a conversation on the terminal.

  --model SOURCE          LLaMA, Mistral, Qwen2, Qwen3 or Gemma: a folder, a .gguf file, smollm2 (deno task models), or an id of
                          the Hugging Face hub
  --unpack                unpacks a GGUF file's blocks to float32, which adapters of DoRA and HiRA need
${packingHelp(26)}
  --cache f32|f16         how keys and values of earlier tokens are stored (default: f32)
  --adapter DIR           a folder that deno task finetune, saveAdapter or PEFT wrote
  --prompt TEXT           what is gone on from; special tokens that it spells are text (--chat writes the model's own)
  --instruction TEXT      the same with the prompt with which rows of {instruction, input, output} are learnt
  --input TEXT            the instruction's input
  --prompts FILE          a prompt a line, but for empty lines: a continuation a line, each written as a JSON text
  --chat                  the prompts are messages of a user, written as the model's chat template wants them
  --max-tokens N          new tokens at most (default: 128)
  --temperature T         0: the likeliest token (default); above: drawn
  --top-k N               drawn from so many of the likeliest tokens
  --top-p P               drawn from the likeliest tokens before which less than this share lies
  --repetition-penalty P  makes what was there already less likely (default: 1, which does nothing)
  --seed N                decides what is drawn (default: 0)
  --beams N               the best of a beam search, all at once
  --stop TEXT             ends the continuation, which does not have it (repeatable)
  --help                  this text
`;

function readArguments() {
  const { values } = parseArgs({
    options: {
      model: { type: "string" },
      unpack: { type: "boolean", default: false },
      packing: { type: "string" },
      cache: { type: "string", default: "f32" },
      adapter: { type: "string" },
      prompt: { type: "string" },
      instruction: { type: "string" },
      input: { type: "string" },
      prompts: { type: "string" },
      chat: { type: "boolean", default: false },
      "max-tokens": { type: "string", default: "128" },
      temperature: { type: "string" },
      "top-k": { type: "string" },
      "top-p": { type: "string" },
      "repetition-penalty": { type: "string" },
      seed: { type: "string" },
      beams: { type: "string" },
      stop: { type: "string", multiple: true },
      help: { type: "boolean", default: false },
    },
  });
  return values;
}

type Arguments = ReturnType<typeof readArguments>;

function numberOf(values: Arguments, name: keyof Arguments): number | undefined {
  const text = values[name] as string | undefined;
  return text === undefined ? undefined : numberIn(name, text);
}

/** Throws a UsageError for options of which one would do nothing beside the other. */
function checkTogether(values: Arguments): void {
  const drawing = (["top-k", "top-p", "seed"] as const).find((name) => values[name] !== undefined);
  if (drawing && !(numberOf(values, "temperature")! > 0)) {
    throw new UsageError(`--${drawing} is for tokens that are drawn: give a --temperature above 0 with it`);
  }
  if (values.beams !== undefined && numberOf(values, "temperature")) {
    throw new UsageError(
      "--beams searches for the likeliest text, and draws nothing: leave --temperature out",
    );
  }
  const isTalk = [values.prompt, values.instruction, values.prompts].every((given) => given === undefined);
  if (values.beams !== undefined && isTalk) {
    throw new UsageError(
      "--beams gives a text all at once, and a conversation comes as it is written: give a --prompt",
    );
  }
  if (values.beams !== undefined && values.stop !== undefined) {
    throw new UsageError("--beams does not look for stop strings: leave --stop out");
  }
}

/** The one prompt that is asked about, if it is one. Throws a UsageError for options that are not for each other. */
function onePrompt({ prompt, prompts, instruction, input, chat }: Arguments): string | undefined {
  if ([prompt, prompts, instruction].filter((given) => given !== undefined).length > 1) {
    throw new UsageError("give --prompt, --instruction or --prompts, not two of them");
  }
  if (instruction === undefined && input !== undefined) {
    throw new UsageError("--input is an instruction's: give an --instruction with it");
  }
  if (instruction === undefined) return prompt;
  if (chat) throw new UsageError("--instruction has a prompt of its own: leave --chat out");
  return instructionPrompt({ instruction, input });
}

/** How texts are written. Throws a UsageError for what is not allowed: here, where no model has been loaded yet. */
function optionsOf(values: Arguments): WriteOptions {
  checkTogether(values);
  const { stop = [] } = values;
  const sampling: SamplingOptions = {
    temperature: numberOf(values, "temperature"),
    topK: numberOf(values, "top-k"),
    topP: numberOf(values, "top-p"),
    repetitionPenalty: numberOf(values, "repetition-penalty"),
    seed: numberOf(values, "seed"),
  };
  asUsage(() => checkSampling(sampling));
  asUsage(() => stopScanner(stop));
  return { maxTokens: countIn("max-tokens", values["max-tokens"], 1), stop, ...sampling };
}

/** Throws a UsageError where a chat is asked for, or a conversation, and the model has no template for one. */
function checkChat({ name, language }: Decoder, { chat, prompts }: Arguments, prompt?: string): void {
  if (language.templates) return;
  if (chat) throw new UsageError(`${name} has no chat template: leave --chat out`);
  if (prompt === undefined && prompts === undefined) {
    throw new UsageError(`${name} has no chat template: give a --prompt`);
  }
}

/** Says which special tokens the prompts spell. */
function tellSpecial({ language }: Decoder, prompts: readonly string[], say: (line: string) => void): void {
  const spelled = language.tokenizer.specialTokens.filter((token) =>
    prompts.some((prompt) => prompt.includes(token))
  );
  if (spelled.length === 0) return;
  say(
    `special tokens that a prompt spells are text there: ${
      spelled.join(", ")
    }; --chat writes the model's own`,
  );
}

/** The prompts of a file, with the numbers of their lines. */
function linesOf(file: string): { readonly text: string; readonly number: number }[] {
  return file.split(/\r?\n/).map((text, i) => ({ text, number: i + 1 })).filter(({ text }) => text !== "");
}

/** Throws an Error that names a prompt which is too long, before any is gone on from. */
function checkFits(
  { maxTokens: most }: Writer,
  { length }: readonly number[],
  { maxTokens }: WriteOptions,
  where: string,
): void {
  if (length + maxTokens <= most) return;
  throw new Error(
    `${where} has ${length} tokens, and ${maxTokens} new ones are wanted: the model reads ${most} in all`,
  );
}

/** Prompts of a file that are gone on from together. */
const atOnce = 8;

const output = new TextEncoder();

/** The exit code that shells give a program that wrote to one that has ended, such as `head`. */
const brokenPipe = 141;

async function print(text: string): Promise<void> {
  const bytes = output.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(brokenPipe);
    throw error;
  }
}

async function writeOne(
  writer: Writer,
  prompt: Prompt,
  options: WriteOptions,
  beams?: number,
) {
  if (beams !== undefined) {
    return await print(`${(await writer.beams(prompt, { ...options, beams }))[0].text}\n`);
  }
  await printed(writer.stream(prompt, options));
}

/** Prints a text as it comes. */
async function printed(pieces: AsyncGenerator<string, Written>): Promise<Written> {
  while (true) {
    const { value, done } = await pieces.next();
    await print(done ? "\n" : value);
    if (done) return value;
  }
}

/** Talks until the input ends, or the conversation is as long as the model reads. */
async function converse(writer: Writer, options: WriteOptions): Promise<void> {
  const messages: ChatMessage[] = [];
  // Its own prompt fails once the input has ended, which lines that are still to be answered do not know.
  const ask = () => Deno.stderr.writeSync(output.encode("> "));
  ask();
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim() !== "") {
      messages.push({ role: "user", content: line });
      const ids = await writer.idsOfChat(messages);
      const room = writer.maxTokens - ids.length;
      const fitting = { ...options, maxTokens: Math.min(options.maxTokens, room) };
      const answer = room > 0 ? await printed(writer.stream(ids, fitting)) : undefined;
      if (!answer || answer.ids.length === room) {
        return console.error(
          `The conversation has filled the ${writer.maxTokens} tokens that the model reads: begin anew.`,
        );
      }
      messages.push({ role: "assistant", content: answer.text });
    }
    ask();
  }
}

async function main(): Promise<void> {
  const values = asUsage(readArguments);
  if (values.help) return console.log(help);
  if (values.model === undefined) throw new UsageError("--model is missing; see --help");
  const prompt = onePrompt(values);
  const options = optionsOf(values);
  const beams = values.beams === undefined ? undefined : countIn("beams", values.beams, 1);
  const packing = packingOf(values.packing);
  const cache = cacheOf(values.cache);
  const model = await loadDecoder(values.model, { unpack: values.unpack, packing });
  checkChat(model, values, prompt);
  const report = (line: string) => console.error(printable(line));
  const saved = values.adapter === undefined ? {} : await loadAdapter(values.adapter, model, methods, report);
  using gpu = await openGpu();
  using writer = new Writer({ gpu, model, cache, ...saved });
  const promptOf = async (text: string): Promise<Prompt> =>
    values.chat ? await writer.idsOfChat([{ role: "user", content: text }]) : text;
  if (prompt !== undefined) {
    tellSpecial(model, [prompt], report);
    return await writeOne(writer, await promptOf(prompt), options, beams);
  }
  if (values.prompts === undefined) return await converse(writer, options);
  const lines = linesOf(await readText(values.prompts, 2 ** 30));
  tellSpecial(model, lines.map(({ text }) => text), report);
  const all: (readonly number[])[] = [];
  for (const { text, number } of lines) {
    const ids = writer.idsOf(await promptOf(text));
    checkFits(writer, ids, options, `${values.prompts} line ${number}`);
    all.push(ids);
  }
  for (let at = 0; at < all.length; at += atOnce) {
    const prompts = all.slice(at, at + atOnce);
    const written = [];
    if (beams === undefined) written.push(...await writer.write(prompts, { ...options, firstRow: at }));
    else for (const prompt of prompts) written.push((await writer.beams(prompt, { ...options, beams }))[0]);
    for (const { text } of written) await print(`${JSON.stringify(text)}\n`);
  }
}

await runCommand(main);
