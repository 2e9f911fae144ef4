/** What a cell would train and evaluate on, encoded: from files where there are any, else from published sizes. */

import { publishedSize } from "../lib/data/published_sizes.ts";
import type { Example, Task } from "../lib/data/task.ts";
import { isFile, isFolder } from "../lib/files.ts";
import { readEncoderConfig } from "../lib/models/hugging_face_config.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Encoder } from "../lib/models/model.ts";
import { publishedConfig, publishedIds } from "../lib/models/published_configs.ts";
import { charactersPerToken, unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import type { Encoded } from "../lib/train/batches.ts";
import { encodeExamples, headOf } from "../lib/train/fine_tune.ts";
import type { HeadShape } from "../lib/train/step.ts";
import { sample } from "./cells.ts";
import type { Profile } from "./tables/table.ts";
import { UsageError } from "./usage.ts";

/** An encoder, and how much of it was read. */
export interface KnownEncoder {
  readonly model: Encoder;
  /** Whether it has its own tokenizer; else tokens are reckoned from characters. */
  readonly tokenizes: boolean;
}

/**
 * The encoder to be estimated for: the embedded one, a folder's (its `config.json` is enough), or by its id one of those whose
 * configuration is known. Nothing is downloaded. Throws a UsageError for another name.
 */
export async function knownEncoder(source: string | undefined): Promise<KnownEncoder> {
  if (source === undefined) return { model: await loadUseLite(), tokenizes: true };
  if (await isFolder(source)) {
    const files = await Array.fromAsync(Deno.readDir(source), ({ name }) => name);
    if (files.some((name) => name.endsWith(".safetensors"))) {
      return { model: await loadEncoder(source), tokenizes: true };
    }
    const path = `${source}/config.json`;
    if (!await isFile(path)) throw new UsageError(`${source} has no config.json: give an encoder's folder`);
    return { model: unloadedEncoder(source, await readEncoderConfig(path)), tokenizes: false };
  }
  const config = publishedConfig(source);
  if (!config) {
    throw new UsageError(
      `there is no folder ${source}, and an estimate downloads nothing: give a folder with the model's config.json, or one of ` +
        publishedIds.join(", "),
    );
  }
  return { model: unloadedEncoder(source, config), tokenizes: false };
}

/** Examples of one task as a model gets them. */
export interface Workload {
  readonly head: HeadShape;
  readonly train: readonly Encoded[];
  /** Every dev set. */
  readonly dev: readonly (readonly Encoded[])[];
}

/** The profile's examples of `task`, read from its files and encoded. Throws what reading throws. */
export async function readWorkload(model: Encoder, task: Task, profile: Profile): Promise<Workload> {
  const { train, dev, furtherDev = {} } = await sample(task, profile);
  return {
    head: headOf(task, train[0]),
    train: encodeExamples(model, task, train),
    dev: [dev, ...Object.values(furtherDev)].map((examples) => encodeExamples(model, task, examples)),
  };
}

/**
 * As many examples as are published of `task`, all of the mean length but one, in train and each dev set, that is as long as
 * the task's limit. Throws an Error where no sizes are published.
 */
export function publishedWorkload(model: Encoder, task: Task, profile: Profile): Workload {
  const { train, dev, texts, characters } = publishedSize(task.name);
  // A question is put before each of its options.
  const sequences = task.shape === "choice" ? 2 : texts;
  const example = (characters: number): Example => ({
    id: `${characters} characters`,
    texts: Array<string>(texts).fill("word ".repeat(Math.ceil(characters / sequences / 5))),
    label: 0,
  });
  const [mean, longest] = encodeExamples(
    model,
    task,
    [characters, 2 * sequences * charactersPerToken * task.maxTokens].map(example),
  );
  const examples = (count: number, most: number) =>
    Array.from({ length: Math.min(count, most) }, (_, i) => i === 0 ? longest : mean);
  return {
    head: headOf(task, example(characters)),
    train: examples(train, profile.train),
    dev: dev.map((count) => examples(count, profile.dev)),
  };
}
