// Random data for the benchmarks: the power that a tensor core draws, and so the clock, depends on the bits it multiplies.
#include <cuda_fp8.h>

#include <cstdint>

#include "inputs.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::bench {

namespace {

/// A well mixed 64-bit hash of a counter (the finalizer of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
W8A8_DEVICE std::uint64_t hash(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// The sum of the four bytes of a word, centred and scaled to a standard deviation of 1: bell-shaped.
W8A8_DEVICE float bell(std::uint32_t word) {
  const int sum = __dp4a(word, 0x01010101u, 0u) - 510;
  return static_cast<float>(sum) * (1.0f / 147.8f);
}

struct ToInt8 {
  W8A8_DEVICE std::int8_t operator()(std::uint32_t word) const {
    return static_cast<std::int8_t>(max(-127, min(127, __float2int_rn(35.0f * bell(word)))));
  }
};
struct ToHalf {
  W8A8_DEVICE half operator()(std::uint32_t word) const { return __float2half(bell(word)); }
};
struct ToFp8 {
  W8A8_DEVICE __nv_fp8_e4m3 operator()(std::uint32_t word) const { return __nv_fp8_e4m3(bell(word)); }
};
struct ToScale {
  float mean;
  W8A8_DEVICE float operator()(std::uint32_t word) const { return mean * (1 + 0.1f * bell(word)); }
};

template <class T, class Convert>
__global__ void fill_kernel(T* data, std::size_t count, std::uint64_t seed, Convert convert) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; 2 * i < count; i += step) {
    const std::uint64_t bits = hash(i ^ seed << 48);
    data[2 * i] = convert(static_cast<std::uint32_t>(bits));
    if (2 * i + 1 < count) data[2 * i + 1] = convert(static_cast<std::uint32_t>(bits >> 32));
  }
}

template <class T, class Convert>
void fill(T* data, std::size_t count, std::uint64_t seed, Convert convert) {
  if (count == 0) return;
  fill_kernel<<<2048, 256>>>(data, count, seed, convert);
  check_cuda(cudaGetLastError(), "fill_kernel");
}

}  // namespace

void fill_random(std::int8_t* data, std::size_t count, std::uint64_t seed) { fill(data, count, seed, ToInt8{}); }
void fill_random(half* data, std::size_t count, std::uint64_t seed) { fill(data, count, seed, ToHalf{}); }
void fill_random(__nv_fp8_e4m3* data, std::size_t count, std::uint64_t seed) { fill(data, count, seed, ToFp8{}); }
void fill_random_scales(float* data, std::size_t count, std::uint64_t seed, float mean) {
  fill(data, count, seed, ToScale{mean});
}

}  // namespace w8a8::bench
