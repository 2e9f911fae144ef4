// What a gate goes through, and its derivative, for the alias Value.
// TANH_GELU 0, SwiGLU: a(x) = x σ(x) with σ the logistic function, a′(x) = σ(x) (1 + x (1 − σ(x))).
// TANH_GELU 1, GeGLU: a(x) = ½x (1 + t), t = tanh u, u = √(2/π) (x + 0.044715 x³),
//   a′(x) = ½ (1 + t) + ½x (1 − t²) √(2/π) (1 + 0.134145 x²).
struct Activated {
  value: Value,
  slope: Value,
}

#if TANH_GELU
// Beyond ±15, tanh is ±1 in f32, and a device's own may overflow.
fn activated(x: Value) -> Activated {
  let factor = 0.7978845608028654;
  let t = tanh(clamp(factor * (x + 0.044715 * x * x * x), Value(-15.0), Value(15.0)));
  let slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * factor * (1.0 + 0.134145 * x * x);
  return Activated(0.5 * x * (1.0 + t), select(slope, 0.5 * (1.0 + t), t * t == Value(1.0)));
}
#else
// Below −80, the value at −80 (2e-35) is used: exp would leave the range of f32, and WGSL guarantees no
// infinity.
fn logistic(v: Value) -> Value {
  return 1.0 / (1.0 + exp(-max(v, Value(-80.0))));
}

fn activated(x: Value) -> Activated {
  let sigma = logistic(x);
  return Activated(x * sigma, sigma * (1.0 + x * (1.0 - sigma)));
}
#end
