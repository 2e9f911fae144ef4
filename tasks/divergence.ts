/** What a command says when a run diverges. */

import { DivergedError } from "../lib/train/adamw.ts";

/** `train`'s result; to the message of a run that diverges, `kept` adds what is left of it. */
export async function sayingWhatIsKept<T>(train: () => Promise<T>, kept: () => string): Promise<T> {
  try {
    return await train();
  } catch (error) {
    if (!(error instanceof DivergedError)) throw error;
    throw new DivergedError(`${error.message} ${kept()}`, { cause: error });
  }
}
