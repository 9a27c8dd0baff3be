// Asymmetric activations on the GPU: the calls of asymmetric.hpp for device views, enqueued on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cub/block/block_reduce.cuh>

#include "w8a8/quant/asymmetric.hpp"
#include "w8a8/quant/row_launch.cuh"
#include "w8a8/support/launch.cuh"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

inline constexpr int row_sum_threads = 128;

/// A CTA a row. Integers: any order gives the same sum. A template only so that it may stand in a header.
template <int Threads>
__global__ void __launch_bounds__(Threads) row_sum_kernel(const RowSumTask task, bool aligned) {
  using Reduce = cub::BlockReduce<std::int32_t, Threads>;
  __shared__ typename Reduce::TempStorage storage;
  const std::int64_t row = blockIdx.x;
  const int tail = aligned ? task.shape.columns / 16 * 16 : 0;
  std::int32_t sum = 0;
  for (int k = static_cast<int>(threadIdx.x) * 16; k < tail; k += Threads * 16) {
    const int4 codes = *reinterpret_cast<const int4*>(task.weight.at(row, k));
    sum = __dp4a(codes.x, 0x01010101, sum);
    sum = __dp4a(codes.y, 0x01010101, sum);
    sum = __dp4a(codes.z, 0x01010101, sum);
    sum = __dp4a(codes.w, 0x01010101, sum);
  }
  for (int k = tail + static_cast<int>(threadIdx.x); k < task.shape.columns; k += Threads) sum += *task.weight.at(row, k);
  sum = Reduce(storage).Sum(sum);
  if (threadIdx.x == 0) task.sum[row] = sum;
}

}  // namespace detail

/// As the host call, with the same bits.
template <class X, class Scale, class Zero>
void quantize_per_token_asymmetric(const TensorView<X, 2, Device>& x, const TensorView<std::int8_t, 2, Device>& out,
                                   const TensorView<Scale, 1, Device>& scale, const TensorView<Zero, 1, Device>& zero_point,
                                   cudaStream_t stream, const QuantizeOptions& options = {}) {
  const auto task = detail::asymmetric_task("quantize_per_token_asymmetric", x, out, scale, zero_point, options);
  detail::run_rows_on_device("quantize_per_token_asymmetric", task, options, stream);
}

/// As the host call, with the same bits.
template <class X, class Factor, class Scale, class Zero>
void quantize_per_token_asymmetric(const TensorView<X, 2, Device>& x, const TensorView<Factor, 1, Device>& factor,
                                   const TensorView<std::int8_t, 2, Device>& out, const TensorView<Scale, 1, Device>& scale,
                                   const TensorView<Zero, 1, Device>& zero_point, cudaStream_t stream,
                                   const QuantizeOptions& options = {}) {
  const auto task = detail::smoothed_asymmetric_task("quantize_per_token_asymmetric", x, factor, out, scale, zero_point, options);
  detail::run_rows_on_device("quantize_per_token_asymmetric", task, options, stream);
}

/// As the host call.
template <class W, class Sum>
void weight_row_sum(const TensorView<W, 2, Device>& weight, const TensorView<Sum, 1, Device>& sum, cudaStream_t stream) {
  const detail::RowSumTask task = detail::row_sum_task(weight, sum);
  if (task.shape.rows == 0) return;
  LaunchConfig config;
  config.grid = static_cast<unsigned>(task.shape.rows);
  config.block = detail::row_sum_threads;
  config.stream = stream;
  const bool aligned = is_aligned(task.weight.data, 16) && task.weight.stride % 16 == 0;
  launch("weight_row_sum", detail::row_sum_kernel<detail::row_sum_threads>, config, task, aligned);
}

}  // namespace w8a8
