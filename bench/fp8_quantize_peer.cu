#include <cuda_fp8.h>

#include <cub/block/block_reduce.cuh>

#include "fp8_quantize_peer.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/integer_math.hpp"

namespace w8a8::bench {

namespace {

constexpr int threads = 256;
constexpr int group = 8;  // elements: one 16-byte load

struct alignas(16) Halves {
  half2 pair[group / 2];
};

W8A8_DEVICE uint2 encode(const Halves& x, float inverse) {
  __nv_fp8x2_storage_t code[group / 2];
  W8A8_UNROLL
  for (int i = 0; i < group / 2; ++i) {
    const float2 value = __half22float2(x.pair[i]);
    code[i] = __nv_cvt_float2_to_fp8x2({value.x * inverse, value.y * inverse}, __NV_SATFINITE, __NV_E4M3);
  }
  return {code[0] | static_cast<unsigned>(code[1]) << 16, code[2] | static_cast<unsigned>(code[3]) << 16};
}

__global__ void __launch_bounds__(threads) cast_kernel(const Halves* x, uint2* codes, float inverse, std::int64_t groups) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < groups) codes[i] = encode(x[i], inverse);
}

/// A CTA a row; the second read of the row finds it in a cache.
__global__ void __launch_bounds__(threads) quantize_rows_kernel(const Halves* x, uint2* codes, float* scale, int groups) {
  using Reduce = cub::BlockReduce<float, threads>;
  __shared__ typename Reduce::TempStorage storage;
  __shared__ float shared_scale;
  x += static_cast<std::int64_t>(blockIdx.x) * groups;
  codes += static_cast<std::int64_t>(blockIdx.x) * groups;
  half2 most = __float2half2_rn(0.0f);
  for (int i = threadIdx.x; i < groups; i += threads) {
    const Halves value = x[i];
    W8A8_UNROLL
    for (int j = 0; j < group / 2; ++j) most = __hmax2(most, __habs2(value.pair[j]));
  }
  const float absmax =
      Reduce(storage).Reduce(fmaxf(__low2float(most), __high2float(most)), [](float a, float b) { return fmaxf(a, b); });
  if (threadIdx.x == 0) scale[blockIdx.x] = shared_scale = fmaxf(absmax, 1e-5f) * (1.0f / 448.0f);
  __syncthreads();
  const float inverse = 1.0f / shared_scale;
  for (int i = threadIdx.x; i < groups; i += threads) codes[i] = encode(x[i], inverse);
}

}  // namespace

void fp8_cast_peer(const half* x, void* codes, float scale, int m, int k, cudaStream_t stream) {
  const std::int64_t groups = static_cast<std::int64_t>(m) * k / group;
  cast_kernel<<<static_cast<unsigned>(ceil_div<std::int64_t>(groups, threads)), threads, 0, stream>>>(
      reinterpret_cast<const Halves*>(x), static_cast<uint2*>(codes), 1 / scale, groups);
  check_cuda(cudaGetLastError(), "cast_kernel");
}

void fp8_quantize_rows_peer(const half* x, void* codes, float* scale, int m, int k, cudaStream_t stream) {
  quantize_rows_kernel<<<static_cast<unsigned>(m), threads, 0, stream>>>(reinterpret_cast<const Halves*>(x),
                                                                         static_cast<uint2*>(codes), scale, k / group);
  check_cuda(cudaGetLastError(), "quantize_rows_kernel");
}

}  // namespace w8a8::bench
