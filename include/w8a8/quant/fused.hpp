// Producers fused with per-token INT8 quantization: what precedes a linear layer, its values never leaving the chip in between.
// This page: what the calls take, and the CPU's side. fused.cuh holds the GPU's.
//
// Values are FP32 from the inputs to the codes; sums over a row follow the order of quant/row.hpp, so that the norms give the
// same bits on host and device. The activations take exponentials from the platform: their codes may differ by one.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Which GELU (math/activation.hpp).
enum class GeluForm { tanh, erf };

/// Further matrices of a norm, M x K like its input; a default-constructed view is absent.
template <class T, class Space>
struct NormStreams {
  /// The residual stream: x is added to it, and the sum (rounded to T) is what is normalised.
  MatrixView<T, Space> residual;
  /// Receives the normalised values, rounded once to T.
  MatrixView<T, Space> normalized;
};

namespace detail {

template <class View>
bool is_present(const View& view) {
  return view.data() != nullptr || !view.empty();
}

/// An optional matrix of the input's shape.
template <class T, class Space>
Rows<T> optional_rows(const char* function, const char* argument, const MatrixView<T, Space>& view, const RowShape& shape) {
  if (!is_present(view)) return {};
  check_same_shape(function, argument, view, shape);
  return rows_of(view);
}

template <Moment Kind, class X, class W, class Scale, class Space>
auto norm_task(const char* function, const MatrixView<X, Space>& x, const VectorView<W, Space>& weight,
               const VectorView<W, Space>* bias, float epsilon, const MatrixView<std::int8_t, Space>& out,
               const VectorView<Scale, Space>& scale, const NormStreams<std::remove_const_t<X>, Space>& streams,
               const QuantizeOptions& options) {
  using T = std::remove_const_t<X>;
  using Weight = std::remove_const_t<W>;
  static_assert(is_floating_v<T> && is_floating_v<Weight>, "norm: input and weight are float, half or bfloat16");
  static_assert(is_floating_v<Scale>, "norm: the scale is float, half or bfloat16, and not const");
  check_options(function, options);
  const RowShape shape = check_input(function, "x", x);
  check_vector(function, "weight", weight, shape.columns);
  if (bias != nullptr) check_vector(function, "bias", *bias, shape.columns);
  if (!(epsilon >= 0.0f) || std::isinf(epsilon)) throw Error(function, "epsilon", "a finite number >= 0", text(epsilon));
  check_same_shape(function, "out", out, shape);
  check_vector(function, "scale", scale, shape.rows);
  const Rows<T> residual = optional_rows(function, "streams.residual", streams.residual, shape);
  const Rows<T> normalized = optional_rows(function, "streams.normalized", streams.normalized, shape);
  using Producer = Norm<T, Weight, Kind>;
  return RowTask<Producer, DynamicEncoder<Scale>>{Producer{input_rows(x),
                                                           residual,
                                                           weight.data(),
                                                           bias != nullptr ? bias->data() : nullptr,
                                                           {normalized},
                                                           epsilon,
                                                           reciprocal(static_cast<float>(shape.columns))},
                                                  {scale.data(), options.bits},
                                                  rows_of(out),
                                                  shape};
}

template <class Function, class X, class Y, class Scale, class Space>
auto elementwise_task(const char* function, const char* first_name, const MatrixView<X, Space>& first, const char* second_name,
                      const MatrixView<Y, Space>* second, const MatrixView<std::int8_t, Space>& out,
                      const VectorView<Scale, Space>& scale, const MatrixView<std::remove_const_t<X>, Space>& values,
                      const QuantizeOptions& options) {
  using T = std::remove_const_t<X>;
  static_assert(std::is_same_v<T, std::remove_const_t<Y>>, "the inputs have one type");
  static_assert(is_floating_v<T>, "the inputs are float, half or bfloat16");
  static_assert(is_floating_v<Scale>, "the scale is float, half or bfloat16, and not const");
  check_options(function, options);
  const RowShape shape = check_input(function, first_name, first);
  if (second != nullptr) check_same_shape(function, second_name, *second, shape);
  check_same_shape(function, "out", out, shape);
  check_vector(function, "scale", scale, shape.rows);
  using Producer = Elementwise<T, Function>;
  return RowTask<Producer, DynamicEncoder<Scale>>{Producer{input_rows(first),
                                                           second != nullptr ? input_rows(*second) : Rows<const T>{},
                                                           {optional_rows(function, "values", values, shape)}},
                                                  {scale.data(), options.bits},
                                                  rows_of(out),
                                                  shape};
}

}  // namespace detail

