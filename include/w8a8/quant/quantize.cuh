// Quantization of matrices to INT8 on the GPU: the calls of quantize.hpp for device views.
#pragma once

#include <cuda_runtime_api.h>

#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row_launch.cuh"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Dynamic activation quantization, a scale a token, on the GPU; enqueued on `stream`.
/// x: M x K float, half or bfloat16; out: M x K codes; scale: M, float, half or bfloat16. Rows contiguous, row strides free, any
/// alignment; rows that all start at a multiple of 16 bytes (8 in `out`) with K % 8 == 0 are moved in wide accesses. The bits are
/// those of the host call. M = 0 is a no-op; K = 0 writes the scale of an all-zero row.
/// Throws Error that names the argument before anything is launched, CudaError where the launch fails.
template <class X, class Scale>
void quantize_per_token(const TensorView<X, 2, Device>& x, const TensorView<std::int8_t, 2, Device>& out,
                        const TensorView<Scale, 1, Device>& scale, cudaStream_t stream, const QuantizeOptions& options = {}) {
  const auto task = detail::row_scale_task("quantize_per_token", "x", x, out, scale, options);
  detail::run_rows_on_device("quantize_per_token", task, options, stream);
}

/// Weight quantization, a scale an output channel, on the GPU: weight N x K, out N x K, scale N; else as quantize_per_token.
/// options.dependent_launch is ignored: a GEMM may read its weight before its predecessor has finished, so the quantizer of a
/// weight must never let its successor start early.
template <class W, class Scale>
void quantize_per_channel(const TensorView<W, 2, Device>& weight, const TensorView<std::int8_t, 2, Device>& out,
                          const TensorView<Scale, 1, Device>& scale, cudaStream_t stream, const QuantizeOptions& options = {}) {
  const auto task = detail::row_scale_task("quantize_per_channel", "weight", weight, out, scale, options);
  detail::run_rows_on_device("quantize_per_channel", task, QuantizeOptions{}, stream);
}

/// Quantization with one given scale > 0 for the whole matrix, on the GPU: clamp(rint(x * (1 / scale)), -qmax, qmax). The scale
/// cannot flag bad rows here: an infinity gives +-qmax, a NaN gives 0. Else as quantize_per_token.
template <class X>
void quantize_per_tensor(const TensorView<X, 2, Device>& x, const TensorView<std::int8_t, 2, Device>& out, float scale,
                         cudaStream_t stream, const QuantizeOptions& options = {}) {
  const auto task = detail::static_scale_task("quantize_per_tensor", x, out, scale, options);
  detail::run_rows_on_device("quantize_per_tensor", task, options, stream);
}

}  // namespace w8a8
