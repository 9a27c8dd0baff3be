// ZeroPoint: asymmetric activations, corrected in int32 before dequantization.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/tensor/view.hpp"

namespace w8a8 {

/// Epilogue functor, the first one: acc - zero_point[m] * weight_row_sum[n], which is sum_k (x[m, k] - zero_point[m]) * w[n, k].
/// zero_point: length M (per token) or 1, in [-128, 127]; weight_row_sum: length N, from weight_row_sum(). Exact while
/// K <= maximum_asymmetric_k, which weight_row_sum() checks.
template <class Space>
struct ZeroPoint : EpilogueFunctor {
  using space_type = Space;
  using RowState = std::int32_t;
  using ColumnState = std::int32_t;

  VectorView<const std::int32_t, Space> zero_point;
  VectorView<const std::int32_t, Space> weight_row_sum;

  ZeroPoint(VectorView<const std::int32_t, Space> zero, VectorView<const std::int32_t, Space> sum)
      : zero_point(zero), weight_row_sum(sum) {}

  W8A8_HOST_DEVICE std::int32_t row(std::int64_t m) const { return zero_point.data()[zero_point.extent(0) == 1 ? 0 : m]; }
  W8A8_HOST_DEVICE std::int32_t column(std::int64_t n) const { return weight_row_sum.data()[n]; }
  W8A8_HOST_DEVICE std::int32_t apply(std::int32_t acc, std::int32_t row, std::int32_t column, std::int64_t, std::int64_t) const {
    // Unsigned: a term may leave int32 where the difference does not.
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(acc) -
                                     static_cast<std::uint32_t>(row) * static_cast<std::uint32_t>(column));
  }

  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    detail::validate_vector(function, "zero_point", zero_point, rows, true);
    detail::validate_vector(function, "weight_row_sum", weight_row_sum, columns, false);
  }
};

template <class T, class U, class Space>
ZeroPoint(TensorView<T, 1, Space>, TensorView<U, 1, Space>) -> ZeroPoint<Space>;

}  // namespace w8a8
