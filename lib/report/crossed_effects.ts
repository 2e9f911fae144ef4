/**
 * The mean of differences between two systems by seed and example, and how sure it is of both.
 *
 * The model is that of crossed random effects, d_es = μ + a_e + b_s + r_es: μ is the difference on all examples of
 * the task's kind and over all seeds. Of E examples and S seeds, the two-way analysis of variance has the mean
 * squares (Searle, Casella and McCulloch 1992)
 *
 *     MS_e = S Σ_e (d_e· − d)² / (E − 1)                      with the expectation σ_r² + S σ_a²
 *     MS_s = E Σ_s (d_·s − d)² / (S − 1)                      with the expectation σ_r² + E σ_b²
 *     MS_r = Σ (d_es − d_e· − d_·s + d)² / ((E − 1)(S − 1))   with the expectation σ_r²
 *
 * The variance of the mean is estimated by V = (MS_e + max(0, MS_s − MS_r)) / (E S), with degrees of freedom after
 * Satterthwaite (1946), V² / Σ (MS / (E S))² / its degrees. With one seed MS_e is all there is: the paired t-test
 * over examples, which knows nothing of seeds. If examples did not differ, it would be the one over seeds.
 *
 * From three seeds on the 95 % interval covers μ about as often as it says, whichever part is the larger; with two
 * it is too narrow where seeds differ by far more than examples do. The paired t-test over seeds is not used,
 * because it does not know that all seeds are scored on the same examples: the more seeds, the more it is too
 * sure. Nor is the bootstrap over seeds and examples (Owen 2007), which counts σ_r² three times.
 */

import type { Estimate } from "./statistics.ts";

/** An estimated mean difference, with its error's parts: √(`exampleError`² + `seedError`²) = `error`. */
export interface CrossedEstimate extends Estimate {
  readonly examples: number;
  readonly seeds: number;
  /** What other examples would change, with these seeds. */
  readonly exampleError: number;
  /** What other seeds would change. Undefined for one seed: `error` lacks this part. */
  readonly seedError: number | undefined;
}

/**
 * The mean of the differences, one list of equally many examples for each seed. `leastError` is the least that the
 * error can be.
 * @throws Error for fewer than two examples.
 */
export function crossedEstimate(
  differences: readonly (readonly number[])[],
  leastError: number,
): CrossedEstimate {
  const [seeds, examples] = [differences.length, differences[0].length];
  if (examples < 2) throw new Error(`${examples} examples say nothing of how examples differ`);
  const { center, terms } = meanSquares(differences);
  // In units of V from here on.
  const [ofExamples, ofSeeds, ofRest] = terms.map(({ square }) => square / (examples * seeds));
  const excess = Math.max(0, ofSeeds - ofRest);
  const variance = Math.max(ofExamples + excess, leastError ** 2);
  const spread = terms.reduce(
    (sum, { square, degrees }) => degrees === 0 ? sum : sum + (square / (examples * seeds)) ** 2 / degrees,
    0,
  );
  return {
    mean: center,
    error: Math.sqrt(variance),
    degrees: variance ** 2 / spread,
    examples,
    seeds,
    exampleError: Math.sqrt(variance - excess),
    seedError: seeds === 1 ? undefined : Math.sqrt(excess),
  };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const sumOfSquares = (values: readonly number[], center: number) =>
  values.reduce((sum, value) => sum + (value - center) ** 2, 0);

/** The mean, and the mean squares of examples, seeds and the rest with their degrees of freedom; 0 for none. */
function meanSquares(differences: readonly (readonly number[])[]) {
  const [seeds, examples] = [differences.length, differences[0].length];
  const seedMeans = differences.map(mean);
  const center = mean(seedMeans);
  const exampleMeans = new Array<number>(examples).fill(0);
  for (const own of differences) own.forEach((value, e) => exampleMeans[e] += value / seeds);
  const rest = differences.map((own, s) =>
    own.reduce((sum, value, e) => sum + (value - exampleMeans[e] - seedMeans[s] + center) ** 2, 0)
  ).reduce((sum, value) => sum + value, 0);
  const term = (sum: number, degrees: number) => ({ square: degrees === 0 ? 0 : sum / degrees, degrees });
  const terms = [
    term(seeds * sumOfSquares(exampleMeans, center), examples - 1),
    term(examples * sumOfSquares(seedMeans, center), seeds - 1),
    term(rest, (examples - 1) * (seeds - 1)),
  ];
  return { center, terms };
}
