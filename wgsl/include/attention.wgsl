// What the attention kernels share: sizes, bindings by PASS, and the position of a token's row.

struct Params {
  length: u32,
  heads: u32,
  kv_heads: u32,
  scale: f32,
#if CAUSAL == 2
  window: u32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS == 1
@group(0) @binding(1) var<storage, read> o: array<vec4f>;
@group(0) @binding(2) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<vec2f>;
#else
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
#end
#if PASS == 0
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;
#end
#if PASS == 2
@group(0) @binding(5) var<storage, read> rows: array<vec2f>;
@group(0) @binding(6) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> d_q: array<vec4f>;
#end
#if PASS == 3
@group(0) @binding(5) var<storage, read> rows: array<vec2f>;
@group(0) @binding(6) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> d_k: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> d_v: array<vec4f>;
#end

// Index of the first vec4 of token `row` of head `head` of `heads`.
fn at(batch: u32, heads: u32, head: u32, row: u32) -> u32 {
  return ((batch * params.length + row) * heads + head) * ${HEAD_DIM / 4}u;
}
