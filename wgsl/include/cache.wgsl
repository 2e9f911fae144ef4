// Keys, values and queries of attention over a cache, in heads of QUADS vec4. F16 1: k and v hold halves, four in two words.
// ROTATE 1: queries are rotated on their way (see rotary.wgsl) by a row of `table`, which has the cosines of half a head, then the
// sines.

#if F16
@group(0) @binding(2) var<storage, read> k: array<vec2u>;
@group(0) @binding(3) var<storage, read> v: array<vec2u>;

fn value_of(halves: vec2u) -> vec4f {
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
#else
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;

fn value_of(value: vec4f) -> vec4f {
  return value;
}
#end

@group(0) @binding(1) var<storage, read> q: array<vec4f>;
#if ROTATE
@group(0) @binding(7) var<storage, read> table: array<vec4f>;

// A vec4 of the head that begins at `head`, of a token at `place`.
fn query(head: u32, quad: u32, place: u32) -> vec4f {
  let i = quad % ${QUADS / 2}u;
  let cosine = table[place * ${QUADS}u + i];
  let sine = table[place * ${QUADS}u + ${QUADS / 2}u + i];
  if (quad < ${QUADS / 2}u) {
    return q[head + quad] * cosine - q[head + quad + ${QUADS / 2}u] * sine;
  }
  return q[head + quad] * cosine + q[head + i] * sine;
}
#else
fn query(head: u32, quad: u32, place: u32) -> vec4f {
  return q[head + quad];
}
#end
