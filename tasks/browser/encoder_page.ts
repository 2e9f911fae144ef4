/**
 * The page of `deno task browser`: a form, a card per method, and loss curves that grow while both methods
 * train.
 */

/// <reference lib="dom" />

import { taskByName } from "../../lib/data/registry.ts";
import { type Gpu, openGpu } from "../../lib/gpu/device.ts";
import type { Model } from "../../lib/models/model.ts";
import { loadUseLite } from "../../lib/models/use_lite.ts";
import { defaultTarget } from "../targets.ts";
import { LossCurve } from "./loss_curve.ts";
import { busily, Card, counted, element, fail, say } from "./page_parts.ts";
import {
  adaptersOf,
  contestants,
  type Course,
  type Finish,
  makeCourse,
  trainSideBySide,
} from "./side_by_side.ts";

/** The tasks to choose from: sentences and glosses, which are short. */
const taskNames = ["sentiment", "supersense"];

/** The most held-out examples to score after training; otherwise as many as are trained on. */
const mostDev = 200;

const figures = ["trainable", "loss", "tokens/s", "dev accuracy"];
const colours = ["var(--lora)", "var(--bora)"];
const packages = new URL("/npm/", location.href);

const form = element<HTMLFormElement>("form");

/** The result of the last training, for the tests. */
export let finishes: readonly Finish[] = [];

/** The course that the form describes. */
async function courseOf(model: Model): Promise<Course> {
  const data = new FormData(form);
  const number = (name: string) => Number(data.get(name));
  const task = { ...taskByName(String(data.get("task"))), maxTokens: number("maxTokens") };
  const [train, batchSize, epochs] = ["train", "batchSize", "epochs"].map(number);
  return await makeCourse(model, task, { train, dev: Math.min(train, mostDev), batchSize, epochs }, packages);
}

async function train(gpu: Gpu, model: Model, cards: readonly Card[], curve: LossCurve): Promise<void> {
  say("Reading the examples.");
  const course = await courseOf(model);
  cards.forEach((card) => card.clear());
  adaptersOf(course).forEach(({ trainableParameters }, i) =>
    cards[i].show("trainable", counted(trainableParameters))
  );
  const steps = Math.ceil(course.train.length / course.batchSize) * course.epochs;
  curve.clear(steps);
  let started = performance.now();
  finishes = await trainSideBySide(gpu, course, {
    onProgram(done, total) {
      say(`Compiling kernels: ${done} of ${total} programs.`, done / total);
      started = performance.now();
    },
    onStep({ contestant, step, loss, tokensPerSecond }) {
      cards[contestant].show("loss", loss.toFixed(3));
      cards[contestant].show("tokens/s", counted(tokensPerSecond));
      curve.add(contestant, loss);
      say(`Step ${step + 1} of ${steps}.`, (step + 1) / steps);
    },
  });
  finishes.forEach(({ score }, i) => cards[i].show("dev accuracy", `${(100 * score).toFixed(1)} %`));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(`Done: ${steps} steps each, and ${course.dev.length} held-out examples (dev), in ${seconds} s.`, 1);
}

/** Fills the list of tasks and describes the selected one. */
function offerTasks(): void {
  const select = form.querySelector("select")!;
  const describe = () => {
    const { description, source } = taskByName(select.value);
    element("about").textContent = `${description}; ${source}`;
  };
  for (const name of taskNames) select.add(new Option(name));
  select.addEventListener("change", describe);
  describe();
}

async function main(): Promise<void> {
  offerTasks();
  const labels = contestants.map(({ system }) => system.label);
  const cards = labels.map((label, i) => new Card(label, colours[i], figures));
  const curve = new LossCurve(element("chart"), labels, colours);
  say("Loading the encoder: 28 MB of weights.");
  const [gpu, model] = await Promise.all([openGpu(), loadUseLite({ packages })]);
  element("footer").textContent = `Adapter: ${gpu.adapter.name}. Encoder: Universal Sentence Encoder Lite (${
    defaultTarget.join(" and ")
  } adapted).`;
  say("Ready.");
  form.querySelector("button")!.disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void busily(() => train(gpu, model, cards, curve));
  });
}

main().catch(fail);
