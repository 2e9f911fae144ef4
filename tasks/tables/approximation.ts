/**
 * Expressiveness without the noise of fine-tuning: each method is fitted to one update ΔW* by gradient
 * descent on ‖ΔW − ΔW*‖²_F. ΔW* is the update of a weight in full fine-tuning, or a random full-rank matrix
 * of the same norm. The limit is the truncated SVD with the same number of parameters.
 */

import { attachSystem, type System } from "../../lib/adapters/systems.ts";
import { spectrumOf } from "../../lib/analysis/spectrum.ts";
import { interpretedUpdates } from "../../lib/analysis/updates.ts";
import { taskByName } from "../../lib/data/registry.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import { fineTune } from "../../lib/train/fine_tune.ts";
import { fitUpdate } from "../../lib/train/fit_update.ts";
import type { Run } from "../run_cell.ts";
import { suiteBatchSize, suiteWarmupRatio } from "../training.ts";
import { approximationPage, type Fit, title } from "./approximation_page.ts";
import type { Study } from "./table.ts";

const layer = "layer.0.attention.query";
const size = 256;
const learningRates = [3e-3, 1e-2, 3e-2, 1e-1];

const lowRank = (method: string, r: number, more: System["options"] = {}): System => ({
  label: `${method} r ${r}${more.blocks ? ` b ${more.blocks}` : ""}`,
  method,
  options: { r, alpha: 2 * r, ...more },
});

const systems: readonly System[] = [
  ...[2, 4, 8, 16, 32].map((r) => lowRank("LoRA", r)),
  ...[2, 4, 8, 16].map((r) => lowRank("BoRA", r, { blocks: 16 })),
  ...[2, 4, 8].map((blocks) => lowRank("BoRA", 8, { blocks })),
  ...[4, 8, 16].map((r) => lowRank("MELoRA", r, { blocks: 16 })),
  ...[2, 4, 8].map((blocks) => lowRank("GraLoRA", 8, { blocks })),
  lowRank("GraLoRA", 16, { blocks: 4 }),
  lowRank("GraLoRA", 32, { blocks: 4 }),
  lowRank("DoRA", 8),
  lowRank("DoRA + BoRA", 8, { blocks: 16 }),
  lowRank("BoRA banded Σ", 8, { blocks: 16 }),
  lowRank("BoRA dense Σ", 4, { blocks: 8 }),
  ...[8, 32].map((r): System => ({ label: `HiRA r ${r}`, method: "HiRA", options: { r } })),
  ...[16, 8, 4].map((factor): System => ({
    label: `KronA ${factor}×${factor}`,
    method: "KronA",
    options: { r: 8, alpha: 16, factor },
  })),
  { label: "VeRA r 256", method: "VeRA", options: { r: 256 } },
  { label: "RandLoRA r 32", method: "RandLoRA", options: { r: 32, alpha: 640 } },
];

interface Goal {
  readonly name: string;
  readonly slug: string;
  readonly values: Float64Array;
}

/** Full fine-tuning's update of the layer, and a random matrix of the same norm. */
async function goalsOf(run: Run, examples: number): Promise<Goal[]> {
  const { gpu, model, frozen } = run;
  const task = taskByName("supersense");
  const { train, dev } = await task.load();
  const split = { train: train.slice(0, examples), dev: dev.slice(0, suiteBatchSize) };
  const full: System = { label: "full", method: "Full fine-tuning", options: {} };
  const adapter = attachSystem(model, full, { target: [layer] }, 0);
  const options = {
    learningRate: 1e-3,
    epochs: 2,
    batchSize: suiteBatchSize,
    warmupRatio: suiteWarmupRatio,
    seed: 0,
  };
  const { trained } = await fineTune({ gpu, model, frozen, adapter, task, split, ...options });
  const learnt = interpretedUpdates(model, adapter, trained).get(layer)!.values;
  const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const random = Float64Array.from(uniform(0, streamOf("approximation"), size * size, 1));
  const scale = norm(learnt) / norm(random);
  return [
    { name: "full fine-tuning's update", slug: "fine-tuned", values: learnt },
    { name: "a random full-rank matrix", slug: "random", values: random.map((value) => scale * value) },
  ];
}

async function fitBest(run: Run, goal: Goal, system: System, steps: number): Promise<Fit> {
  const adapter = attachSystem(run.model, system, { target: [layer] }, 0);
  const start = performance.now();
  const fits = [];
  for (const learningRate of learningRates) {
    const relativeError = await fitUpdate(run.gpu, run.model, adapter, goal.values, {
      learningRate,
      steps,
      seed: 0,
    });
    fits.push({ learningRate, relativeError });
  }
  const best = fits.reduce((a, b) => b.relativeError < a.relativeError ? b : a);
  const seconds = (performance.now() - start) / 1000;
  return { goal: goal.name, label: system.label, parameters: adapter.trainableParameters, ...best, seconds };
}

export const approximationStudy: Study = {
  name: approximationPage.name,
  title,
  profiles: ["smoke", "default", "full"],
  page: approximationPage,
  async run(run, out) {
    const [steps, examples] = { smoke: [20, 64], default: [300, 320], full: [2000, 4000] }[run.profileName]!;
    const goals = await goalsOf(run, examples);
    const fits: Fit[] = [];
    for (const goal of goals) {
      for (const system of systems) {
        fits.push(await fitBest(run, goal, system, steps));
        console.log(`${goal.slug}, ${system.label}: ${fits.at(-1)!.relativeError.toFixed(4)}`);
      }
    }
    const page = await approximationPage.write(out, {
      schemaVersion: 2,
      table: "approximation",
      profile: run.profileName,
      environment: run.environment,
      layer,
      size,
      steps,
      examples,
      learningRates,
      goals: goals.map(({ name, slug, values }) => {
        const { singularValues, effectiveRank, sumOfSquares } = spectrumOf(values, size, size);
        return { name, slug, singularValues: [...singularValues], effectiveRank, sumOfSquares };
      }),
      fits,
    });
    console.log(`\n${page}\nWrote ${out}/approximation.md, .json and .svg`);
  },
};
