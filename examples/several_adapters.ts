/**
 * Several adapters on one model: one says which team a message is for, the other how urgent it is. The model's weights
 * are on the GPU once, and an adapter adds a few thousandths to them.
 *
 *     deno run --allow-all examples/several_adapters.ts
 */

import {
  AdaptedModel,
  attach,
  bora,
  encodeExamples,
  fineTune,
  loadOwnTask,
  loadUseLite,
  lora,
  objectiveOf,
  openGpu,
  saveAdapter,
} from "../mod.ts";

using gpu = await openGpu();
const model = await loadUseLite();

// The same messages with two columns of labels are two tasks. Methods and options may differ from adapter to adapter.
const file = { train: `${import.meta.dirname}/tickets.csv`, text: "message", maxTokens: 32 };
const target = ["query", "value"];
const lessons = {
  team: {
    task: await loadOwnTask({ ...file, label: "team" }),
    adapter: attach(model, bora, { r: 4, blocks: 8, target }),
  },
  urgency: {
    task: await loadOwnTask({ ...file, label: "urgency" }),
    adapter: attach(model, lora, { r: 8, target }),
  },
};
for (const [name, { task, adapter }] of Object.entries(lessons)) {
  const options = { learningRate: 1e-2, epochs: 3, batchSize: 16, seed: 0 };
  const { trained, last } = await fineTune({ gpu, model, adapter, task, ...options });
  console.log(`${name}: accuracy ${last.accuracy.toFixed(2)} on the rows held out`);
  await saveAdapter(`adapters/${name}`, model, adapter, trained, task);
}

const messages = [
  "The van drove past my house and my parcel is in it.",
  "Stop that payment immediately, I am being robbed!",
  "Which mail address is my login?",
  "Unlock my account right now, the exam starts in a minute!",
];

using adapted = new AdaptedModel(gpu, model);
for (const name of Object.keys(lessons)) await adapted.load(name, `adapters/${name}`);

/** What the active adapter and its head make of the messages: the scores of every class, and the likeliest class. */
async function answers({ task }: typeof lessons.team) {
  const examples = messages.map((text) => ({ id: text, texts: [text], label: 0 })); // any label: it is not read
  const objective = objectiveOf(model, task, examples[0]);
  const scores = await adapted.predict(objective, encodeExamples(model, task, examples));
  return { scores, labels: scores.map((row) => task.labels[objective.decide(row)]) };
}

adapted.setActive("team");
const team = await answers(lessons.team);
adapted.setActive("urgency");
const urgency = await answers(lessons.urgency);
messages.forEach((message, i) => console.log(`"${message}" → ${team.labels[i]}, ${urgency.labels[i]}`));

/** The largest difference between two sets of scores. */
function distance(one: readonly Float32Array[], other: readonly Float32Array[]): number {
  return Math.max(...one.flatMap((row, i) => [...row.map((score, j) => Math.abs(score - other[i][j]))]));
}

// Merged, an adapter costs no time over the model alone. The sums are rounded at other places, so the scores differ by that.
await adapted.merge();
const merged = await answers(lessons.urgency);
console.log(`merged, the scores differ by ${distance(merged.scores, urgency.scores)}`);

// Merging has made copies of the adapted weights: without them, and with the first adapter, every bit is as before.
adapted.unmerge();
adapted.setActive("team");
const again = await answers(lessons.team);
console.log(`unmerged and switched back, by ${distance(again.scores, team.scores)}`);
