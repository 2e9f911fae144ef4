// The gradient of an embedding's table on GPUs: out[row] = scale · Σ gradient[t] over the tokens t whose id is first_row + row,
// in order of t. `order` has (id, t) by id, as order_ids.wgsl leaves it, so that the tokens of an id are a run. Rows
// without tokens are left as they are, and ids without a row are left out (those before first_row wrap around to large
// numbers).
//
// An id may have few tokens or, as a token type, all of them: runs are cut into chunks of CHUNK places.
// PASS 0: the sum of each run within a chunk. A run that lies in it whole goes to `out`, and what is cut off by the chunk's
//   start or end to `cut`, which has two rows for each chunk: [0] of a run from before, [1] of one that begins here.
// PASS 1: the chunk in which a cut run begins adds up its parts, in order.
//
// Tiling: an invocation owns WIDTH columns (4 if the row length is a multiple of 4, else 1) of a chunk; `width` counts these.
// Grid: x over columns, 64 a workgroup, y over chunks. No atomics, the same bits every run.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  tokens: u32,
  width: u32,
  rows: u32,
  first_row: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> order: array<vec2u>;
#if PASS == 0
@group(0) @binding(2) var<storage, read> gradient: array<Value>;
@group(0) @binding(3) var<storage, read_write> cut: array<Value>;
#else
@group(0) @binding(3) var<storage, read> cut: array<Value>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<Value>;

fn store(id: u32, col: u32, sum: Value) {
  let row = id - params.first_row;
  if (row < params.rows) {
    out[row * params.width + col] = params.scale * sum;
  }
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tokens = params.tokens;
  let width = params.width;
  let col = group.x * 64u + lane;
  if (col >= width) {
    return;
  }
  let chunk = group.y;
  let start = chunk * ${CHUNK}u;
  let end = min(start + ${CHUNK}u, tokens);
#if PASS == 0
  var begins_here = start == 0u || order[max(start, 1u) - 1u].x != order[start].x;
  var sum = Value(0.0);
  for (var base = start; base < end; base += 4u) {
    // Four loads at a time are under way before the first is waited for.
#for e in 0..5
    let at${e} = order[min(base + ${e}u, tokens - 1u)];
#end
#for e in 0..4
    let value${e} = gradient[at${e}.y * width + col];
#end
#for e in 0..4
    if (base + ${e}u < end) {
      sum += value${e};
      let goes_on = base + ${e + 1}u < tokens && at${e + 1}.x == at${e}.x;
      if (!goes_on && begins_here) {
        store(at${e}.x, col, sum);
      }
      if ((goes_on && base + ${e + 1}u == end) || (!goes_on && !begins_here)) {
        cut[(2u * chunk + u32(begins_here)) * width + col] = sum;
      }
      if (!goes_on) {
        begins_here = true;
        sum = Value(0.0);
      }
    }
#end
  }
#else
  let id = order[end - 1u].x;
  let began_before = start > 0u && order[max(start, 1u) - 1u].x == id;
  if (began_before || end == tokens || order[min(end, tokens - 1u)].x != id) {
    return;
  }
  // The run goes on to the chunk before `beyond`.
  var beyond = chunk + 2u;
  while (beyond * ${CHUNK}u < tokens && order[min(beyond * ${CHUNK}u, tokens - 1u)].x == id) {
    beyond += 1u;
  }
  let step = 2u * width;
  var sum = cut[(2u * chunk + 1u) * width + col];
  var next = chunk + 1u;
  var at = next * step + col;
  for (; next + 4u <= beyond; next += 4u) {
#for e in 0..4
    let cut${e} = cut[at + ${e}u * step];
#end
#for e in 0..4
    sum += cut${e};
#end
    at += 4u * step;
  }
  for (; next < beyond; next += 1u) {
    sum += cut[at];
    at += step;
  }
  store(id, col, sum);
#end
}
