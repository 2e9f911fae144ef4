/**
 * Your own chats on a decoder: SmolLM2 learns what an inn answers its guests, from a dozen conversations. Before and
 * after, it is asked something that is not among them.
 *
 *     deno task models smollm2
 *     deno run --allow-all examples/own_chats.ts            # or with another model: a folder, a .gguf file, an id of the hub
 */

import {
  attach,
  bora,
  fineTune,
  loadAdapter,
  loadDecoder,
  loadLanguageTask,
  openGpu,
  saveAdapter,
  Writer,
} from "../mod.ts";

using gpu = await openGpu();
const model = await loadDecoder(Deno.args[0] ?? "smollm2");

/** The answer to one message, in the form of the model's own chat template. */
async function answerOf(writer: Writer, question: string): Promise<string> {
  const prompt = await writer.idsOfChat([{ role: "user", content: question }]);
  const [{ text }] = await writer.write([prompt], { maxTokens: 24 });
  return text;
}

const questions = ["When does the place open?", "Do you take dogs?"];
{
  // A writer owns the model's weights on the GPU: it is gone before the training, which brings its own.
  using writer = new Writer({ gpu, model });
  for (const question of questions) console.log(`before: ${question} → ${await answerOf(writer, question)}`);
}

// Rows of {"messages": […]}, of which what the assistant says is learnt. Without a `dev` file a tenth is held out.
const task = await loadLanguageTask({ train: `${import.meta.dirname}/chats.jsonl`, maxTokens: 128 });
const target = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"];
const adapter = attach(model, bora, { r: 8, blocks: 16, target });
const { trained } = await fineTune({
  ...{ gpu, model, adapter, task },
  ...{ learningRate: 6e-3, epochs: 2, batchSize: 2, seed: 0 },
  onScores: ({ epoch, trainLoss, metrics: { perplexity } }) =>
    console.log(
      `epoch ${epoch + 1}: loss ${trainLoss.toFixed(3)}, perplexity ${
        perplexity.toFixed(2)
      } on what is held out`,
    ),
});

// A folder in PEFT's layout. `deno task generate` talks with it; `deno task export` makes a plain LoRA of it, for PEFT or
// llama.cpp.
await saveAdapter("inn-adapter", model, adapter, trained);

// From here on as another program would, later.
using writer = new Writer({ gpu, model, ...await loadAdapter("inn-adapter", model) });
for (const question of questions) console.log(`after: ${question} → ${await answerOf(writer, question)}`);