/// h = x (+ residual); values = h / sqrt(mean(h^2) + epsilon) * weight; then per-token quantization of the values, on the CPU.
/// x: M x K float, half or bfloat16; weight: K, float, half or bfloat16; out: M x K codes; scale: M. With streams.residual, the
/// residual becomes h, rounded once. K = 0 and M = 0 as in quantize_per_token. RMSNorm: Zhang and Sennrich, arXiv:1910.07467.
/// Throws Error that names the argument before anything is written.
template <class X, class W, class Scale>
void rms_norm_quantize(const TensorView<X, 2, Host>& x, const TensorView<W, 1, Host>& weight, float epsilon,
                       const TensorView<std::int8_t, 2, Host>& out, const TensorView<Scale, 1, Host>& scale,
                       cudaStream_t stream = nullptr, const QuantizeOptions& options = {},
                       const NormStreams<std::remove_const_t<X>, Host>& streams = {}) {
  static_cast<void>(stream);
  constexpr const VectorView<W, Host>* no_bias = nullptr;
  detail::run_on_host(detail::norm_task<detail::Moment::mean_square>("rms_norm_quantize", x, weight, no_bias, epsilon, out, scale,
                                                                     streams, options),
                      options);
}

/// values = (h - mean(h)) / sqrt(variance(h) + epsilon) * weight + bias, the variance over K elements; else as rms_norm_quantize,
/// on the CPU. bias: K, of weight's type. LayerNorm: Ba, Kiros and Hinton, arXiv:1607.06450.
template <class X, class W, class Scale>
void layer_norm_quantize(const TensorView<X, 2, Host>& x, const TensorView<W, 1, Host>& weight,
                         const TensorView<W, 1, Host>& bias, float epsilon, const TensorView<std::int8_t, 2, Host>& out,
                         const TensorView<Scale, 1, Host>& scale, cudaStream_t stream = nullptr,
                         const QuantizeOptions& options = {}, const NormStreams<std::remove_const_t<X>, Host>& streams = {}) {
  static_cast<void>(stream);
  detail::run_on_host(
      detail::norm_task<detail::Moment::variance>("layer_norm_quantize", x, weight, &bias, epsilon, out, scale, streams, options),
      options);
}

/// values = silu(gate) * up, then per-token quantization, on the CPU. gate, up: M x K of one type, often the two halves of one
/// M x 2K matrix; out: M x K codes; scale: M. `values`, where given, receives them rounded once.
template <class X, class Y, class Scale>
void silu_mul_quantize(const TensorView<X, 2, Host>& gate, const TensorView<Y, 2, Host>& up,
                       const TensorView<std::int8_t, 2, Host>& out, const TensorView<Scale, 1, Host>& scale,
                       cudaStream_t stream = nullptr, const QuantizeOptions& options = {},
                       const MatrixView<std::remove_const_t<X>, Host>& values = {}) {
  static_cast<void>(stream);
  detail::run_on_host(
      detail::elementwise_task<detail::SiluMul>("silu_mul_quantize", "gate", gate, "up", &up, out, scale, values, options),
      options);
}

/// values = gelu(x) of the given form, then per-token quantization, on the CPU. x: M x K; out: M x K codes; scale: M. `values`,
/// where given, receives them rounded once.
template <class X, class Scale>
void gelu_quantize(const TensorView<X, 2, Host>& x, GeluForm form, const TensorView<std::int8_t, 2, Host>& out,
                   const TensorView<Scale, 1, Host>& scale, cudaStream_t stream = nullptr, const QuantizeOptions& options = {},
                   const MatrixView<std::remove_const_t<X>, Host>& values = {}) {
  static_cast<void>(stream);
  constexpr const MatrixView<X, Host>* none = nullptr;
  if (form == GeluForm::tanh) {
    detail::run_on_host(
        detail::elementwise_task<detail::GeluTanhOnly>("gelu_quantize", "x", x, "", none, out, scale, values, options), options);
  } else {
    detail::run_on_host(
        detail::elementwise_task<detail::GeluErfOnly>("gelu_quantize", "x", x, "", none, out, scale, values, options), options);
  }
}

}  // namespace w8a8
