// Products of gates with vectors: z[t, e, c] = g[t, e] · u[t, (e,) c]. g is rows×experts, z
// rows×experts×width; u is rows×width if SHARED (one vector for all experts), else rows×experts×width. One
// invocation per element of `out`.
// PASS 0: out = z from g, u.   PASS 1: out = du from g, dz.   PASS 2: out = dg from u, dz.

struct Params {
  size: u32,
  experts: u32,
  width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if PASS != 2
@group(0) @binding(1) var<storage, read> g: array<f32>;
#end
#if PASS != 1
@group(0) @binding(2) var<storage, read> u: array<f32>;
#end
#if PASS != 0
@group(0) @binding(3) var<storage, read> dz: array<f32>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

#include "index.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) {
    return;
  }
  let width = params.width;
#if PASS == 0
  let gate = i / width;
#if SHARED
  out[i] = g[gate] * u[gate / params.experts * width + i % width];
#else
  out[i] = g[gate] * u[i];
#end
#end
#if PASS == 1
#if SHARED
  let row = i / width;
  var sum = 0.0;
  for (var e = 0u; e < params.experts; e++) {
    let gate = row * params.experts + e;
    sum = fma(g[gate], dz[gate * width + i % width], sum);
  }
  out[i] = sum;
#else
  out[i] = g[i / width] * dz[i];
#end
#end
#if PASS == 2
  var sum = 0.0;
  for (var c = 0u; c < width; c++) {
#if SHARED
    sum = fma(u[i / params.experts * width + c], dz[i * width + c], sum);
#else
    sum = fma(u[i * width + c], dz[i * width + c], sum);
#end
  }
  out[i] = sum;
#end
}
