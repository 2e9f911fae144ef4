// What the kernels of matrix products share: sizes, bindings, and the epilogue activation(scale · C + bias) +
// residual.
//
// RESIDUAL: 0 none, 1 read from `residual` (laid out as C), 2 added to what C holds.
// BIAS: 0 or 1, one value per column.
// ACTIVATION: 0 none, 1 ReLU, 2 tanh.
// TRANS_C: 1 stores Cᵀ (without bias): element (row, col) of the product goes to col·ld_c + row.
// GELU: 1 stores gelu(C) instead of C; 2 stores C, and gelu(C) in `activated`.
// SLOPE: 0 none, else C is multiplied by an activation's derivative, computed from `slope_at` (laid out as
// C): 1 ReLU's and 2 tanh's from their output, 3 GELU's from its input.
// LOW_RANK: 1 or 2 adds an adapter's product (include/low_rank.wgsl).
// WIDTH: columns of C that store() writes, 4 or 1.
// B's storage (lib/graph/storages) supplies the parts b.enable, b.bindings and b.load: load_b(i) is the i-th
// vec4 of B in row-major order. Without VEC_B, B is f32.

#include "b.enable"

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  m: u32,
  n: u32,
  k: u32,
  blocks: u32,
  ld_a: u32,
  ld_b: u32,
  ld_c: u32,
  stride_a: u32,
  stride_b: u32,
  stride_c: u32,
  stride_bias: u32,
  start_a: u32,
  start_b: u32,
  scale: f32,
#if LOW_RANK
  rank: u32,
  ld_v: u32,
  block_cols: u32,
  low_rank_scale: f32,
#end
}

@group(0) @binding(0) var<uniform> params: Params;
#if VEC_A
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
#else
@group(0) @binding(1) var<storage, read> a: array<f32>;
#end
#if VEC_B
#include "b.bindings"
#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
#end
#if VEC_C
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;
#else
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
#end
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>;
#end
#if RESIDUAL == 1
#if VEC_C
@group(0) @binding(5) var<storage, read> residual: array<vec4f>;
#else
@group(0) @binding(5) var<storage, read> residual: array<f32>;
#end
#end

#if GELU == 2
#if VEC_C
@group(0) @binding(9) var<storage, read_write> activated: array<vec4f>;
#else
@group(0) @binding(9) var<storage, read_write> activated: array<f32>;
#end
#end
#if SLOPE
#if VEC_C
@group(0) @binding(10) var<storage, read> slope_at: array<vec4f>;
#else
@group(0) @binding(10) var<storage, read> slope_at: array<f32>;
#end
#end
#if LOW_RANK
@group(0) @binding(7) var<storage, read> v: array<vec4f>;
@group(0) @binding(8) var<storage, read> low: array<vec4f>;
#end

#if VEC_B
fn load_b(i: u32) -> vec4f {
#include "b.load"
}
#end

#if ACTIVATION
#include "activation.wgsl"
#end

#if GELU || SLOPE == 3
#include "gelu.wgsl"
#end

#if SLOPE
fn times_slope(gradient: Value, at: Value) -> Value {
#if SLOPE == 1
  return select(Value(0.0), gradient, at > Value(0.0));
#end
#if SLOPE == 2
  return gradient * (1.0 - at * at);
#end
#if SLOPE == 3
  return gradient * gelu_slope(at);
#end
}
#end

// The bias of four columns. Kernels load it once for all rows of a tile.
fn bias_of(col: u32, block: u32) -> vec4f {
#if BIAS
  let at = block * params.stride_bias;
  let last = params.n - 1u;
  return vec4f(bias[at + min(col, last)], bias[at + min(col + 1u, last)], bias[at + min(col + 2u, last)], bias[at + min(col + 3u, last)]);
#else
  return vec4f(0.0);
#end
}

fn finish(value: vec4f, bias_here: vec4f) -> vec4f {
  var v = value * params.scale;
#if BIAS
  v += bias_here;
#end
#if ACTIVATION == 1
  v = relu(v);
#end
#if ACTIVATION == 2
  v = safe_tanh(v);
#end
  return v;
}

fn store(value: vec4f, bias_here: vec4f, row: u32, col: u32, block: u32) {
  if (row >= params.m || col >= params.n) {
    return;
  }
  var v = finish(value, bias_here);
#if TRANS_C
  let at = block * params.stride_c + col * params.ld_c + row;
  let step = params.ld_c;
#else
  let at = block * params.stride_c + row * params.ld_c + col;
  let step = 1u;
#end
#if VEC_C
#if RESIDUAL == 1
  v += residual[at / 4u];
#end
#if RESIDUAL == 2
  v += c[at / 4u];
#end
#if GELU == 1
  v = gelu(v);
#end
#if SLOPE
  v = times_slope(v, slope_at[at / 4u]);
#end
  c[at / 4u] = v;
#if GELU == 2
  activated[at / 4u] = gelu(v);
#end
#else
#if GELU && WIDTH == 4
  let g = gelu(v);
#end
#if GELU && WIDTH == 1
  let g = vec4f(gelu(v.x));
#end
#if SLOPE
  // Nothing is stored past the last column.
#if WIDTH == 4
  let last_at = at + (params.n - 1u - col) * step;
  v = times_slope(v, vec4f(slope_at[at], slope_at[min(at + step, last_at)], slope_at[min(at + 2u * step, last_at)], slope_at[min(at + 3u * step, last_at)]));
#else
  v = vec4f(times_slope(v.x, slope_at[at]));
#end
#end
#for e in 0..WIDTH
  if (col + ${e}u < params.n) {
#if RESIDUAL == 1
    v[${e}] += residual[at + ${e}u * step];
#end
#if RESIDUAL == 2
    v[${e}] += c[at + ${e}u * step];
#end
#if GELU == 1
    c[at + ${e}u * step] = g[${e}];
#else
    c[at + ${e}u * step] = v[${e}];
#end
#if GELU == 2
    activated[at + ${e}u * step] = g[${e}];
#end
  }
#end
#end
}
