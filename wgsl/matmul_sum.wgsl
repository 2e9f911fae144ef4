// C[z] = activation(scale · Σ parts[p][z] + bias) + residual, for z = 0 … blocks − 1: the second stage of a product whose k
// is split into parts
//
// a: the parts, k × m × (blocks·n), where k is their number.
// Tiling: an invocation owns a float of C and adds its parts in order; C is written float by float. Grid: x over the
// columns of all blocks, 64 a workgroup, y over rows.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU and SLOPE; B is not bound.

#include "matmul.wgsl"

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let columns = params.n * params.blocks;
  if (id.x >= columns) {
    return;
  }
  let step = params.m * columns;
  let parts = params.k;
  var at = id.y * columns + id.x;
  var sum = 0.0;
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
  let block = id.x / params.n;
  let col = id.x - block * params.n;
  store(vec4f(sum), bias_of(col, block), id.y, col, block);
}
