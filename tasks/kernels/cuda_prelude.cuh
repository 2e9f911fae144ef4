// What cuda_source.ts writes kernels in: SPIR-V's vectors and arrays as values, and its functions, each of a scalar or, for
// every element, of a vector.

typedef unsigned int u32;
typedef int i32;
typedef float f32;
typedef unsigned char u8;
typedef signed char i8;

template <class T, int N> struct alignas(sizeof(T) * (N == 3 ? 4 : N)) vec {
  T at[N];
  T &operator[](u32 i) { return at[i]; }
  const T &operator[](u32 i) const { return at[i]; }
};

template <class T, int N> struct array {
  T at[N];
  T &operator[](u32 i) { return at[i]; }
  const T &operator[](u32 i) const { return at[i]; }
};

template <class F, class T, class... Rest> __forceinline__ auto map(F f, T a, Rest... rest) { return f(a, rest...); }

template <class F, class T, int N, class... Rest>
__forceinline__ auto map(F f, vec<T, N> a, Rest... rest) {
  vec<decltype(f(a[0], rest[0]...)), N> out;
#pragma unroll
  for (int i = 0; i < N; i++) out[i] = f(a[i], rest[i]...);
  return out;
}

template <class T, int N> __forceinline__ vec<T, N> scaled(vec<T, N> a, T b) {
#pragma unroll
  for (int i = 0; i < N; i++) a[i] *= b;
  return a;
}

template <class T, int N> __forceinline__ T dot(vec<T, N> a, vec<T, N> b) {
  T sum = a[0] * b[0];
#pragma unroll
  for (int i = 1; i < N; i++) sum += a[i] * b[i];
  return sum;
}

template <int N> __forceinline__ bool all(vec<bool, N> a) {
  bool found = true;
#pragma unroll
  for (int i = 0; i < N; i++) found = found && a[i];
  return found;
}

template <int N> __forceinline__ bool any(vec<bool, N> a) {
  bool found = false;
#pragma unroll
  for (int i = 0; i < N; i++) found = found || a[i];
  return found;
}

template <class T, class S> __forceinline__ T bits_as(S from) {
  static_assert(sizeof(T) == sizeof(S));
  union { S from; T to; } both = {from};
  return both.to;
}

__forceinline__ f32 least(f32 a, f32 b) { return fminf(a, b); }
__forceinline__ u32 least(u32 a, u32 b) { return a < b ? a : b; }
__forceinline__ i32 least(i32 a, i32 b) { return a < b ? a : b; }
__forceinline__ f32 greatest(f32 a, f32 b) { return fmaxf(a, b); }
__forceinline__ u32 greatest(u32 a, u32 b) { return a < b ? b : a; }
__forceinline__ i32 greatest(i32 a, i32 b) { return a < b ? b : a; }
__forceinline__ f32 sign(f32 a) { return a > 0 ? 1.0f : a < 0 ? -1.0f : 0.0f; }
__forceinline__ u32 bit_field(u32 a, u32 from, u32 count) { return a << (32 - from - count) >> (32 - count); }
__forceinline__ i32 bit_field(i32 a, u32 from, u32 count) { return i32(u32(a) << (32 - from - count)) >> (32 - count); }

// The two f16 of a word, the first in the low half.
__forceinline__ vec<f32, 2> halves_of(u32 a) {
  f32 low, high;
  asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(low), "=f"(high) : "r"(a));
  return {low, high};
}

__forceinline__ vec<u32, 3> workgroup_id() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
__forceinline__ vec<u32, 3> num_workgroups() { return {gridDim.x, gridDim.y, gridDim.z}; }
__forceinline__ vec<u32, 3> local_id() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
__forceinline__ u32 local_index() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
__forceinline__ vec<u32, 3> global_id() {
  return {blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y, blockIdx.z * blockDim.z + threadIdx.z};
}
__forceinline__ u32 subgroup_lane() { return local_index() & 31u; }
__forceinline__ u32 subgroup_id() { return local_index() >> 5; }
__forceinline__ u32 subgroup_count() { return (blockDim.x * blockDim.y * blockDim.z + 31u) >> 5; }

template <class T> __forceinline__ T from_lane(T a, u32 lane) { return __shfl_sync(~0u, a, lane); }
template <class T> __forceinline__ T from_other(T a, u32 mask) { return __shfl_xor_sync(~0u, a, mask); }
template <class T> __forceinline__ T sum_of_lanes(T a) {
  for (u32 mask = 16; mask > 0; mask >>= 1) a += from_other(a, mask);
  return a;
}
template <class T> __forceinline__ T greatest_of_lanes(T a) {
  for (u32 mask = 16; mask > 0; mask >>= 1) a = greatest(a, from_other(a, mask));
  return a;
}
