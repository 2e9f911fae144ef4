/** Fields by which the `config.json` of other decoders changes what is computed: a model that sets one is none that is read here. */

/** By name, the value at which a field changes nothing; null and no such field change nothing either. */
function neutralValues(headSize: number): Readonly<Record<string, number | boolean | null>> {
  return {
    // Gemma 2 and 3.
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
    query_pre_attn_scalar: headSize,
    use_bidirectional_attention: false,
    // Embedding models made of Qwen2 and Mistral.
    is_causal: true,
    // Granite.
    attention_multiplier: headSize ** -0.5,
    embedding_multiplier: 1,
    residual_multiplier: 1,
    logits_scaling: 1,
    // Cohere and OLMo.
    logit_scale: 1,
    use_qk_norm: false,
    clip_qkv: null,
    // Mixtures of experts.
    num_experts: 0,
    num_local_experts: 0,
  };
}

/** Throws an Error that names the file at `path` and the field of another decoder that `config` sets. */
export function checkOtherDecoders(
  path: string,
  config: Readonly<Record<string, unknown>>,
  headSize: number,
): void {
  for (const [field, neutral] of Object.entries(neutralValues(headSize))) {
    const value = config[field] ?? neutral;
    if (value === neutral) continue;
    throw new Error(
      `${path}: ${field} is ${
        JSON.stringify(value)
      }, which is of other decoders and not computed here: use a model without it`,
    );
  }
}
