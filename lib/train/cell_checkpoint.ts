/** Checkpoints of a `fineTune` run: the trainer's checkpoint, with the scores so far in its notes. */

import { digestOf } from "../digest.ts";
import { isFile, isFolder, makeParents } from "../files.ts";
import { checkOptionNames } from "../option_names.ts";
import { readNotes } from "./checkpoint.ts";
import type { EpochScores } from "./fine_tune.ts";
import type { Trainer } from "./trainer.ts";

/** Where and how often a run is checkpointed, so that it can be resumed. */
export interface Checkpointing {
  /**
   * The checkpoint file. If it exists, the run resumes from it. The folder that it lies in is made if it does
   * not exist. It stays after the last epoch; the caller removes it.
   */
  readonly path: string;
  /** Steps between checkpoints. Each epoch's evaluation also ends with one. */
  readonly every: number;
  /** The caller's name for this run. A run with another name does not resume from this checkpoint. */
  readonly cell: string;
}

/** Throws an Error that names what is wrong with where or how often to checkpoint. */
export function checkCheckpointing(options: Checkpointing): void {
  checkOptionNames("checkpointing", options, ["path", "every", "cell"]);
  for (const [name, text] of Object.entries({ path: options.path, cell: options.cell })) {
    if (typeof text === "string" && text !== "") continue;
    throw new Error(`checkpointing.${name} is ${text === "" ? "empty" : text}: give it a text`);
  }
  if (!Number.isSafeInteger(options.every) || options.every < 1) {
    throw new Error(`checkpointing.every is ${options.every}: use a whole number of steps from 1`);
  }
}

/** What the checkpoint holds besides the trainer's state. */
export interface SavedRun {
  /** The finished epochs. */
  readonly epochs: readonly EpochScores[];
  /** Seconds that the steps so far took. */
  readonly trainSeconds: number;
}

/** Identifies the run that a checkpoint belongs to. */
interface CellNotes extends Record<string, string> {
  readonly cell: string;
  /** A digest of the dev examples. */
  readonly dev: string;
  /** A digest of how they are scored: the scores of finished epochs are not computed again. */
  readonly scoring: string;
  readonly keep: string;
}

/** The checkpoint of a run in progress. */
export class CellCheckpoint {
  private constructor(
    private readonly trainer: Trainer,
    private readonly options: Checkpointing,
    private readonly own: CellNotes,
    /** What the file held, if it existed. */
    readonly saved: SavedRun | undefined,
  ) {}

  /**
   * Restores the trainer from the checkpoint, if there is one. `dev` are the examples that the run is
   * evaluated on, `scoring` is what their scores follow from, and `keep` says which epoch's weights it returns.
   * @throws Error when the file is damaged or of another run, which stays as it is, and when the path is a folder's.
   */
  static async open(
    trainer: Trainer,
    options: Checkpointing,
    dev: unknown,
    scoring: unknown,
    keep: string,
  ): Promise<CellCheckpoint> {
    const { path } = options;
    // Not at the first save, which may be hours away.
    await makeParents(path);
    if (await isFolder(path)) {
      throw new Error(
        `${path} is a folder, and the checkpoint is a file: name one in it, such as ${path}/checkpoint`,
      );
    }
    const own = { cell: options.cell, dev: await digestOf(dev), scoring: await digestOf(scoring), keep };
    return new CellCheckpoint(trainer, options, own, await savedRun(trainer, path, own));
  }

  /** Saves after every `every`-th step. */
  async saveIfDue(step: number, run: SavedRun): Promise<void> {
    if (step % this.options.every === 0) await this.save(run);
  }

  /** Rewrites the file, atomically. */
  async save(run: SavedRun): Promise<void> {
    await this.trainer.checkpoint(this.options.path, { ...this.own, run: textOf(run) });
  }
}

/** The run as JSON; a perplexity may be infinite, which JSON would write as null. */
function textOf(run: SavedRun): string {
  return JSON.stringify(run, (_, value) => value === Infinity ? "Infinity" : value);
}

function runIn(text: string): SavedRun {
  return JSON.parse(text, (_, value) => value === "Infinity" ? Infinity : value);
}

async function savedRun(trainer: Trainer, path: string, own: CellNotes): Promise<SavedRun | undefined> {
  if (!await isFile(path)) return undefined;
  return await withAdvice(async () => {
    const notes = await trainer.resume(path);
    const { cell, dev, scoring, keep } = own;
    if (notes.cell !== cell) throw new Error(`${path} is of another run: of ${notes.cell}, not ${cell}`);
    if (notes.dev !== dev) throw new Error(`${path} is of another run: its dev examples are others`);
    if (notes.scoring !== scoring) {
      throw new Error(
        `${path} is of another run: its task's metrics, or the right answers on dev, are others`,
      );
    }
    if (notes.keep !== keep) {
      throw new Error(
        `${path} is of another run: it keeps the ${notes.keep} epoch's weights, not the ${keep}'s`,
      );
    }
    return runIn(notes.run);
  });
}

/**
 * The name of the run that a checkpoint of `fineTune` belongs to. Throws an Error when the file is damaged or
 * is not a checkpoint.
 */
export async function checkpointedCell(path: string): Promise<string> {
  return (await withAdvice(() => readNotes(path))).cell;
}

/** Seconds that the steps up to a checkpoint of `fineTune` took. Throws as `checkpointedCell` does. */
export async function checkpointedSeconds(path: string): Promise<number> {
  return runIn((await withAdvice(() => readNotes(path))).run).trainSeconds;
}

/** Runs `read`, and adds advice to the error if it throws. */
async function withAdvice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const advice = "Go on with the run that wrote this checkpoint, or remove the file to start anew.";
    throw new Error(`${(error as Error).message}. ${advice}`, { cause: error });
  }
}
