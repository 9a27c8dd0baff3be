// Asymmetric activations: a scale and a zero point a token, and the weight row sums that the GEMM's correction needs (functor
// ZeroPoint, epilogue/zero_point.hpp). This page: what the calls take, and the CPU's side; asymmetric.cuh holds the GPU's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "w8a8/quant/encoder.hpp"
#include "w8a8/quant/producer.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Beyond this K a sum of (q - zero_point) * w could leave int32: 65793 * 255 * 128 < 2^31.
inline constexpr std::int64_t maximum_asymmetric_k = 65793;

namespace detail {

template <class X, class Scale, class Zero, class Space>
auto asymmetric_task(const char* function, const MatrixView<X, Space>& x, const MatrixView<std::int8_t, Space>& out,
                     const VectorView<Scale, Space>& scale, const VectorView<Zero, Space>& zero_point,
                     const QuantizeOptions& options) {
  using T = std::remove_const_t<X>;
  static_assert(is_floating_v<T>, "quantize: the input is float, half or bfloat16");
  static_assert(is_floating_v<Scale>, "quantize: the scale is float, half or bfloat16, and not const");
  static_assert(std::is_same_v<Zero, std::int32_t>, "quantize: zero points are int32, and not const");
  check_options(function, options);
  const RowShape shape = check_input(function, "x", x);
  check_same_shape(function, "out", out, shape);
  check_vector(function, "scale", scale, shape.rows);
  check_vector(function, "zero_point", zero_point, shape.rows);
  return RowTask<Plain<T>, AsymmetricEncoder<Scale>>{
      {input_rows(x)}, {scale.data(), zero_point.data(), options.bits}, rows_of(out), shape};
}

/// The same for x with column k multiplied by factor[k].
template <class X, class Factor, class Scale, class Zero, class Space>
auto smoothed_asymmetric_task(const char* function, const MatrixView<X, Space>& x, const VectorView<Factor, Space>& factor,
                              const MatrixView<std::int8_t, Space>& out, const VectorView<Scale, Space>& scale,
                              const VectorView<Zero, Space>& zero_point, const QuantizeOptions& options) {
  using T = std::remove_const_t<X>;
  static_assert(std::is_same_v<std::remove_const_t<Factor>, float>, "quantize: the factors are float");
  const auto plain = asymmetric_task(function, x, out, scale, zero_point, options);
  check_vector(function, "factor", factor, x.extent(1));
  return RowTask<Smoothed<T>, AsymmetricEncoder<Scale>>{{plain.producer.x, factor.data()}, plain.encoder, plain.out, plain.shape};
}

/// A checked weight_row_sum().
struct RowSumTask {
  Rows<const std::int8_t> weight;
  std::int32_t* sum;
  RowShape shape;
};

template <class W, class Sum, class Space>
RowSumTask row_sum_task(const MatrixView<W, Space>& weight, const VectorView<Sum, Space>& sum) {
  static_assert(std::is_same_v<std::remove_const_t<W>, std::int8_t>, "weight_row_sum: the weight is int8");
  static_assert(std::is_same_v<Sum, std::int32_t>, "weight_row_sum: sums are int32, and not const");
  constexpr const char* function = "weight_row_sum";
  const RowShape shape = check_input(function, "weight", weight);
  if (shape.columns > maximum_asymmetric_k) {
    throw Error(function, "weight", text("K <= ", maximum_asymmetric_k, ", so that int32 sums cannot overflow"),
                text("K = ", shape.columns));
  }
  check_vector(function, "sum", sum, shape.rows);
  return {input_rows(weight), sum.data(), shape};
}

}  // namespace detail

/// Asymmetric dynamic quantization on the CPU: per token, scale = max(highest - lowest, 1e-5) / (2^bits - 1) over [lowest,
/// highest] with 0 included, zero_point = -2^(bits-1) - rint(lowest * (1 / scale)), codes = clamp(rint(x * (1 / scale)) +
/// zero_point, -2^(bits-1), 2^(bits-1) - 1), each with the scale as stored; x is about (code - zero_point) * scale. A row that
/// holds a NaN or an infinity gets scale NaN, zero point 0 and codes 0. x: M x K float, half or bfloat16; out: M x K codes;
/// scale: M, float, half or bfloat16; zero_point: M int32. Else as quantize_per_token.
template <class X, class Scale, class Zero>
void quantize_per_token_asymmetric(const TensorView<X, 2, Host>& x, const TensorView<std::int8_t, 2, Host>& out,
                                   const TensorView<Scale, 1, Host>& scale, const TensorView<Zero, 1, Host>& zero_point,
                                   cudaStream_t stream = nullptr, const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  detail::run_on_host(detail::asymmetric_task("quantize_per_token_asymmetric", x, out, scale, zero_point, options), options);
}

/// The same for x[m, k] * factor[k], the products rounded once to FP32: an input whose outliers were moved into the weight
/// (SmoothQuant, arXiv:2211.10438), where no norm before it can take the factors. factor: K.
template <class X, class Factor, class Scale, class Zero>
void quantize_per_token_asymmetric(const TensorView<X, 2, Host>& x, const TensorView<Factor, 1, Host>& factor,
                                   const TensorView<std::int8_t, 2, Host>& out, const TensorView<Scale, 1, Host>& scale,
                                   const TensorView<Zero, 1, Host>& zero_point, cudaStream_t stream = nullptr,
                                   const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  detail::run_on_host(
      detail::smoothed_asymmetric_task("quantize_per_token_asymmetric", x, factor, out, scale, zero_point, options), options);
}

/// sum[n] = sum of weight[n, k] over k, on the CPU: prepared once for a weight that meets asymmetric activations.
/// weight: N x K int8, K <= maximum_asymmetric_k; sum: N int32. Throws Error that names the argument before anything is written.
template <class W, class Sum>
void weight_row_sum(const TensorView<W, 2, Host>& weight, const TensorView<Sum, 1, Host>& sum, cudaStream_t stream = nullptr) {
  static_cast<void>(stream);
  const detail::RowSumTask task = detail::row_sum_task(weight, sum);
  for (std::int64_t n = 0; n < task.shape.rows; ++n) {
    const std::int8_t* row = task.weight.at(n, 0);
    std::int32_t total = 0;
    for (int k = 0; k < task.shape.columns; ++k) total += row[k];
    task.sum[n] = total;
  }
}

}  // namespace w8a8
