// Device memory of a run: pools of random data, allocated once, from which every row takes its rotating input sets.
#pragma once

#include <cuda_fp8.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan.hpp"
#include "shapes.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/tensor.hpp"

namespace w8a8::bench {

// random.cu. Bell-shaped values: int8 with a standard deviation of 35, clipped at +-127; floating-point with one of 1; scales
// positive, around `mean`. The same seed gives the same data.
void fill_random(std::int8_t* data, std::size_t count, std::uint64_t seed);
void fill_random(half* data, std::size_t count, std::uint64_t seed);
void fill_random(__nv_fp8_e4m3* data, std::size_t count, std::uint64_t seed);
void fill_random_scales(float* data, std::size_t count, std::uint64_t seed, float mean = 0.01f);

inline std::size_t align_slice(double bytes) { return round_up<std::size_t>(static_cast<std::size_t>(bytes), 256); }

/// How one row uses a pool of operands of `element` bytes: sets of X and W, one after the other.
struct OperandSets {
  std::size_t w_offset = 0;  ///< of W in a set; X stands at its start
  std::size_t set_bytes = 0;
  int sets = 1;

  OperandSets(const Shape& shape, double element, double l2_bytes)
      : w_offset(align_slice(element * shape.m * shape.k)),
        set_bytes(w_offset + align_slice(element * shape.n * shape.k)),
        sets(input_sets(static_cast<double>(set_bytes), l2_bytes)) {}

  std::size_t x(int set) const { return static_cast<std::size_t>(set) * set_bytes; }
  std::size_t w(int set) const { return x(set) + w_offset; }
  std::size_t bytes() const { return static_cast<std::size_t>(sets) * set_bytes; }
};

/// Bytes of the per-token scales, per-channel scales and bias of one set; each vector is aligned to 16 bytes.
inline std::size_t scale_set_bytes(const Shape& shape) {
  return align_slice(4.0 * round_up(shape.m, 4) + 8.0 * round_up(shape.n, 4));
}

/// Bytes of the pools.
struct PoolSizes {
  std::size_t int8 = 0, fp16 = 0, fp8 = 0;
  std::size_t fp16_out = 0;                ///< what fused quantizers update and write beside their codes
  std::size_t scales = 0;                  ///< per token and per channel, float; the bias is taken from here, too
  std::size_t out = 0;                     ///< one output: a model recycles its activation buffers, too
  std::size_t accumulators = 0;            ///< int32, of the peers that dequantize in a second kernel
  std::size_t codes = 0, code_scales = 0;  ///< what quantization writes

  std::size_t total() const { return int8 + fp16 + fp8 + fp16_out + scales + out + accumulators + codes + code_scales; }
  PoolSizes& include(const PoolSizes& other) {
    const auto grow = [](std::size_t& a, std::size_t b) { a = std::max(a, b); };
    grow(int8, other.int8), grow(fp16, other.fp16), grow(fp8, other.fp8), grow(scales, other.scales);
    grow(out, other.out), grow(accumulators, other.accumulators), grow(codes, other.codes), grow(code_scales, other.code_scales);
    grow(fp16_out, other.fp16_out);
    return *this;
  }
};

/// Which pools a run draws from.
struct PoolUse {
  bool int8 = true, fp16 = false, fp8 = false, accumulators = false, codes = false;
  double out_element = 2;
};

/// What a row needs of the pools.
inline PoolSizes pool_sizes(const Shape& shape, const PoolUse& use, double l2_bytes) {
  PoolSizes sizes;
  int most_sets = 1;
  const auto operands = [&](bool used, double element) -> std::size_t {
    if (!used) return 0;
    const OperandSets sets(shape, element, l2_bytes);
    most_sets = std::max(most_sets, sets.sets);
    return sets.bytes();
  };
  sizes.int8 = operands(use.int8, 1);
  sizes.fp16 = operands(use.fp16, 2);
  sizes.fp8 = operands(use.fp8, 1);
  sizes.scales = static_cast<std::size_t>(most_sets) * scale_set_bytes(shape);
  sizes.out = align_slice(use.out_element * shape.m * shape.n);
  if (use.accumulators) sizes.accumulators = align_slice(4.0 * shape.m * shape.n);
  if (use.codes) {
    sizes.codes = align_slice(1.0 * shape.m * shape.k);
    sizes.code_scales = align_slice(4.0 * shape.m);
  }
  return sizes;
}

/// The pools, filled. Throws CudaError where memory is short.
struct Pools {
  template <class T>
  using Buffer = Tensor<T, 1, Device>;

  Buffer<std::int8_t> int8;
  Buffer<half> fp16, fp16_out;
  Buffer<__nv_fp8_e4m3> fp8;
  Buffer<float> scales;
  Buffer<std::uint8_t> out, accumulators;
  Buffer<std::int8_t> codes;
  Buffer<float> code_scales;

  Pools(const PoolSizes& sizes, std::uint64_t seed)
      : int8(shape(sizes.int8)),
        fp16(shape(sizes.fp16 / 2)),
        fp16_out(shape(sizes.fp16_out / 2)),
        fp8(shape(sizes.fp8)),
        scales(shape(sizes.scales / 4)),
        out(shape(sizes.out)),
        accumulators(shape(sizes.accumulators)),
        codes(shape(sizes.codes)),
        code_scales(shape(sizes.code_scales / 4)) {
    fill_random(int8.data(), sizes.int8, seed);
    fill_random(fp16.data(), sizes.fp16 / 2, seed + 1);
    fill_random(fp8.data(), sizes.fp8, seed + 2);
    fill_random_scales(scales.data(), sizes.scales / 4, seed + 3);
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  /// The scales of a set: per token, then per channel, then the bias (up to 4 bytes a channel, of any floating-point type).
  struct ScaleSet {
    const float* token;
    const float* channel;
    const void* bias;
  };
  ScaleSet scale_set(const Shape& s, int set) const {
    const float* start = scales.data() + static_cast<std::size_t>(set) * (scale_set_bytes(s) / 4);
    const float* channel = start + round_up(s.m, 4);
    return {start, channel, channel + round_up(s.n, 4)};
  }

 private:
  static std::array<std::int64_t, 1> shape(std::size_t elements) { return {static_cast<std::int64_t>(elements)}; }
};

}  // namespace w8a8::bench
