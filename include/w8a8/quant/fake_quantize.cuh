// Fake quantization on the GPU: the call of fake_quantize.hpp for device views, enqueued on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cub/block/block_reduce.cuh>

#include "w8a8/quant/fake_quantize.hpp"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

inline constexpr int fake_quantize_threads = 256;

struct LargerMagnitude {
  W8A8_HOST_DEVICE std::uint32_t operator()(std::uint32_t a, std::uint32_t b) const { return max_of(a, b); }
};

/// A CTA a row. A tool for trying out, not for serving: it reads each element twice, one at a time.
template <int Threads, class Task>
__global__ void __launch_bounds__(Threads) fake_quantize_kernel(const Task task) {
  using Reduce = cub::BlockReduce<std::uint32_t, Threads>;
  __shared__ typename Reduce::TempStorage storage;
  __shared__ float shared_scale;
  const std::int64_t row = blockIdx.x;
  std::uint32_t magnitude = 0;
  for (int k = static_cast<int>(threadIdx.x); k < task.shape.columns; k += Threads)
    magnitude = max_of(magnitude, magnitude_bits(to_float(*task.x.at(row, k))));
  magnitude = Reduce(storage).Reduce(magnitude, LargerMagnitude{});
  if (threadIdx.x == 0) shared_scale = scale_from_magnitude<float>(magnitude, task.bits);
  __syncthreads();
  const float scale = shared_scale, inverse = inverse_scale(scale);
  for (int k = static_cast<int>(threadIdx.x); k < task.shape.columns; k += Threads)
    *task.out.at(row, k) = task.value(row, k, scale, inverse);
}

}  // namespace detail

/// As the host call, with the same bits.
template <class X, class Out>
void fake_quantize(const TensorView<X, 2, Device>& x, const TensorView<Out, 2, Device>& out, cudaStream_t stream,
                   const QuantizeOptions& options = {}) {
  const auto task = detail::fake_quantize_task(x, out, options);
  if (task.shape.rows == 0 || task.shape.columns == 0) return;
  LaunchConfig config;
  config.grid = static_cast<unsigned>(task.shape.rows);
  config.block = detail::fake_quantize_threads;
  config.stream = stream;
  launch("fake_quantize", detail::fake_quantize_kernel<detail::fake_quantize_threads, decltype(task)>, config, task);
}

}  // namespace w8a8
