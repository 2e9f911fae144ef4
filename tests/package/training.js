/**
 * A few steps of BoRA on a tiny encoder and on a tiny decoder, and the same predictions from the saved adapters: with the library
 * given, for Deno, Node and pages. Plain JavaScript for all three.
 */

/** The losses, and predictions before and after `save` (which resolves with the adapter's folder), on the encoder in `folder`. */
export async function trainEncoder(library, gpu, folder, save) {
  const { AdaptedModel, attach, bora, loadEncoder, objectiveOf, Trainer } = library;
  const model = await loadEncoder(folder);
  const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["query", "value"], dropout: 0.1 });
  const task = { objective: "classification", labels: ["no", "yes"] };
  const objective = objectiveOf(model, task, { id: "0", texts: [""], label: 0 });
  const examples = ["a b", "c", "b b a", "c c"].map((text, i) => ({
    texts: [model.tokenizer.encode(text)],
    label: i % 2,
  }));
  const options = { learningRate: 1e-2, epochs: 3, batchSize: 2, warmupRatio: 0, seed: 0 };
  const trainer = new Trainer({ gpu, model, adapter, objective, examples, ...options });
  const records = [];
  for (let epoch = 0; epoch < options.epochs; epoch++) records.push(...await trainer.epoch());
  const before = await trainer.predict(examples);
  const weights = await trainer.weights();
  trainer[Symbol.dispose]();

  const adapted = new AdaptedModel(gpu, model);
  await adapted.load("again", await save(model, adapter, weights, task));
  const after = await adapted.predict(objective, examples);
  adapted[Symbol.dispose]();
  return { losses: records.map(({ loss }) => loss), before: rows(before), after: rows(after) };
}

/** The same of a decoder, which learns the conversations of the file `train` and scores and writes answers. */
export async function trainDecoder(library, gpu, folder, train, save) {
  const { attach, bora, fineTune, loadAdapter, loadDecoder, loadLanguageTask } = library;
  const model = await loadDecoder(folder);
  const adapter = attach(model, bora, { r: 2, blocks: 4, target: ["q_proj", "v_proj"], dropout: 0 });
  const task = await loadLanguageTask({ train, maxTokens: 32 });
  const losses = [];
  const { trained } = await fineTune({
    ...{ gpu, model, adapter, task, learningRate: 1e-2, epochs: 2, batchSize: 4, warmupRatio: 0, seed: 0 },
    onEpoch: (records) => losses.push(...records.map(({ loss }) => loss)),
  });
  const before = await answers(library, { gpu, model, adapter, weights: trained });
  const saved = await loadAdapter(await save(model, adapter, trained, task), model);
  const after = await answers(library, { gpu, model, adapter: saved.adapter, weights: saved.weights });
  return { losses, before, after };
}

async function answers({ Writer }, parts) {
  const writer = new Writer(parts);
  const scores = await writer.score(["a", "b"], ["x", "yz"]);
  const written = await writer.write(["a"], { maxTokens: 4 });
  writer[Symbol.dispose]();
  return { scores, text: written.map(({ text }) => text) };
}

const rows = (values) => values.map((row) => [...row]);
