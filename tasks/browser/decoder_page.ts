/**
 * The decoder's page of `deno task browser`: a form with examples and a prompt, the answer before and after the training, and a loss
 * curve that grows meanwhile.
 */

/// <reference lib="dom" />

import { adapterFiles } from "../../lib/adapters/peft.ts";
import { methods } from "../../lib/adapters/registry.ts";
import { FilesInMemory } from "../../lib/files_in_memory.ts";
import { Writer } from "../../lib/generate/writer.ts";
import { type Gpu, openGpu } from "../../lib/gpu/device.ts";
import { loadDecoder } from "../../lib/models/load_decoder.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { FrozenWeights } from "../../lib/run/frozen_weights.ts";
import { notesText } from "../row_notes.ts";
import { decoderTarget } from "../targets.ts";
import { learn, type Learnt, type Lesson, makeLesson } from "./lesson.ts";
import { LossCurve } from "./loss_curve.ts";
import { busily, Card, counted, element, fail, say } from "./page_parts.ts";

/** A model that the server has: its id, and its files' paths there. */
export interface ServedModel {
  readonly id: string;
  readonly files: readonly string[];
}

const form = element<HTMLFormElement>("form");
const input = (name: string) => form.elements.namedItem(name) as HTMLInputElement;
const select = (name: string) => form.elements.namedItem(name) as HTMLSelectElement;

/** The result of the last training, for the tests. */
export let learnt: Learnt | undefined;

/** A model on the GPU, with the adapter that was last trained on it. */
class Pupil implements Disposable {
  readonly #owned: DisposableStack;
  readonly #bare: Writer;
  readonly frozen: FrozenWeights;
  /** Writes with the adapter. */
  #adapted: Writer | undefined;

  constructor(readonly gpu: Gpu, readonly model: Decoder, files: FilesInMemory) {
    using owned = new DisposableStack();
    owned.use(files);
    this.frozen = owned.use(FrozenWeights.forTraining(gpu, model));
    this.#bare = owned.use(new Writer({ gpu, model, frozen: this.frozen }));
    this.#owned = owned.move();
  }

  /** What has been learnt writes from now on. */
  adapt({ adapter }: Lesson, { trained }: Learnt): void {
    this.#adapted?.[Symbol.dispose]();
    const { gpu, model, frozen } = this;
    this.#adapted = new Writer({ gpu, model, frozen, adapter, weights: trained });
  }

  /** Shows the continuation of the form's prompt as it comes: without the adapter, or with it if there is one. */
  async write(where: "before" | "after"): Promise<void> {
    const writer = where === "before" ? this.#bare : this.#adapted;
    const place = element(where);
    place.textContent = writer ? "" : "–";
    if (!writer) return;
    say(`Writing ${where} the training.`);
    const [prompt, maxTokens] = [input("prompt").value, Number(input("newTokens").value)];
    for await (const piece of writer.stream(prompt, { maxTokens })) {
      place.append(piece);
      // Lets the browser show it.
      await new Promise((done) => setTimeout(done));
    }
  }

  [Symbol.dispose](): void {
    this.#adapted?.[Symbol.dispose]();
    this.#owned.dispose();
  }
}

/** The models to choose from, and the one that is loaded. */
class Models {
  readonly #served = new Map<string, ServedModel>();
  /** What the user picked, by what the list calls it. */
  readonly #picked = new Map<string, readonly File[]>();
  #loaded: { readonly name: string; readonly pupil: Pupil } | undefined;

  constructor(private readonly gpu: Gpu) {}

