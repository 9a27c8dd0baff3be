// Producers fused with per-token INT8 quantization, on the GPU: the calls of fused.hpp for device views, enqueued on `stream`.
// Each reads its inputs once while a row has at most 32768 elements.
#pragma once

#include <cuda_runtime_api.h>

#include "w8a8/quant/fused.hpp"
#include "w8a8/quant/row_launch.cuh"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// As the host call, with the same bits.
template <class X, class W, class Scale>
void rms_norm_quantize(const TensorView<X, 2, Device>& x, const TensorView<W, 1, Device>& weight, float epsilon,
                       const TensorView<std::int8_t, 2, Device>& out, const TensorView<Scale, 1, Device>& scale,
                       cudaStream_t stream, const QuantizeOptions& options = {},
                       const NormStreams<std::remove_const_t<X>, Device>& streams = {}) {
  constexpr const VectorView<W, Device>* no_bias = nullptr;
  const auto task = detail::norm_task<detail::Moment::mean_square>("rms_norm_quantize", x, weight, no_bias, epsilon, out, scale,
                                                                   streams, options);
  detail::run_rows_on_device("rms_norm_quantize", task, options, stream);
}

/// As the host call, with the same bits.
template <class X, class W, class Scale>
void layer_norm_quantize(const TensorView<X, 2, Device>& x, const TensorView<W, 1, Device>& weight,
                         const TensorView<W, 1, Device>& bias, float epsilon, const TensorView<std::int8_t, 2, Device>& out,
                         const TensorView<Scale, 1, Device>& scale, cudaStream_t stream, const QuantizeOptions& options = {},
                         const NormStreams<std::remove_const_t<X>, Device>& streams = {}) {
  const auto task =
      detail::norm_task<detail::Moment::variance>("layer_norm_quantize", x, weight, &bias, epsilon, out, scale, streams, options);
  detail::run_rows_on_device("layer_norm_quantize", task, options, stream);
}

/// As the host call, within one code of it.
template <class X, class Y, class Scale>
void silu_mul_quantize(const TensorView<X, 2, Device>& gate, const TensorView<Y, 2, Device>& up,
                       const TensorView<std::int8_t, 2, Device>& out, const TensorView<Scale, 1, Device>& scale,
                       cudaStream_t stream, const QuantizeOptions& options = {},
                       const MatrixView<std::remove_const_t<X>, Device>& values = {}) {
  const auto task =
      detail::elementwise_task<detail::SiluMul>("silu_mul_quantize", "gate", gate, "up", &up, out, scale, values, options);
  detail::run_rows_on_device("silu_mul_quantize", task, options, stream);
}

/// As the host call, within one code of it.
template <class X, class Scale>
void gelu_quantize(const TensorView<X, 2, Device>& x, GeluForm form, const TensorView<std::int8_t, 2, Device>& out,
                   const TensorView<Scale, 1, Device>& scale, cudaStream_t stream, const QuantizeOptions& options = {},
                   const MatrixView<std::remove_const_t<X>, Device>& values = {}) {
  constexpr const MatrixView<X, Device>* none = nullptr;
  const auto run = [&](const auto& task) { detail::run_rows_on_device("gelu_quantize", task, options, stream); };
  if (form == GeluForm::tanh) {
    run(detail::elementwise_task<detail::GeluTanhOnly>("gelu_quantize", "x", x, "", none, out, scale, values, options));
  } else {
    run(detail::elementwise_task<detail::GeluErfOnly>("gelu_quantize", "x", x, "", none, out, scale, values, options));
  }
}

}  // namespace w8a8
