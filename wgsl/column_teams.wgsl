// out[z][p][j] = Σ term(i, j) over the rows i of part p, for the columns j of x[z], z = 0 … texts − 1: sums over rows on GPUs
//
// TERM, what is added up, for x of texts × rows × cols:
//   0: x, and with SUMS 2 in a second sum y: partial sums of an earlier launch
//   1: x²
//   2: dy · x · scales[i], an RMS norm's dγ
//   3: dy · (x − mean) · scale and in a second sum dy, a layer norm's dγ and dβ; statistics[i] is (mean, scale)
// FINISH, what becomes of a sum: 0 itself; 1 its inverse root, 1e30 for 0; 2 its share of lengths[z].
// RAGGED 1: rows from lengths[z] on are left out.
//
// Tiling: lanes lie along the columns, WIDTH floats a lane (4 if cols is a multiple of 4, else 1; params.cols and all indices
// count these), LANES lanes a team; TEAMS teams, 256 lanes in all, share the rows of a part, params.part of them. The teams'
// sums are added by way of workgroup memory, in order of the teams. A second launch adds up the parts in the same way
// (lib/graph/ops/column_teams.ts).
// Grid: x over columns, y over parts, z over texts. The order depends on the shape only: same bits every run.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  rows: u32,
  cols: u32,
  part: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
#if TERM == 0 && SUMS == 2
@group(0) @binding(2) var<storage, read> y: array<Value>;
#end
#if TERM >= 2
@group(0) @binding(2) var<storage, read> dy: array<Value>;
#end
#if TERM == 2
@group(0) @binding(3) var<storage, read> scales: array<f32>;
#end
#if TERM == 3
@group(0) @binding(3) var<storage, read> statistics: array<vec2f>;
#end
@group(0) @binding(4) var<storage, read_write> out: array<Value>;
#if SUMS == 2
@group(0) @binding(5) var<storage, read_write> second_out: array<Value>;
#end
#if RAGGED || FINISH == 2
@group(0) @binding(6) var<storage, read> lengths: array<u32>;
#end

struct Sums {
  first: Value,
#if SUMS == 2
  second: Value,
#end
}

var<workgroup> shared_sums: array<array<array<Value, ${LANES}>, ${TEAMS}>, ${SUMS}>;

// `sums` and the terms of a row, whose value of the lane's columns is at `at`.
fn added(sums: Sums, row: u32, at: u32) -> Sums {
  var s = sums;
#if TERM == 0
  s.first += x[at];
#if SUMS == 2
  s.second += y[at];
#end
#end
#if TERM == 1
  let value = x[at];
  s.first = fma(value, value, s.first);
#end
#if TERM == 2
  s.first += dy[at] * x[at] * scales[row];
#end
#if TERM == 3
  let d = dy[at];
  let of_row = statistics[row];
  s.first += d * (x[at] - of_row.x) * of_row.y;
  s.second += d;
#end
  return s;
}

fn finished(sum: Value, text: u32) -> Value {
#if FINISH == 0
  return sum;
#end
#if FINISH == 1
  return 1.0 / max(sqrt(sum), Value(1e-30));
#end
#if FINISH == 2
  return sum / f32(lengths[text]);
#end
}

@compute @workgroup_size(${LANES * TEAMS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let lane = min(index % ${LANES}u, ${LANES - 1}u);
  let team = min(index / ${LANES}u, ${TEAMS - 1}u);
  let cols = params.cols;
  let col = group.x * ${LANES}u + lane;
  let part_end = min((group.y + 1u) * params.part, params.rows);
#if RAGGED
  let end = min(part_end, lengths[group.z]);
#else
  let end = part_end;
#end
  let step = ${TEAMS}u * cols;
  var row = group.y * params.part + team;
  var at = (group.z * params.rows + row) * cols + min(col, cols - 1u);
  var sums = Sums();
  // Four loads at a time are under way before the first is waited for.
  for (; row + ${3 * TEAMS}u < end; row += ${4 * TEAMS}u) {
#for e in 0..4
    sums = added(sums, row + ${TEAMS * e}u, at + ${e}u * step);
#end
    at += 4u * step;
  }
  for (; row < end; row += ${TEAMS}u) {
    sums = added(sums, row, at);
    at += step;
  }
  shared_sums[0][team][lane] = sums.first;
#if SUMS == 2
  shared_sums[1][team][lane] = sums.second;
#end
  workgroupBarrier();
  let to = (group.z * groups.y + group.y) * cols + col;
#for s in 0..SUMS
  if (team == ${s}u && col < cols) {
    var sum = shared_sums[${s}][0][lane];
#for t in 1..TEAMS
    sum += shared_sums[${s}][${t}][lane];
#end
#if s == 0
    out[to] = finished(sum, group.z);
#else
    second_out[to] = finished(sum, group.z);
#end
  }
#end
}
