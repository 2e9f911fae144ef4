/**
 * Expressiveness without the noise of fine-tuning: each method fitted to one update ΔW* by gradient descent on
 * ‖ΔW − ΔW*‖²_F. ΔW* is what full fine-tuning made of a weight, and a random full-rank matrix of the same norm. The limit
 * is the truncated SVD of the same number of parameters.
 */

import { attachSystem, type System } from "../../lib/adapters/systems.ts";
import { spectrumOf, svdOptimum } from "../../lib/analysis/spectrum.ts";
import { interpretedUpdates } from "../../lib/analysis/updates.ts";
import { taskByName } from "../../lib/data/registry.ts";
import { writeWhole } from "../../lib/files.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import { scatterChart } from "../../lib/report/chart.ts";
import { originText, table } from "../../lib/report/markdown.ts";
import { fineTune } from "../../lib/train/fine_tune.ts";
import { fitUpdate } from "../../lib/train/fit_update.ts";
import type { Run } from "../run_cell.ts";
import { suiteBatchSize, suiteWarmupRatio } from "../training.ts";
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

/** One fit: the best of the learning rates. */
interface Fit {
  readonly goal: string;
  readonly label: string;
  readonly parameters: number;
  readonly learningRate: number;
  readonly relativeError: number;
  readonly seconds: number;
}

interface Goal {
  readonly name: string;
  readonly slug: string;
  readonly values: Float64Array;
}

/** What full fine-tuning makes of the layer, and a random matrix of the same norm. */
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
  const { trained } = await fineTune(gpu, model, frozen, adapter, task, split, options);
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

/** One goal's table and chart. */
async function writeGoal(goal: Goal, fits: readonly Fit[], out: string): Promise<string> {
  const { singularValues, effectiveRank } = spectrumOf(goal.values, size, size);
  const optimum = (parameters: number) => svdOptimum(singularValues, size, size, parameters).error;
  const rows = fits.toSorted((a, b) => a.relativeError - b.relativeError).map((fit) => [
    fit.label,
    fit.parameters.toLocaleString("en-US"),
    fit.relativeError.toFixed(4),
    optimum(fit.parameters).toFixed(4),
    String(fit.learningRate),
  ]);
  const file = `approximation-${goal.slug}.svg`;
  const curve = Array.from({ length: 64 }, (_, i) => (i + 1) * 2 * size)
    .map((parameters) => ({ x: parameters, y: optimum(parameters) }));
  const points = fits.map((fit) => ({
    x: fit.parameters,
    y: fit.relativeError,
    series: fit.label.replace(/ (r|\d+×).*/, ""),
  }));
  const axes = { x: "trainable parameters", y: "relative error ‖ΔW − ΔW*‖² / ‖ΔW*‖²", series: "method" };
  await writeWhole(`${out}/${file}`, await scatterChart(`Fitting ${goal.name}`, axes, points, curve));
  const norm = Math.sqrt(goal.values.reduce((sum, value) => sum + value * value, 0));
  return `## ${goal.name}

‖ΔW*‖_F = ${norm.toPrecision(3)}; ${effectiveRank} singular values above 0.005.

${table(["method", "parameters", "relative error", "SVD of as many parameters", "learning rate"], rows)}

![relative error against parameters, and the SVD optimum](${file})
`;
}

/** BoRA against LoRA and GraLoRA where their numbers of parameters are nearest. */
function findingOf(goals: readonly Goal[], fits: readonly Fit[]): string {
  return goals.map(({ name }) => {
    const error = (label: string) =>
      fits.find((fit) => fit.goal === name && fit.label === label)!.relativeError.toFixed(4);
    return `on ${name} BoRA r 8 b 16 (6,144 parameters) leaves ${error("BoRA r 8 b 16")}, LoRA r 8 (4,096) ${
      error("LoRA r 8")
    } and LoRA r 16 (8,192) ${error("LoRA r 16")}, GraLoRA r 8 b 8 (4,096) ${error("GraLoRA r 8 b 8")}`;
  }).join("; ");
}

export const approximationStudy: Study = {
  name: "approximation",
  title: "Fitting one update: expressiveness by parameters",
  profiles: ["smoke", "default", "full"],
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
    const { environment, profileName } = run;
    const parts = [];
    for (const goal of goals) {
      parts.push(await writeGoal(goal, fits.filter((fit) => fit.goal === goal.name), out));
    }
    const minutes = fits.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
    const page = `# ${this.title}

Each method is fitted to ΔW* of ${layer} (${size}×${size}) by ${steps} AdamW steps on ‖ΔW − ΔW*‖²_F from its own fresh start,
linear decay, best of the learning rates ${
      learningRates.join(", ")
    }; relative error is of squares. ΔW* comes from full
fine-tuning USE-lite on ${examples} examples of supersense (2 epochs, learning rate 0.001), and from a random matrix.

Profile \`${profileName}\`. ${originText(environment)} The ${fits.length} fits took ${
      minutes.toFixed(0)
    } minutes.

**The paper:** blocks raise the rank of ΔW from r to b·r for b²r parameters more, so BoRA expresses more than LoRA of its size.

**Here:** ${findingOf(goals, fits)}.

${parts.join("\n")}`;
    const records = { schemaVersion: 1, table: this.name, profile: profileName, environment, steps, fits };
    await writeWhole(`${out}/approximation.json`, `${JSON.stringify(records, null, 1)}\n`);
    await writeWhole(`${out}/approximation.md`, page);
    console.log(`\n${page}\nWrote ${out}/approximation.md, .json and .svg`);
  },
};
