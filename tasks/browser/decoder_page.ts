/**
 * The decoder's page of `deno task browser`: a form with examples and a prompt, the answer before and after the training, and a loss
 * curve that grows meanwhile.
 */

/// <reference lib="dom" />

import { adapterFiles } from "../../lib/adapters/peft.ts";
import { methods } from "../../lib/adapters/registry.ts";
import { type Gpu, openGpu } from "../../lib/gpu/device.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { notesText } from "../../lib/models/row_notes.ts";
import { decoderTarget } from "../targets.ts";
import { type Learnt, type Lesson, makeLesson } from "./lesson.ts";
import { LossCurve } from "./loss_curve.ts";
import { ModelChoice, type Reading } from "./model_choice.ts";
import { busily, Card, counted, element, fail, say } from "./page_parts.ts";
import { Pupil } from "./pupil.ts";

const form = element<HTMLFormElement>("form");
const field = <E extends Element = HTMLInputElement>(name: string) =>
  form.elements.namedItem(name) as Element as E;
const numberOf = (name: string) => Number(field(name).value);

/** The result of the last training, for the tests. */
export let learnt: Learnt | undefined;

/** The model that is on the GPU, and what has read it. */
let loaded: { readonly read: Reading; readonly pupil: Pupil } | undefined;

/** The chosen model on the GPU. Throws what reading and uploading it throw. */
async function chosenPupil(gpu: Gpu, choice: ModelChoice): Promise<Pupil> {
  const { name, read } = choice.chosen;
  if (loaded?.read === read) return loaded.pupil;
  loaded?.pupil[Symbol.dispose]();
  loaded = undefined;
  element("before").textContent = "–";
  clearLearnt();
  say(`Loading ${name}.`);
  const pupil = await Pupil.of(gpu, name, await read());
  loaded = { read, pupil };
  element("footer").textContent = `Adapter: ${gpu.adapter.name}. Decoder: ${name} (${
    decoderTarget.join(", ")
  } adapted).`;
  return pupil;
}

/** Takes away what the last training has left. */
function clearLearnt(): void {
  element("after").textContent = "–";
  element("downloads").hidden = true;
}

/** Shows how the model goes on from the form's prompt, piece by piece. */
async function write(pupil: Pupil, when: "before" | "after"): Promise<void> {
  const writer = pupil.writer(when);
  const place = element(when);
  place.textContent = writer ? "" : "–";
  if (!writer) return;
  say(`Writing ${when} the training.`);
  for await (const piece of writer.stream(field("prompt").value, { maxTokens: numberOf("newTokens") })) {
    place.append(piece);
    // Lets the browser show it.
    await new Promise((done) => setTimeout(done));
  }
}

/** Offers the adapter's files for download. */
function offerDownloads({ model, adapter }: Lesson, { trained }: Learnt): void {
  const place = element("links");
  for (const old of place.querySelectorAll("a")) URL.revokeObjectURL(old.href);
  const links = Object.entries(adapterFiles(model, adapter, trained)).map(([name, content]) => {
    const link = document.createElement("a");
    link.download = link.textContent = name;
    link.href = URL.createObjectURL(new Blob([content]));
    return link;
  });
  place.replaceChildren(...links.flatMap((link) => [link, " "]));
  element("downloads").hidden = false;
}

/** The lesson that the form describes. */
async function lessonOf(model: Decoder): Promise<Lesson> {
  const lesson = await makeLesson(model, {
    examples: field("examples").value,
    method: field("method").value,
    maxTokens: numberOf("maxTokens"),
    learningRate: numberOf("learningRate"),
    batchSize: numberOf("batchSize"),
    epochs: numberOf("epochs"),
  });
  element("notes").textContent = notesText(lesson.notes, "examples").join("\n");
  return lesson;
}

async function train(pupil: Pupil, card: Card, curve: LossCurve): Promise<void> {
  say("Reading the examples.");
  const lesson = await lessonOf(pupil.model);
  const { adapter, steps, method } = lesson;
  clearLearnt();
  card.clear(method);
  card.show("trainable", counted(adapter.trainableParameters));
  curve.clear(steps);
  await write(pupil, "before");
  const started = performance.now();
  learnt = await pupil.learn(lesson, {
    onProgram: (done, total) => say(`Compiling kernels: ${done} of ${total} programs.`, done / total),
    onStep({ step, loss, tokensPerSecond }) {
      card.show("loss", loss.toFixed(3));
      card.show("tokens/s", counted(tokensPerSecond));
      card.show("step", `${step + 1} of ${steps}`);
      curve.add(0, loss);
      say(`Step ${step + 1} of ${steps}.`, (step + 1) / steps);
    },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  await write(pupil, "after");
  offerDownloads(lesson, learnt);
  say(`Done: ${steps} steps on ${lesson.encoded.length} examples, in ${seconds} s.`, 1);
}

/** Lists the methods whose adapters can be saved. */
function offerMethods(list: HTMLSelectElement): void {
  for (const { name } of methods.filter(({ peft }) => peft)) list.add(new Option(name));
  list.value = "BoRA";
}

async function main(): Promise<void> {
  offerMethods(field<HTMLSelectElement>("method"));
  const card = new Card(field("method").value, "var(--bora)", ["trainable", "loss", "tokens/s", "step"]);
  const curve = new LossCurve(element("chart"), ["loss"], ["var(--bora)"]);
  const choice = new ModelChoice(field<HTMLSelectElement>("model"), field("files"));
  await choice.offerServed();
  const gpu = await openGpu();
  element("footer").textContent = `Adapter: ${gpu.adapter.name}.`;
  say("Ready.");
  form.querySelectorAll("button").forEach((button) => button.disabled = false);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wantsTraining = (event.submitter as HTMLButtonElement | null)?.name !== "write";
    void busily(async () => {
      const pupil = await chosenPupil(gpu, choice);
      if (wantsTraining) return await train(pupil, card, curve);
      await write(pupil, "before");
      await write(pupil, "after");
      say("Done.", 1);
    });
  });
}

main().catch(fail);
