// BoRA's diagonals from their parameters (arXiv 2508.06953): Σ = f(σ/μ), f = exp, with μ = Mav(σ) = ‖σ‖₁ / N
// over all N = b²r of them. NORM 0: μ = 1 ("without Norm"). EXP 0: f = identity ("without Exp").
// BACKWARD 0: Σ from σ. BACKWARD 1: with g = dΣ ⊙ f′(σ/μ),  dσ = g/μ − sign(σ) ⟨g, σ⟩ / (N μ²).
//   The second term comes from the derivative of μ and is absent without Norm. With Norm, ⟨dσ, σ⟩ = 0.
// One workgroup of WORKGROUP invocations per launch; sums are trees. For a σ of all zeros, μ is held at
// 1e-30.

struct Params {
  size: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sigma: array<f32>;
#if BACKWARD
@group(0) @binding(2) var<storage, read> d_diagonal: array<f32>;
#end
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

#include "workgroup_sum.wgsl"

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(local_invocation_index) lane: u32) {
  let count = f32(params.size);
#if NORM
  var sum = 0.0;
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
    sum += abs(sigma[i]);
  }
  let mu = max(workgroup_sum(sum, lane) / count, 1.0e-30);
#else
  let mu = 1.0;
#end

#if BACKWARD
#if NORM
  var products = 0.0;
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
    products += slope(i, mu) * (sigma[i] / mu);
  }
  let mean_product = workgroup_sum(products, lane) / count;
#else
  let mean_product = 0.0;
#end
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
    out[i] = (slope(i, mu) - sign(sigma[i]) * mean_product) / mu;
  }
#else
  for (var i = lane; i < params.size; i += ${WORKGROUP}u) {
#if EXP
    out[i] = exp(sigma[i] / mu);
#else
    out[i] = sigma[i] / mu;
#end
  }
#end
}

#if BACKWARD
// g_i = dΣ_i · f′(σ_i/μ)
fn slope(i: u32, mu: f32) -> f32 {
#if EXP
  return d_diagonal[i] * exp(sigma[i] / mu);
#else
  return d_diagonal[i];
#end
}
#end
