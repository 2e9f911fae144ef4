/**
 * Finds out what a cell would train and evaluate on: examples from files if there are any, otherwise from
 * published sizes.
 */

import { publishedSize } from "../lib/data/published_sizes.ts";
import type { Example, Task } from "../lib/data/task.ts";
import { isFile, isFolder } from "../lib/files.ts";
import { readEncoderConfig } from "../lib/models/hugging_face_config.ts";
import { loadEncoder } from "../lib/models/load_encoder.ts";
import type { Model } from "../lib/models/model.ts";
import { isFetched, packagedModel } from "../lib/models/packaged_models.ts";
import { publishedEncoder, publishedEncoders } from "../lib/models/published_configs.ts";
import { charactersPerToken, unloadedEncoder } from "../lib/models/unloaded_encoder.ts";
import { loadUseLite } from "../lib/models/use_lite.ts";
import type { Encoded, Objective } from "../lib/objectives/objective.ts";
import { objectiveOf } from "../lib/objectives/registry.ts";
import { encodeExamples } from "../lib/train/fine_tune.ts";
import { sample } from "./planned_cells.ts";
import type { Profile } from "./tables/table.ts";
import { unknownModel } from "./unknown_model.ts";
import { UsageError } from "./usage.ts";

/** An encoder, and how much of it was read. */
export interface KnownEncoder {
  readonly model: Model;
  /** Whether it has its own tokenizer. Otherwise the number of tokens is estimated from characters. */
  readonly tokenizes: boolean;
}

/**
 * The encoder to estimate for: the embedded one, one from a folder (its `config.json` is enough), a packaged one that was
 * fetched, or one with a known configuration by its id. Nothing is downloaded. Throws a UsageError for another name.
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
    return { model: unloadedEncoder(source, await readEncoderConfig(source)), tokenizes: false };
  }
  const packaged = packagedModel(source);
  if (packaged && await isFetched(packaged)) return { model: await loadEncoder(source), tokenizes: true };
  const config = publishedEncoder(source);
  if (!config) throw unknownModel(source, publishedEncoders);
  return { model: unloadedEncoder(source, config), tokenizes: false };
}

/** The encoded examples of one task. */
export interface Workload {
  readonly objective: Objective;
  readonly train: readonly Encoded[];
  /** Every dev set. */
  readonly dev: readonly (readonly Encoded[])[];
}

/** Reads and encodes the profile's examples of `task` from its files. Throws what reading throws. */
export async function readWorkload(model: Model, task: Task, profile: Profile): Promise<Workload> {
  const { train, dev, furtherDev = {} } = await sample(task, profile);
  return {
    objective: objectiveOf(model, task, train[0]),
    train: encodeExamples(model, task, train),
    dev: [dev, ...Object.values(furtherDev)].map((examples) => encodeExamples(model, task, examples)),
  };
}

/**
 * Makes as many examples as `task` is published to have. All have the mean length, except one in train and in
 * each dev set, which has the task's maximum length. Throws an Error if no sizes are published.
 */
export function publishedWorkload(model: Model, task: Task, profile: Profile): Workload {
  const { train, dev, texts, characters } = publishedSize(task.name);
  // Each option is joined with the question.
  const sequences = task.objective === "choice" ? 2 : texts;
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
    objective: objectiveOf(model, task, example(characters)),
    train: examples(train, profile.train),
    dev: dev.map((count) => examples(count, profile.dev)),
  };
}
