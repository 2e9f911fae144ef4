// GELU, x·Φ(x), and its derivative, on a Value: f32 or vec4f.

// erf by Abramowitz & Stegun 7.1.26, |error| ≤ 1.5e-7; WGSL has no erf.
fn erf(v: Value) -> Value {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(v) * (1.0 - poly * exp(-v * v));
}

fn normal_cdf(v: Value) -> Value {
  return 0.5 * (1.0 + erf(v * 0.7071067811865476));
}

fn gelu(v: Value) -> Value {
  return v * normal_cdf(v);
}

// The derivative of gelu: Φ(x) + x·φ(x).
fn gelu_slope(v: Value) -> Value {
  return normal_cdf(v) + v * 0.3989422804014327 * exp(-0.5 * v * v);
}
