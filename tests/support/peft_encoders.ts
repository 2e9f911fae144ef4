/** Tiny BERT and RoBERTa that transformers has too, their weights drawn from their names, and adapters on them for PEFT to read. */

import { type Adapter, attach, type AttachOptions } from "../../lib/adapters/attach.ts";
import type { DoraOptions } from "../../lib/adapters/dora.ts";
import type { SavedAdapter } from "../../lib/adapters/peft.ts";
import { methodByName } from "../../lib/adapters/registry.ts";
import { startingWeights } from "../../lib/adapters/starting_weights.ts";
import { streamOf, uniform } from "../../lib/graph/random.ts";
import { loadEncoder } from "../../lib/models/load_encoder.ts";
import type { Model, Weight } from "../../lib/models/model.ts";
import { classification } from "../../lib/objectives/classification.ts";
import { seeded, writeCheckpoint } from "./seeded_checkpoint.ts";

const common = {
  hidden_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 24,
  hidden_act: "gelu",
  vocab_size: 20,
  max_position_embeddings: 18,
};

/** `config.json` by family; peft_encoders.py reads them from the folders. */
const configs: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bert: { ...common, model_type: "bert", type_vocab_size: 2, layer_norm_eps: 1e-12, pad_token_id: 0 },
  roberta: { ...common, model_type: "roberta", type_vocab_size: 1, layer_norm_eps: 1e-5, pad_token_id: 1 },
};

/** Token ids of the texts, by family: those of peft_encoders.py. */
export const texts: Readonly<Record<string, readonly (readonly number[])[]>> = {
  bert: [[2, 5, 6, 3], [2, 7, 19, 9, 10, 5, 3], [2, 3]],
  roberta: [[0, 5, 6, 2], [0, 7, 19, 9, 10, 5, 2], [0, 2]],
};

/** Single texts, three classes. */
export const objective = (model: Model) => classification.of(model, { texts: 1, classes: 3 });

/** Both encoders, their checkpoints written under `folder`. */
export async function tinyEncoders(folder: string): Promise<Map<string, Model>> {
  const encoders = new Map<string, Model>();
  for (const [family, config] of Object.entries(configs)) {
    await writeCheckpoint(`${folder}/${family}`, config);
    encoders.set(family, await loadEncoder(`${folder}/${family}`));
  }
  return encoders;
}

/** The head's tensors, as peft_encoders.py draws them for its base. */
export function seededHead(model: Model): Map<string, Weight> {
  return new Map(
    [...objective(model).parameters].map(([name, { shape }]) => [name, { shape, data: seeded(name, shape) }]),
  );
}

/** Adapters whose folders PEFT must load: family, method, options, and whether a head is among the weights. */
const adapters: Readonly<
  Record<string, [family: string, method: string, options: AttachOptions<DoraOptions>, head: boolean]>
> = {
  "BERT, all linear": ["bert", "LoRA", { target: "all-linear" }, true],
  "BERT, dense, pooler saved": ["bert", "LoRA", { target: ["dense"], modulesToSave: ["pooler"] }, true],
  "BERT, names that lie in each other": [
    "bert",
    "LoRA",
    { target: ["query"], modulesToSave: ["pooler", "pooler.dense", "attention.output"] },
    true,
  ],
  "BERT, DoRA with rsLoRA": ["bert", "DoRA", { target: ["query", "pooler.dense"], useRslora: true }, true],
  "RoBERTa, dense": ["roberta", "LoRA", { target: ["query", "dense"] }, true],
  "RoBERTa, dense without a head": ["roberta", "LoRA", { target: ["query", "dense"] }, false],
  "RoBERTa, the head's names": [
    "roberta",
    "LoRA",
    { target: ["value"], modulesToSave: ["classifier", "score", "out_proj", "attention.output.LayerNorm"] },
    true,
  ],
  "RoBERTa, a name of head and trunk": [
    "roberta",
    "LoRA",
    { target: ["value"], modulesToSave: ["dense"] },
    true,
  ],
};

/** Every reference adapter, none of its tensors left where it starts. */
export function referenceAdapters(
  encoders: ReadonlyMap<string, Model>,
): Map<string, SavedAdapter & { readonly family: string }> {
  return new Map(
    Object.entries(adapters).map(([name, [family, method, options, hasHead]]) => {
      const model = encoders.get(family)!;
      const adapter: Adapter = attach(
        model,
        methodByName(method),
        { r: 2, alpha: 6, ...options } as AttachOptions<DoraOptions>,
      );
      const start = [...startingWeights(model, adapter, 0), ...hasHead ? seededHead(model) : []];
      const weights = start.map(([tensor, { shape, data }]): [string, Weight] => {
        const drawn = uniform(5, streamOf(`${name} ${tensor}`), data.length, 0.3);
        return [tensor, { shape, data: data.map((value, i) => value + drawn[i]) }];
      });
      return [name, { family, adapter, weights: new Map(weights) }];
    }),
  );
}
