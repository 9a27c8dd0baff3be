// Dequantize and Bias: y = fma(float(acc) * weight_scale[n], input_scale[m], bias[n]), each step FP32 round-to-nearest.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/error.hpp"
#include "w8a8/support/floating_point.hpp"
#include "w8a8/support/integer_math.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

namespace detail {

/// Checks a vector that an epilogue reads by row or by column: length `length`, or 1 where it is shared by all.
template <class T, class Space>
void validate_vector(const char* function, const char* argument, const VectorView<T, Space>& vector, std::int64_t length,
                     bool may_be_shared) {
  const std::int64_t size = vector.extent(0);
  if (size != length && !(may_be_shared && size == 1)) {
    throw Error(function, argument, text("a vector of length ", length, may_be_shared ? " or 1" : ""), text("length ", size));
  }
  if (size > 0 && vector.data() == nullptr) throw Error(function, argument, "a pointer to its elements", "nullptr");
  if (!is_aligned(vector.data(), alignof(T))) {
    throw Error(function, argument, text("an address aligned to ", alignof(T), " bytes"),
                text(static_cast<const void*>(vector.data())));
  }
  if (size > 1 && vector.stride(0) != 1) throw Error(function, argument, "stride 1", text("stride ", vector.stride(0)));
}

}  // namespace detail

/// A dequantized value whose last step is still open: product * scale, to be closed by one fused multiply-add. As a float it is
/// fma(product, scale, 0); a Bias that follows directly becomes the addend.
struct Dequantized {
  float product;  ///< float(acc) * weight_scale, rounded
  float scale;    ///< input_scale

  W8A8_HOST_DEVICE float plus(float addend) const { return fused_multiply_add(product, scale, addend); }
  W8A8_HOST_DEVICE operator float() const { return plus(0.0f); }
};

/// int32 accumulators to FP32: float(acc) * weight_scale[n] * input_scale[m].
/// input_scale: length M (per token) or 1 (per tensor); weight_scale: length N (per output channel) or 1. float, half or
/// bfloat16.
template <class InputScale, class WeightScale, class Space>
struct Dequantize : EpilogueFunctor {
  using space_type = Space;
  using RowState = float;
  using ColumnState = float;

  VectorView<const InputScale, Space> input_scale;
  VectorView<const WeightScale, Space> weight_scale;

  Dequantize(VectorView<const InputScale, Space> input, VectorView<const WeightScale, Space> weight)
      : input_scale(input), weight_scale(weight) {}

  W8A8_HOST_DEVICE float row(std::int64_t m) const { return to_float(input_scale.data()[input_scale.extent(0) == 1 ? 0 : m]); }
  W8A8_HOST_DEVICE float column(std::int64_t n) const {
    return to_float(weight_scale.data()[weight_scale.extent(0) == 1 ? 0 : n]);
  }
  W8A8_HOST_DEVICE Dequantized apply(std::int32_t acc, float row, float column, std::int64_t, std::int64_t) const {
    return {multiply(int_to_float(acc), column), row};
  }
  /// Sums of floating-point operands have no scales, and must not become integers by themselves.
  template <class Value>
  Dequantized apply(Value, float, float, std::int64_t, std::int64_t) const = delete;

  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    detail::validate_vector(function, "input_scale", input_scale, rows, true);
    detail::validate_vector(function, "weight_scale", weight_scale, columns, true);
  }
};

template <class InputScale, class WeightScale, class Space>
Dequantize(TensorView<InputScale, 1, Space>, TensorView<WeightScale, 1, Space>)
    -> Dequantize<std::remove_const_t<InputScale>, std::remove_const_t<WeightScale>, Space>;

/// Adds bias[n]: the addend of the dequantization's fused multiply-add where it follows Dequantize, an FP32 addition elsewhere.
/// bias: length N; float, half or bfloat16.
template <class T, class Space>
struct Bias : EpilogueFunctor {
  using space_type = Space;
  using ColumnState = float;

  VectorView<const T, Space> bias;

  explicit Bias(VectorView<const T, Space> b) : bias(b) {}

  W8A8_HOST_DEVICE float column(std::int64_t n) const { return to_float(bias.data()[n]); }
  W8A8_HOST_DEVICE float apply(Dequantized value, Empty, float b, std::int64_t, std::int64_t) const { return value.plus(b); }
  W8A8_HOST_DEVICE float apply(float value, Empty, float b, std::int64_t, std::int64_t) const { return add(value, b); }

  void validate(const char* function, std::int64_t, std::int64_t columns) const {
    detail::validate_vector(function, "bias", bias, columns, false);
  }
};

template <class T, class Space>
Bias(TensorView<T, 1, Space>) -> Bias<std::remove_const_t<T>, Space>;

}  // namespace w8a8
