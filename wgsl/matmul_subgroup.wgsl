// C[z] = activation(scale · op(A[z]) · op(B[z]) + bias) + residual, for z = 0 … blocks − 1, with loads of A
// shared between the lanes of a subgroup
//
// The product of matmul.wgsl, for operands that can be read as vec4, on devices with one subgroup size. A
// software driver spends its time in loads, one float at a time. Here each float of A is loaded once per
// subgroup and broadcast, not loaded once per invocation.
//
// Tiling: a workgroup is one subgroup of SUBGROUP lanes. It owns TILE_M rows of C; each lane owns TILE_N
// columns of them (a multiple of 4, or 1) in registers and walks k in steps of K_STEP. Each lane loads
// PER_LANE vec4 of A per step: along k, one row each (NN, NT), or along m, four rows each (TN). Rows and
// columns past the edge are clamped on load and not stored. No lane returns early, since broadcasts need all
// lanes.
// The epilogue handles STRIP rows at a time, and the other rows' sums move up into their variables: some
// compilers take long over each store and each low-rank term in the text.
// Grid: x over rows, y over columns, z over blocks. Workgroups run in bands of BAND row tiles: down the rows
// of a band, then on to the next columns. Successive workgroups thus read the same columns of B, and a band's
// rows of A stay in cache.
// Accumulation is in f32, in order of k: same bits every run, and the bits of matmul.wgsl over the same k.
// WALK 1: B's storage supplies the parts b.start and b.hop (lib/graph/storages/storage.ts): places in b itself, and
// how a step along k leaves their neighbourhood. WALK 4 or 16, without TRANS_B: it supplies the part b.pair, by which a
// lane reads its eight columns at once, two quads that begin so many columns apart.
// include/matmul.wgsl defines the bindings and RESIDUAL, BIAS, ACTIVATION, GELU, SLOPE, LOW_RANK and load_b.

#include "matmul.wgsl"

#if WALK > 1
struct Pair {
  first: vec4f,
  second: vec4f,
}

fn load_pair(i: u32) -> Pair {
#include "b.pair"
}

#end
@compute @workgroup_size(${SUBGROUP}, 1, 1)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let place = group.x + group.y * groups.x;
  let in_band = ${BAND}u * groups.y;
  let band0 = place / in_band * ${BAND}u;
  let height = min(${BAND}u, groups.x - band0);
  let row0 = (band0 + place % in_band % height) * ${TILE_M}u;
#if WALK > 1
  let tile = place % in_band / height * ${SUBGROUP}u + lane;
  let col0 = tile / ${WALK / 4}u * ${2 * WALK}u + tile % ${WALK / 4}u * 4u;
#else
  let col0 = (place % in_band / height * ${SUBGROUP}u + lane) * ${TILE_N}u;
#end
  let block = group.z;
  let a0 = params.start_a + block * params.stride_a;
  let b0 = params.start_b + block * params.stride_b;
#for p in 0..PER_LANE
#if TRANS_A
  var a_at${p} = (a0 + min(row0 + (${p * SUBGROUP}u + lane) % ${TILE_M / 4}u * 4u, params.m - 4u)) / 4u;
#else
  var a_at${p} = (a0 + min(row0 + ${p * SUBGROUP}u + lane, params.m - 1u) * params.ld_a) / 4u;
#end
#end
#if WALK > 1
  var b_at = b0 / 8u + min(tile, params.n / 8u - 1u);
  let b_step = params.ld_b / 8u;
#else
#if WALK
#include "b.start"
#else
#if TRANS_B
#for j in 0..TILE_N
  var b_at${j} = (b0 + min(col0 + ${j}u, params.n - 1u) * params.ld_b) / 4u;
#end
#else
#for q in 0..TILE_N / WIDTH
  var b_at${q} = (b0 + min(col0 + ${4 * q}u, params.n - ${WIDTH}u)) / ${WIDTH}u;
#end
  let b_step = params.ld_b / ${WIDTH}u;
#end
#end
#end
#if TRANS_A
  let a_step = params.ld_a / 4u;
#else
  let a_step = 1u;
#end
#for i in 0..TILE_M
#for q in 0..TILE_N / WIDTH
  var c${i}_${q} = Value(0.0);
#end
#end

  for (var k = 0u; k < params.k; k += ${K_STEP}u) {
#for p in 0..PER_LANE
    let own${p} = a[a_at${p}];
    a_at${p} += a_step;
#end
#if TRANS_B
#for j in 0..TILE_N
#if WALK
    let bt${j} = b[b_at${j}];
#else
    let bt${j} = load_b(b_at${j});
#end
    b_at${j} += 1u;
#end
#include "b.hop"
#for e in 0..4
#if WIDTH == 4
#for q in 0..TILE_N / 4
    let b${e}_${q} = vec4f(bt${4 * q}[${e}], bt${4 * q + 1}[${e}], bt${4 * q + 2}[${e}], bt${4 * q + 3}[${e}]);
#end
#else
    let b${e}_0 = bt0[${e}];
#end
#end
#else
#for e in 0..K_STEP
#if WALK > 1
    let pair${e} = load_pair(b_at);
    let b${e}_0 = pair${e}.first;
    let b${e}_1 = pair${e}.second;
    b_at += b_step;
#else
#for q in 0..TILE_N / WIDTH
#if WIDTH == 4 && !WALK
    let b${e}_${q} = load_b(b_at${q});
#else
    let b${e}_${q} = b[b_at${q}];
#end
    b_at${q} += b_step;
#end
#end
#end
#end
#if TRANS_A
#for p in 0..PER_LANE
#for l in 0..LANES_A
    let a${p}_${l} = subgroupBroadcast(own${p}, ${l}u);
#for e in 0..4
#for q in 0..TILE_N / WIDTH
    c${4 * (p * LANES_A + l) + e}_${q} = fma(Value(a${p}_${l}[${e}]), b0_${q}, c${4 * (p * LANES_A + l) + e}_${q});
#end
#end
#end
#end
#else
#for p in 0..PER_LANE
#for l in 0..SUBGROUP
    let a${p}_${l} = subgroupBroadcast(own${p}, ${l}u);
#for e in 0..4
#for q in 0..TILE_N / WIDTH
    c${p * SUBGROUP + l}_${q} = fma(Value(a${p}_${l}[${e}]), b${e}_${q}, c${p * SUBGROUP + l}_${q});
#end
#end
#end
#end
#end
  }

#for q in 0..TILE_N / WIDTH
  let bias${q} = bias_of(col0 + ${4 * q + (WALK > 1) * (WALK - 4) * q}u, block);
#end
  let end = min(row0 + ${TILE_M}u, params.m);
  for (var row = row0; row < end; row += ${STRIP}u) {
#if LOW_RANK
#for i in 0..STRIP
    let row_of${i} = row + ${i}u;
#end
#for q in 0..TILE_N / 4
    let col_of${q} = col0 + ${4 * q}u;
#end
#include "low_rank.wgsl"
#end
#for i in 0..STRIP
#for q in 0..TILE_N / WIDTH
    store(vec4f(c${i}_${q}), bias${q}, row + ${i}u, col0 + ${4 * q + (WALK > 1) * (WALK - 4) * q}u, block);
#end
#end
#for i in 0..TILE_M - STRIP
#for q in 0..TILE_N / WIDTH
    c${i}_${q} = c${i + STRIP}_${q};
#end
#end
  }
}
