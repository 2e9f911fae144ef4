// dx[i, c] = (softmax(x[i])[c] − [c is the label]) w / Σ w: the gradient of a softmax cross-entropy by its logits, on GPUs
//
// logits and out are rows×classes, the rows from `from_row` on of all and the classes from `first` on, of which `there` exist;
// the others' gradient is 0. labels, weights, and lse or statistics are of all rows; total is Σ w.
// OF_LSE 1: softmax is exp(x − lse). OF_LSE 0: exp(x − s.x) / s.y with the row's statistics s (vocabulary_loss.wgsl).
// IN_PLACE 1: out holds the logits.
// Tiling: an invocation owns WIDTH classes of a row, 4 if classes is a multiple of 4, else 1. Grid: x over classes, y and z
// over rows.

#if WIDTH == 4
alias Value = vec4f;
#else
alias Value = f32;
#end

struct Params {
  rows: u32,
  classes: u32,
  from_row: u32,
  first: u32,
  there: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if OF_LSE
@group(0) @binding(1) var<storage, read> lse: array<f32>;
#else
@group(0) @binding(1) var<storage, read> statistics: array<vec4f>;
#end
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> total: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<Value>;
#if !IN_PLACE
@group(0) @binding(6) var<storage, read> logits: array<Value>;
#end

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own = group.y + group.z * groups.y;
  let c = (group.x * 64u + lane) * ${WIDTH}u;
  if (own >= params.rows || c >= params.classes) {
    return;
  }
  let row = params.from_row + own;
  let at = (own * params.classes + c) / ${WIDTH}u;
#if IN_PLACE
  let x = out[at];
#else
  let x = logits[at];
#end
#if OF_LSE
  let share = exp(x - lse[row]);
#else
  let s = statistics[row];
  let share = exp(x - s.x) * (1.0 / s.y);
#end
  let weight = weights[row] / total[0];
  let label = labels[row] - params.first;
#if WIDTH == 4
  let classes = vec4u(c) + vec4u(0u, 1u, 2u, 3u);
  let hit = select(vec4f(0.0), vec4f(1.0), classes == vec4u(label));
  out[at] = select(vec4f(0.0), (share - hit) * weight, classes < vec4u(params.there));
#else
  let hit = select(0.0, 1.0, c == label);
  out[at] = select(0.0, (share - hit) * weight, c < params.there);
#end
}
