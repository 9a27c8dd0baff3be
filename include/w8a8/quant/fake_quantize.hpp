// Fake quantization: the values that quantization leaves, in floating point. This page: the call, and the CPU's side;
// fake_quantize.cuh holds the GPU's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "w8a8/quant/quantize.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/code.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/support/parallel.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// A checked fake_quantize().
template <class T, class Out>
struct FakeQuantizeTask {
  Rows<const T> x;
  Rows<Out> out;
  RowShape shape;
  int bits;

  /// What is left of element k of a row with that scale: code * scale, rounded once to Out.
  W8A8_HOST_DEVICE Out value(std::int64_t row, std::int64_t k, float scale, float inverse) const {
    const int code = quantize_value(to_float(*x.at(row, k)), inverse, qmax(bits));
    return from_float<Out>(multiply(int_to_float(code), scale));
  }
};

template <class X, class Out, class Space>
FakeQuantizeTask<std::remove_const_t<X>, Out> fake_quantize_task(const MatrixView<X, Space>& x, const MatrixView<Out, Space>& out,
                                                                 const QuantizeOptions& options) {
  constexpr const char* function = "fake_quantize";
  static_assert(is_floating_v<std::remove_const_t<X>>, "fake_quantize: the input is float, half or bfloat16");
  static_assert(is_floating_v<Out> && !std::is_const_v<Out>, "fake_quantize: the output is float, half or bfloat16");
  check_options(function, options);
  const RowShape shape = check_input(function, "x", x);
  check_same_shape(function, "out", out, shape);
  return {input_rows(x), rows_of(out), shape, options.bits};
}

}  // namespace detail

/// out[m, k] = code * scale of what quantize_per_token with a float scale gives for x, rounded once to Out: per row symmetric, a
/// row that holds a NaN or an infinity becomes NaN. x, out: M x K, float, half or bfloat16 each; out may be x itself where the
/// types agree. options.bits: 2 to 8. On the CPU; done on return. Throws Error that names the argument before anything is
/// written.
template <class X, class Out>
void fake_quantize(const TensorView<X, 2, Host>& x, const TensorView<Out, 2, Host>& out, cudaStream_t stream = nullptr,
                   const QuantizeOptions& options = {}) {
  static_cast<void>(stream);
  const auto task = detail::fake_quantize_task(x, out, options);
  parallel_for(task.shape.rows, options.threads, [&](std::int64_t row) {
    std::uint32_t magnitude = 0;
    for (int k = 0; k < task.shape.columns; ++k) magnitude = max_of(magnitude, magnitude_bits(to_float(*task.x.at(row, k))));
    const float scale = scale_from_magnitude<float>(magnitude, options.bits), inverse = inverse_scale(scale);
    for (int k = 0; k < task.shape.columns; ++k) *task.out.at(row, k) = task.value(row, k, scale, inverse);
  });
}

}  // namespace w8a8
