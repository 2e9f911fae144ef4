// ReLU and tanh of four values, and NaN of NaN: max and clamp may give a number instead, which would hide a broken model.

// By the bits: a float comparison may be optimised as if there were no NaN.
fn are_nan(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn relu(v: vec4f) -> vec4f {
  return select(max(v, vec4f(0.0)), v, are_nan(v));
}

// Beyond ±15, tanh is ±1 in f32, and a device's own may overflow.
fn safe_tanh(v: vec4f) -> vec4f {
  return select(tanh(clamp(v, vec4f(-15.0), vec4f(15.0))), v, are_nan(v));
}