  /** Fills the list with what the server has, and with what the user picks. */
  async offer(): Promise<void> {
    for (const model of await (await fetch("/models.json")).json() as ServedModel[]) {
      this.#served.set(model.id, model);
      select("model").add(new Option(model.id));
    }
    input("files").addEventListener("change", () => this.#pick([...input("files").files ?? []]));
  }

  #pick(files: readonly File[]): void {
    if (files.length === 0) return;
    const name = files.find(({ name }) => /\.(gguf|safetensors)$/.test(name))?.name ?? files[0].name;
    if (!this.#picked.has(name)) select("model").add(new Option(name));
    this.#picked.set(name, files);
    select("model").value = name;
    // The files of this name may be others.
    if (this.#loaded?.name === name) this.#forget();
  }

  /** The chosen model on the GPU. Throws what reading and uploading it throw. */
  async chosen(): Promise<Pupil> {
    const name = select("model").value;
    if (this.#loaded?.name === name) return this.#loaded.pupil;
    this.#forget();
    say(`Loading ${name}.`);
    using files = new DisposableStack();
    const held = files.use(new FilesInMemory(name, await this.#filesOf(name)));
    const model = await loadDecoder(held.path);
    const pupil = new Pupil(this.gpu, model, held);
    files.move();
    this.#loaded = { name, pupil };
    element("footer").textContent = `Adapter: ${this.gpu.adapter.name}. Decoder: ${name} (${
      decoderTarget.join(", ")
    } adapted).`;
    return pupil;
  }

  #forget(): void {
    this.#loaded?.pupil[Symbol.dispose]();
    this.#loaded = undefined;
    for (const id of ["before", "after"]) element(id).textContent = "–";
    element("downloads").hidden = true;
  }

  async #filesOf(name: string): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
    const picked = this.#picked.get(name)?.map((file) => [file.name, file] as const);
    const served = this.#served.get(name)?.files.map((path) =>
      [path.split("/").at(-1)!, fetch(path)] as const
    );
    const files = picked ?? served;
    if (!files) throw new Error("choose a model, or files of one");
    return Object.fromEntries(
      await Promise.all(
        files.map(async ([name, file]) => [name, new Uint8Array(await (await file).arrayBuffer())] as const),
      ),
    );
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
  const number = (name: string) => Number(input(name).value);
  const lesson = await makeLesson(model, {
    examples: input("examples").value,
    method: select("method").value,
    maxTokens: number("maxTokens"),
    learningRate: number("learningRate"),
    batchSize: number("batchSize"),
    epochs: number("epochs"),
  });
  element("notes").textContent = notesText(lesson.notes, "examples").join("\n");
  return lesson;
}

async function train(pupil: Pupil, card: Card, curve: LossCurve): Promise<void> {
  say("Reading the examples.");
  const lesson = await lessonOf(pupil.model);
  const { adapter, steps, method } = lesson;
  card.clear(method);
  card.show("trainable", counted(adapter.trainableParameters));
  curve.clear(steps);
  await pupil.write("before");
  const started = performance.now();
  learnt = await learn(pupil.gpu, pupil.frozen, lesson, {
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
  pupil.adapt(lesson, learnt);
  await pupil.write("after");
  offerDownloads(lesson, learnt);
  say(`Done: ${steps} steps on ${lesson.encoded.length} examples, in ${seconds} s.`, 1);
}

/** The methods whose adapters can be saved. */
function offerMethods(): void {
  for (const { name } of methods.filter(({ peft }) => peft)) select("method").add(new Option(name));
  select("method").value = "BoRA";
}

async function main(): Promise<void> {
  offerMethods();
  const card = new Card(select("method").value, "var(--bora)", ["trainable", "loss", "tokens/s", "step"]);
  const curve = new LossCurve(element("chart"), ["loss"], ["var(--bora)"]);
  const gpu = await openGpu();
  const models = new Models(gpu);
  await models.offer();
  element("footer").textContent = `Adapter: ${gpu.adapter.name}.`;
  say("Ready.");
  form.querySelectorAll("button").forEach((button) => button.disabled = false);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wants = (event.submitter as HTMLButtonElement | null)?.name;
    void busily(async () => {
      const pupil = await models.chosen();
      if (wants !== "write") return await train(pupil, card, curve);
      await pupil.write("before");
      await pupil.write("after");
      say("Done.", 1);
    });
  });
}

main().catch(fail);
