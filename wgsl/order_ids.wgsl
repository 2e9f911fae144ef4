// order[place] = (ids[t], t) for the tokens t in order of their ids, those of one id in order of t. It is a sort by counting:
// the place of t is the number of tokens that come before it.
//
// Tiling: a workgroup of 256 places 64 tokens, a token a lane of each of 4 teams. All ids pass through workgroup memory, 256
// at a time, of which each team counts its quarter; the teams' counts are added. So `tokens`² / 64 ids are read.
// Grid: x over tokens.

struct Params {
  tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> order: array<vec2u>;

var<workgroup> others: array<array<u32, 64>, 4>;
var<workgroup> counts: array<array<u32, 64>, 4>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let tokens = params.tokens;
  let lane = min(index % 64u, 63u);
  let team = min(index / 64u, 3u);
  let token = group.x * 64u + lane;
  let own = ids[min(token, tokens - 1u)];
  var before = 0u;
  for (var base = 0u; base < tokens; base += 256u) {
    workgroupBarrier();
    // Past the last token is the greatest id, which comes before none.
    others[team][lane] = select(0xffffffffu, ids[min(base + index, tokens - 1u)], base + index < tokens);
    workgroupBarrier();
    let first = base + team * 64u;
    for (var i = 0u; i < 64u; i += 8u) {
#for e in 0..8
      let other${e} = others[team][i + ${e}u];
      before += u32(other${e} < own || (other${e} == own && first + i + ${e}u < token));
#end
    }
  }
  counts[team][lane] = before;
  workgroupBarrier();
  if (team == 0u && token < tokens) {
    let place = counts[0][lane] + counts[1][lane] + counts[2][lane] + counts[3][lane];
    order[place] = vec2u(own, token);
  }
}
