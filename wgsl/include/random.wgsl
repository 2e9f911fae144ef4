// Counter-based random bits: a 32-bit word that depends only on its four counters, so the backward pass draws
// the forward pass's mask again and nothing is stored. The mixer is "lowbias32" (Wellons,
// nullprogram.com/blog/2018/07/31), applied once per counter. lib/graph/random.ts computes the same bits in
// TypeScript.
fn mix_bits(word: u32) -> u32 {
  var x = word;
  x = (x ^ (x >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

fn random_bits(seed: u32, step: u32, stream: u32, index: u32) -> u32 {
  return mix_bits(mix_bits(mix_bits(mix_bits(seed) + step) + stream) + index);
}
