/** The error message when training diverges. */

import { DivergedError } from "../lib/train/adamw.ts";

/** Runs `train`. If training diverges, `kept` adds to the message what was saved. */
export async function sayingWhatIsKept<T>(train: () => Promise<T>, kept: () => string): Promise<T> {
  try {
    return await train();
  } catch (error) {
    if (!(error instanceof DivergedError)) throw error;
    throw new DivergedError(`${error.message} ${kept()}`, { cause: error });
  }
}
