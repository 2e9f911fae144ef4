/**
 * Beam search as transformers 5 has it: in each step the likeliest continuations of all beams, of which those that end are set
 * aside; the score of a text is Σ log p / (number of new tokens)^lengthPenalty, its end token counted.
 */

/** Options of a beam search. */
export interface BeamOptions {
  /** Texts that are followed at a time, from 1. */
  readonly beams: number;
  /** 1 by default, the mean; 0 is the plain sum, which favours short texts. */
  readonly lengthPenalty?: number;
}

/** A text that was found. */
export interface Found {
  /** The new ids, the end token among them if it ended. */
  readonly ids: readonly number[];
  readonly score: number;
}

interface Running {
  readonly ids: readonly number[];
  /** Σ log p. */
  readonly sum: number;
}

/** The search for the continuations of one prompt. */
export class BeamSearch {
  #running: Running[];
  #finished: Found[] = [];
  #done = false;

  constructor(
    private readonly options: BeamOptions,
    private readonly ends: ReadonlySet<number>,
    private readonly most: number,
  ) {
    // All beams begin alike: only the first counts.
    this.#running = Array.from({ length: options.beams }, (_, i) => ({ ids: [], sum: i === 0 ? 0 : -1e9 }));
  }

  /** Whether nothing better can be found, or all texts are as long as they may be. */
  get done(): boolean {
    return this.#done;
  }

  /** The new ids of each beam. */
  get running(): readonly (readonly number[])[] {
    return this.#running.map(({ ids }) => ids);
  }

  /**
   * Takes the logarithms of probability of each beam's next token.
   * @returns for each beam the one that it goes on from, and its new token.
   */
  step(logProbabilities: readonly Float64Array[]): { readonly from: number; readonly token: number }[] {
    const { beams, lengthPenalty = 1 } = this.options;
    const candidates = bestCandidates(
      this.#running.map(({ sum }) => sum),
      logProbabilities,
      Math.max(2, 1 + this.ends.size) * beams,
    );
    const length = this.#running[0].ids.length + 1;
    const isLast = length === this.most;
    const goes: { from: number; token: number; sum: number }[] = [];
    candidates.forEach((candidate, rank) => {
      const { from, token, sum } = candidate;
      const ended = this.ends.has(token) || isLast;
      if (!ended) return void goes.push(candidate);
      // One that ends counts only if it is among the best.
      if (rank < beams) {
        this.#finished.push({
          ids: [...this.#running[from].ids, token],
          score: sum / length ** lengthPenalty,
        });
      }
    });
    this.#finished = this.#finished.toSorted((a, b) => b.score - a.score).slice(0, beams);
    const next = goes.slice(0, beams);
    if (isLast || next.length < beams) {
      this.#done = true;
      return this.#running.map((_, from) => ({ from, token: 0 }));
    }
    this.#running = next.map(({ from, token, sum }) => ({ ids: [...this.#running[from].ids, token], sum }));
    const best = next[0].sum / length ** lengthPenalty;
    this.#done = this.#finished.length === beams && best <= this.#finished.at(-1)!.score;
    return next;
  }

  /** The best texts, best first. */
  get found(): readonly Found[] {
    return this.#finished;
  }
}

/** The highest sums of a beam's and a token's logarithms, highest first; of equal ones, that of the first beam and token. */
function bestCandidates(sums: readonly number[], logProbabilities: readonly Float64Array[], most: number) {
  let found: { from: number; token: number; sum: number }[] = [];
  let least = -Infinity;
  logProbabilities.forEach((own, from) => {
    own.forEach((value, token) => {
      const sum = sums[from] + value;
      if (found.length >= most && sum <= least) return;
      found.push({ from, token, sum });
      if (found.length < 4 * most) return;
      found = found.toSorted((a, b) => b.sum - a.sum).slice(0, most);
      least = found.at(-1)!.sum;
    });
  });
  return found.toSorted((a, b) => b.sum - a.sum).slice(0, most);
}

/** log softmax of the logits of `tokenLogits`, in float64. */
export function logProbabilitiesOf(logits: Float32Array): Float64Array {
  const values = Float64Array.from(logits);
  const top = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const total = Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0));
  return values.map((value) => value - top - total);
}
