// C[z] = activation(scale · Σ parts[p][z] + bias) + residual, for z = 0 … blocks − 1: the second stage of a product whose k
// is split into parts
//
// a: the parts, k × m × (blocks·n), where k is their number; n is a multiple of 4.
// Tiling: an invocation owns a quad of columns of a row and adds the parts in order. Grid: x over the quads of all blocks,
// 64 a workgroup, y over rows.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU and SLOPE; B is not bound.

#include "matmul.wgsl"

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let quads = params.n / 4u;
  let all_quads = quads * params.blocks;
  if (id.x >= all_quads) {
    return;
  }
  let step = params.m * all_quads;
  let parts = params.k;
  var at = id.y * all_quads + id.x;
  var sum = vec4f(0.0);
  var p = 0u;
  // Four loads at a time are under way before the first is waited for.
  for (; p + 4u <= parts; p += 4u) {
    let a0 = a[at];
    let a1 = a[at + step];
    let a2 = a[at + 2u * step];
    let a3 = a[at + 3u * step];
    sum += a0;
    sum += a1;
    sum += a2;
    sum += a3;
    at += 4u * step;
  }
  for (; p < parts; p += 1u) {
    sum += a[at];
    at += step;
  }
  let block = id.x / quads;
  let col = (id.x - block * quads) * 4u;
  store(sum, bias_of(col, block), id.y, col, block);
}
