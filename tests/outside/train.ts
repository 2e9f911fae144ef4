/** Trains the library's own model and method, and those of this folder, and prints what came out of both. */

import { myBora } from "./bora.ts";
import { bounded } from "./bounded.ts";
import { myUseLite } from "./use_lite.ts";
import { type Model, type Objective, objectives } from "http://repository.test/lib/front/models.ts";
import { attach, bora, loadUseLite, openGpu, Trainer } from "http://repository.test/mod.ts";

const texts = ["a small furry animal", "they ran", "not good at all", "a stone"];
using gpu = await openGpu();

async function losses(model: Model, method: typeof myBora, objective: Objective, labels: readonly number[]) {
  const adapter = attach(model, method, { r: 4, blocks: 8, target: ["query", "value"], dropout: 0.05 });
  const examples = texts.map((text, i) => ({ texts: [model.tokenizer.encode(text)], label: labels[i] }));
  const options = { learningRate: 1e-2, epochs: 3, batchSize: 4, seed: 3 };
  using trainer = new Trainer({ gpu, model, adapter, objective, examples, ...options });
  const records = [];
  for (let epoch = 0; epoch < options.epochs; epoch++) records.push(...await trainer.epoch());
  const predictions = await trainer.predict(examples);
  return { losses: records.map(({ loss }) => loss), values: predictions.map((row) => objective.decide(row)) };
}

const ofClasses = (model: Model) => objectives.classification.of(model, { texts: 1, classes: 3 });
const [own, mine] = [await loadUseLite(), await myUseLite()];
console.log(JSON.stringify({
  own: await losses(own, bora, ofClasses(own), [0, 1, 2, 0]),
  outside: await losses(mine, myBora, ofClasses(mine), [0, 1, 2, 0]),
  bounded: await losses(mine, myBora, bounded.of(mine, { texts: 1, classes: 0 }), [0.5, -0.5, 0.9, 0]),
}));
