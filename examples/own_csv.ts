/**
 * Your own CSV on an encoder: learns which team a customer's message is for, is scored on messages that it has not seen,
 * saves the adapter, loads it again and sorts a new message.
 *
 *     deno run --allow-all examples/own_csv.ts
 */

import {
  AdaptedModel,
  attach,
  bora,
  encodeExamples,
  fineTune,
  loadOwnTask,
  loadUseLite,
  objectiveOf,
  openGpu,
  saveAdapter,
} from "../mod.ts";

using gpu = await openGpu();
// Small, and it comes with the library. For another: await loadEncoder("./roberta-base"), or a Hugging Face model's id.
const model = await loadUseLite();

// A .tsv or .jsonl does as well. Without a `dev` file a tenth of the rows is held out, the same ones every time.
const task = await loadOwnTask({
  train: `${import.meta.dirname}/tickets.csv`,
  text: "message",
  label: "team",
  maxTokens: 32,
});
const split = await task.load();
console.log(`${split.train.length} rows to learn, ${split.dev.length} held out: ${task.labels.join(", ")}`);

// The layers by the names that transformers gives them. The head, from the text's vector to the classes, comes by itself.
const adapter = attach(model, bora, { r: 4, blocks: 8, target: ["query", "value"], dropout: 0.05 });
const { trained, last } = await fineTune({
  ...{ gpu, model, adapter, task, split },
  ...{ learningRate: 1e-2, epochs: 3, batchSize: 16, seed: 0 },
  onScores: ({ epoch, trainLoss, metrics: { accuracy } }) =>
    console.log(`epoch ${epoch + 1}: loss ${trainLoss.toFixed(3)}, accuracy ${accuracy.toFixed(2)}`),
});

// What one gets for always naming the most frequent class: an adapter that does no better has learnt nothing.
const counts = Map.groupBy(split.dev, ({ label }) => label).values().map((rows) => rows.length);
const guessing = Math.max(...counts) / split.dev.length;
console.log(`held out: accuracy ${last.accuracy.toFixed(2)}, by guessing ${guessing.toFixed(2)}`);

// A folder in PEFT's layout. The task tells it what the classes are called.
await saveAdapter("tickets-adapter", model, adapter, trained, task);

// From here on as another program would, later: the base again, the adapter from its folder, a text.
using adapted = new AdaptedModel(gpu, model);
await adapted.load("team", "tickets-adapter");
const message = { id: "new", texts: ["Two weeks, and the box has still not come."], label: 0 }; // any label: it is not read
const objective = objectiveOf(model, task, message);
const [scores] = await adapted.predict(objective, encodeExamples(model, task, [message]));
console.log(`"${message.texts[0]}" → ${task.labels[objective.decide(scores)]}`);
