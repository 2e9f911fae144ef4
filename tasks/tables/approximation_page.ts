/** The fits of the study `approximation`, and their page. */

import * as v from "npm:valibot@1.5.0";
import { svdOptimum } from "../../lib/analysis/spectrum.ts";
import { scatterChart } from "../../lib/report/chart.ts";
import { escapedRecord, originText, table } from "../../lib/report/markdown.ts";
import { definePage } from "../../lib/report/page.ts";
import { environmentSchema } from "../../lib/report/schema.ts";

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());

/** One fit, at the best of the learning rates. */
const fitSchema = v.object({
  /** Name of the goal. */
  goal: v.string(),
  label: v.string(),
  parameters: count,
  learningRate: finite,
  relativeError: finite,
  seconds: finite,
});

/** An update that the methods are fitted to. */
const goalSchema = v.object({
  name: v.string(),
  /** Used in the chart's file name. */
  slug: v.pipe(v.string(), v.regex(/^[a-z-]+$/)),
  singularValues: v.array(finite),
  effectiveRank: count,
  sumOfSquares: finite,
});

const approximationSchema = v.object({
  schemaVersion: v.literal(2),
  table: v.literal("approximation"),
  profile: v.string(),
  environment: environmentSchema,
  /** The updated weight, [size, size]. */
  layer: v.string(),
  size: count,
  steps: count,
  /** Training examples of the full fine-tuning whose update is a goal. */
  examples: count,
  learningRates: v.array(finite),
  goals: v.array(goalSchema),
  fits: v.array(fitSchema),
});

export type Fit = v.InferOutput<typeof fitSchema>;
type Goal = v.InferOutput<typeof goalSchema>;
type Approximation = v.InferOutput<typeof approximationSchema>;

export const title = "Fitting one update: expressiveness by parameters";

const chartEnd = ({ slug }: Goal) => `-${slug}.svg` as const;

/** The relative error of the truncated SVD with at most this many parameters. */
function optimumOf(goal: Goal, size: number) {
  const singularValues = Float64Array.from(goal.singularValues);
  return (parameters: number) => svdOptimum(singularValues, size, size, parameters).error;
}

const fitsTo = ({ fits }: Approximation, goal: Goal) => fits.filter((fit) => fit.goal === goal.name);

function goalSection(record: Approximation, goal: Goal): string {
  const optimum = optimumOf(goal, record.size);
  const rows = fitsTo(record, goal).toSorted((a, b) => a.relativeError - b.relativeError).map((fit) => [
    fit.label,
    fit.parameters.toLocaleString("en-US"),
    fit.relativeError.toFixed(4),
    optimum(fit.parameters).toFixed(4),
    String(fit.learningRate),
  ]);
  return `## ${goal.name}

‖ΔW*‖_F = ${Math.sqrt(goal.sumOfSquares).toPrecision(3)}; ${goal.effectiveRank} singular values above 0.005.

${table(["method", "parameters", "relative error", "SVD of as many parameters", "learning rate"], rows)}

![relative error against parameters, and the SVD optimum](approximation${chartEnd(goal)})
`;
}

function chartOf(record: Approximation, goal: Goal): Promise<string> {
  const optimum = optimumOf(goal, record.size);
  const curve = Array.from({ length: 64 }, (_, i) => (i + 1) * 2 * record.size)
    .map((parameters) => ({ x: parameters, y: optimum(parameters) }));
  const points = fitsTo(record, goal).map((fit) => ({
    x: fit.parameters,
    y: fit.relativeError,
    series: fit.label.replace(/ (r|\d+×).*/, ""),
  }));
  const axes = { x: "trainable parameters", y: "relative error ‖ΔW − ΔW*‖² / ‖ΔW*‖²", series: "method" };
  return scatterChart(`Fitting ${goal.name}`, axes, points, curve);
}

/** Compares BoRA with LoRA and GraLoRA at their closest numbers of parameters. */
function findingOf(record: Approximation): string {
  return record.goals.map((goal) => {
    const fits = fitsTo(record, goal);
    const left = (label: string) => fits.find((fit) => fit.label === label)?.relativeError.toFixed(4) ?? "–";
    return `on ${goal.name} BoRA r 8 b 16 (6,144 parameters) leaves ${
      left("BoRA r 8 b 16")
    }, LoRA r 8 (4,096) ${left("LoRA r 8")} and LoRA r 16 (8,192) ${
      left("LoRA r 16")
    }, GraLoRA r 8 b 8 (4,096) ${left("GraLoRA r 8 b 8")}`;
  }).join("; ");
}

function markdownOf(record: Approximation): string {
  const { layer, size, steps, examples, learningRates, profile, environment, goals, fits } = record;
  const minutes = fits.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  return `# ${title}

Each method is fitted to ΔW* of ${layer} (${size}×${size}) by ${steps} AdamW steps on ‖ΔW − ΔW*‖²_F from its own fresh start,
linear decay, best of the learning rates ${
    learningRates.join(", ")
  }; relative error is of squares. ΔW* comes from full
fine-tuning USE-lite on ${examples} examples of supersense (2 epochs, learning rate 0.001), and from a random matrix.

Profile \`${profile}\`. ${originText(environment)} The ${fits.length} fits took ${minutes.toFixed(0)} minutes.

**The paper:** blocks raise the rank of ΔW from r to b·r for b²r parameters more, so BoRA expresses more than LoRA of its size.

**Here:** ${findingOf(record)}.

${goals.map((goal) => goalSection(record, goal)).join("\n")}`;
}

export const approximationPage = definePage("approximation", approximationSchema, async (record) => ({
  ".md": markdownOf(escapedRecord(record)),
  ...Object.fromEntries(
    await Promise.all(
      record.goals.map(async (goal) => [chartEnd(goal), await chartOf(record, goal)] as const),
    ),
  ),
}));
