/**
 * What is compiled of decoders: one layer of a published shape with its tables, packed as people have it. A step of BoRA on query,
 * key and value; a prefill; and a token after it.
 */

import { attach } from "../../lib/adapters/attach.ts";
import { headOnly } from "../../lib/adapters/base_only.ts";
import { bora } from "../../lib/adapters/bora.ts";
import { type ReadingKind, traceReading } from "../../lib/generate/reading.ts";
import { grad } from "../../lib/graph/grad.ts";
import type { Tensor } from "../../lib/graph/graph.ts";
import type { Packing, WritablePacking } from "../../lib/graph/storages/registry.ts";
import type { Decoder } from "../../lib/models/model.ts";
import { publishedDecoder } from "../../lib/models/published_configs.ts";
import { unloadedDecoder } from "../../lib/models/unloaded_decoder.ts";
import { unread, UnreadPacked } from "../../lib/models/unread_weight.ts";
import { language } from "../../lib/objectives/language.ts";
import { traceStep } from "../../lib/run/step.ts";
import { decoderTarget } from "../targets.ts";

/** A shape, and its packings: that of the step and the prefill first, and a token's are all. */
interface Shape {
  readonly name: string;
  readonly id: string;
  readonly packings: readonly [WritablePacking, ...Packing[]];
}

const shapes: readonly Shape[] = [
  {
    name: "LLaMA-3-8B",
    id: "meta-llama/Meta-Llama-3-8B",
    // A token mostly waits for its weights: the usual formats, and one of each way of reading.
    packings: ["int4", "f16", "int8", "q8_0", "q4_0", "q4_k"],
  },
  // As in its file.
  { name: "SmolLM2", id: "smollm2", packings: ["q4_1"] },
];

/** Tokens of a step and of a prefill, and the room for them and those after. */
const [length, capacity] = [256, 512];

/** What the programs are, for the page. */
export const decodersText =
  `the others are one layer of a decoder with its tables, packed as the name says: a step has ${length} tokens and BoRA on query, ` +
  `key and value, a prefill reads ${length} tokens, and a token comes after them`;

/** What a program computes, and what of it is trained. */
export interface Traced {
  readonly program: string;
  readonly outputs: readonly Tensor[];
  readonly trained: readonly Tensor[];
}

/** All programs, shape by shape. */
export function decoderPrograms(): Traced[] {
  return shapes.flatMap(({ name, id, packings }) => {
    const model = decoder(id, packings[0]);
    return [
      { program: `${name} step, ${packings[0]}`, ...tracedStep(model) },
      { program: `${name} prefill, ${packings[0]}`, ...reading(model, "start", length) },
      ...packings.map((packing) => ({
        program: `${name} token, ${packing}`,
        ...reading(decoder(id, packing), "next", 1),
      })),
    ];
  });
}

/** One layer. Blocks that only files have are those of a file that is mostly in them: its tables are in q6_k. */
function decoder(id: string, packing: Packing): Decoder {
  const config = { ...publishedDecoder(id)!, layers: 1 };
  const isWritable = (packing: Packing): packing is WritablePacking => !packing.endsWith("_k");
  if (isWritable(packing)) return unloadedDecoder(id, config, { maxTokens: capacity, packing });
  const weights = {
    dense: (_: string, shape: readonly number[]) => unread(shape),
    packed: (_: string, shape: readonly number[], asked: WritablePacking) =>
      new UnreadPacked(shape, asked === "int4" ? packing : "q6_k"),
  };
  return unloadedDecoder(id, config, { maxTokens: capacity, packing: "int4", weights });
}

function tracedStep(model: Decoder): Omit<Traced, "program"> {
  const adapter = attach(model, bora, { r: 8, alpha: 16, blocks: 16, target: decoderTarget });
  const objective = language.of(model, { texts: 1, classes: 0 });
  const batch = { examples: 1, length, rows: length };
  const { graph, losses, loss } = traceStep(model, adapter, objective, batch, true);
  const trained = graph.nodes.filter(({ source }) => source === "trainable").map(({ outputs }) => outputs[0]);
  return { outputs: [loss, ...grad(losses, trained)], trained };
}

function reading(model: Decoder, kind: ReadingKind, length: number): Omit<Traced, "program"> {
  const bare = attach(model, headOnly, { target: "all-linear" });
  return { outputs: traceReading(model, bare, { kind, length, texts: 1, capacity }), trained: [] };
}
