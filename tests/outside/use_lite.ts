/** USE-lite's graph as someone else would write it, on the weights that the library reads. */

import {
  attention,
  embedding,
  layerNorm,
  linear,
  type Tensor,
} from "http://repository.test/lib/front/graph.ts";
import {
  comparedPairs,
  type LinearModule,
  type Model,
  plainHead,
  type Tokens,
  type Tracer,
} from "http://repository.test/lib/front/models.ts";
import { loadUseLite } from "http://repository.test/mod.ts";

const widths = [{ input: 256, output: 512 }, { input: 512, output: 512 }];
const [heads, inner] = [4, 1536];

const linears: LinearModule[] = widths.flatMap(({ input, output }, i) => [
  { path: `layer.${i}.attention.query`, target: "query", role: "query", m: input, n: input },
  { path: `layer.${i}.attention.key`, target: "key", role: "key", m: input, n: input },
  { path: `layer.${i}.attention.value`, target: "value", role: "value", m: input, n: input },
  { path: `layer.${i}.attention.output`, target: "output", role: "attention output", m: output, n: input },
  { path: `layer.${i}.ffn.in`, target: "ffn_in", role: "feed-forward", m: inner, n: output },
  { path: `layer.${i}.ffn.out`, target: "ffn_out", role: "feed-forward", m: output, n: inner },
]);

function layer(tracer: Tracer, i: number, x: Tensor, lengths: Tensor): Tensor {
  const at = (name: string) => `layer.${i}.${name}`;
  const norm = (name: string, of: Tensor) =>
    layerNorm(of, tracer.weight(at(`${name}.weight`)), tracer.weight(at(`${name}.bias`)), 1e-6);
  const normed = norm("attention.norm", x);
  const [q, k, v] = ["query", "key", "value"].map((name) => tracer.linear(at(`attention.${name}`), normed));
  const mixed = attention(q, k, v, lengths, { heads, scale: (widths[i].input / heads) ** -0.5 });
  const narrow = i === 0
    ? tracer.graph.scope(
      at("residual"),
      () =>
        linear(x, tracer.weight(at("residual.weight")), {
          bias: tracer.weight(at("residual.bias")),
        }),
    )
    : x;
  const h = tracer.linear(at("attention.output"), mixed, { residual: narrow });
  const grown = tracer.linear(at("ffn.in"), norm("ffn.norm", h), { activation: "relu" });
  return tracer.linear(at("ffn.out"), grown, { residual: h });
}

/** The model, with everything but its weights and its tokenizer made here. */
export async function myUseLite(): Promise<Model> {
  const { weights, constants, tokenizer } = await loadUseLite();
  return {
    name: "My USE-lite",
    weights,
    constants,
    linears,
    width: 512,
    multiplyAddsPerToken: linears.reduce((sum, { m, n }) => sum + m * n, 256 * 512),
    vocabulary: weights.get("embedding.weight")!.shape[0],
    maxTokens: 512,
    pooling: "mean",
    pooler: "pooler",
    head: plainHead,
    tokenizer,
    pairing: comparedPairs(tokenizer),
    trace(tracer: Tracer, { ids, lengths }: Tokens): Tensor {
      let x = embedding(ids, tracer.weight("embedding.weight"), tracer.constant("positions"), 2);
      for (const i of widths.keys()) {
        x = tracer.graph.scope(`layer.${i}`, () => layer(tracer, i, x, lengths));
      }
      return x;
    },
  };
}
