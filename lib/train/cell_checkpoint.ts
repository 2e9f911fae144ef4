/** The checkpoint of one cell of `fineTune`: the trainer's, with what has been scored so far in its notes. */

import { digestOf } from "../digest.ts";
import { isFile } from "../files.ts";
import { readNotes } from "./checkpoint.ts";
import type { EpochScores } from "./fine_tune.ts";
import type { Trainer } from "./trainer.ts";

/** Where a cell is saved as it goes, so that it can be gone on with. */
export interface Checkpointing {
  /** The file: gone on from where it exists, and left behind after the last epoch, for the caller to remove. */
  readonly path: string;
  /** Steps from one checkpoint to the next; each epoch's evaluation is followed by one as well. */
  readonly every: number;
  /** What the caller calls this cell; no other one goes on from its checkpoint. */
  readonly cell: string;
}

/** What a cell's checkpoint holds beside the trainer's state. */
export interface SavedRun {
  /** The finished epochs. */
  readonly epochs: readonly EpochScores[];
  /** What the steps so far took. */
  readonly trainSeconds: number;
}

/** What tells a cell's checkpoints from other cells'. */
interface CellNotes extends Record<string, string> {
  readonly cell: string;
  /** A digest of the dev examples. */
  readonly dev: string;
  readonly keep: string;
}

/** A cell's checkpoint while it is trained. */
export class CellCheckpoint {
  private constructor(
    private readonly trainer: Trainer,
    private readonly options: Checkpointing,
    private readonly own: CellNotes,
    /** What the file held, where there was one. */
    readonly saved: SavedRun | undefined,
  ) {}

  /**
   * Takes the trainer to the checkpoint, where there is one; `dev` is what the cell is evaluated on, and `keep` which epoch's weights
   * it gives.
   * @throws Error when the file is damaged or of another run; it is left as it is.
   */
  static async open(
    trainer: Trainer,
    options: Checkpointing,
    dev: unknown,
    keep: string,
  ): Promise<CellCheckpoint> {
    const own = { cell: options.cell, dev: await digestOf(dev), keep };
    return new CellCheckpoint(trainer, options, own, await savedRun(trainer, options.path, own));
  }

  /** Saves after every `every`-th step. */
  async saveIfDue(step: number, run: SavedRun): Promise<void> {
    if (step % this.options.every === 0) await this.save(run);
  }

  /** Writes the file anew, whole or not at all. */
  async save(run: SavedRun): Promise<void> {
    await this.trainer.checkpoint(this.options.path, { ...this.own, run: JSON.stringify(run) });
  }
}

async function savedRun(trainer: Trainer, path: string, own: CellNotes): Promise<SavedRun | undefined> {
  if (!await isFile(path)) return undefined;
  return await withAdvice(async () => {
    const notes = await trainer.resume(path);
    const { cell, dev, keep } = own;
    if (notes.cell !== cell) throw new Error(`${path} is of another run: of ${notes.cell}, not ${cell}`);
    if (notes.dev !== dev) throw new Error(`${path} is of another run: its dev examples are others`);
    if (notes.keep !== keep) {
      throw new Error(
        `${path} is of another run: it keeps the ${notes.keep} epoch's weights, not the ${keep}'s`,
      );
    }
    return JSON.parse(notes.run) as SavedRun;
  });
}

/** Which cell a checkpoint that `fineTune` wrote is of. Throws an Error when the file is damaged or no checkpoint. */
export async function checkpointedCell(path: string): Promise<string> {
  return (await withAdvice(() => readNotes(path))).cell;
}

/** What `read` reads of a checkpoint; to what it throws, what can be done about it is added. */
async function withAdvice<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const advice = "Go on with the run that wrote this checkpoint, or remove the file to start anew.";
    throw new Error(`${(error as Error).message}. ${advice}`, { cause: error });
  }
}
